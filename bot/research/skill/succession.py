"""Whether a retrained model is better than the one in use: both on the same new days, beside the baselines.

The days are newer than everything that the two models were fitted or chosen on. All files are pooled; an
interval comes from drawing whole days (``evaluate``), so symbols that move together do not count as evidence
twice. A candidate is better only if the whole interval of its QLIKE minus that of the incumbent is below 0.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bot.domain.horizons import Horizons
from bot.domain.market import DAY_MS
from bot.metrics import Estimate, Times
from bot.ports import Floats
from bot.research.dataset import RV, LabelledRows, Mask
from bot.research.skill.baselines import BASELINES
from bot.research.skill.diagnostics import training_alarm
from bot.research.skill.evaluate import (
    LEAK_DIRECTION,
    LEAK_IC,
    LEAK_R2,
    Scores,
    bootstrap_mean,
    estimate_json,
    losses,
    score,
)
from bot.research.skill.evaluate import paired_qlike as paired

RIVALS = ("har_hour", "har_rolling", "lightgbm")
"""Baselines that the judgement tells; a candidate that is worse than the first one is refused."""

Cause = Literal["broken", "leaky", "worse"]
Forecast = Callable[[LabelledRows], Floats]
"""Forecasts ``(T, 3)`` of rows, in the order of ``dataset.TARGETS``."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """The rows to judge on and the rows that baselines are fitted on.

    Args:
        files: rows of every symbol.
        from_ms: first close that is judged; baselines are fitted on the rows whose targets end before it.
        to_ms: targets of judged rows end before this time.
        seed: of the draws of days.
    """

    files: Sequence[LabelledRows]
    from_ms: int
    to_ms: int
    seed: int = 0

    def compare(self, candidate: Forecast, incumbent: Forecast, seen_ms: int, due: Forecast) -> "Judgement":
        """Score both models and the baselines on the same rows.

        Args:
            candidate: its forecasts, NaN where none counts.
            incumbent: likewise.
            seen_ms: bars before this time were used to fit or choose the candidate.
            due: ``(T,)``, above 0 where the candidate must give a forecast.
        """
        tables, skipped = self._tables(candidate, incumbent)
        masks, missing = [], 0
        for index, rows in enumerate(self.files):
            judged = rows.known & rows.within(self.from_ms, self.to_ms)
            ours = tables["candidate"][index]
            broken = ~np.isfinite(ours).all(axis=1) | ~(ours[:, RV] > 0.0)
            missing += int((judged & (due(rows) > 0.0) & broken).sum())
            masks.append(judged & _comparable([table[index][:, RV] for table in tables.values()]))
        pooled = {name: _pool(each, masks) for name, each in tables.items()}
        close_ms = np.concatenate([rows.close_ms[mask] for rows, mask in zip(self.files, masks, strict=True)])
        targets = _pool([rows.targets for rows in self.files], masks)
        return _judgement(self, pooled, close_ms, targets, seen_ms, missing, skipped)

    def _tables(
        self, candidate: Forecast, incumbent: Forecast
    ) -> tuple[dict[str, list[Floats]], dict[str, str]]:
        tables = {
            "candidate": [candidate(rows) for rows in self.files],
            "incumbent": [incumbent(rows) for rows in self.files],
        }
        before = [(rows, rows.warm & rows.known & rows.within(0, self.from_ms)) for rows in self.files]
        sample = [(rows, mask) for rows, mask in before if mask.any()]
        skipped = {}
        for name in RIVALS:
            try:
                fitted = BASELINES[name](sample)
            except ImportError as error:
                skipped[name] = f"{error.name} is not installed (pip install 'bot[evaluate]')"
                continue
            tables[name] = [fitted(rows) for rows in self.files]
        return tables, skipped


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the comparison found. ``minus``: QLIKE of the candidate minus that of another; below 0: better.

    ``missing``: rows on which the candidate owes a forecast and gives none that is a number.
    ``certain_leaks``: figures beyond a leak alarm with their whole interval. ``alarms``: all that are beyond.
    """

    from_ms: int
    to_ms: int
    rows: int
    days: int
    missing: int
    qlike: Mapping[str, Estimate | None]
    minus: Mapping[str, Estimate | None]
    certain_leaks: tuple[str, ...]
    alarms: tuple[str, ...]
    skipped: Mapping[str, str]

    @property
    def refusal(self) -> tuple[Cause, str] | None:
        """Return why the candidate must not be used; None if it is better than the incumbent beyond noise."""
        if self.missing:
            return "broken", f"it gives no number on {self.missing:,} of {self.rows:,} rows to judge"
        if self.certain_leaks:
            return "leaky", self.certain_leaks[0]
        against = self.minus["incumbent"]
        if against is None or not against.high < 0.0:
            return (
                "worse",
                f"QLIKE minus that of the model in use is {words(against)}, not below 0 beyond noise",
            )
        har = self.minus[RIVALS[0]]
        if har is not None and har.low > 0.0:
            return "worse", f"QLIKE minus that of {RIVALS[0]} is {words(har)}: worse beyond noise"
        return None

    def to_json(self) -> dict[str, Any]:
        """Return the figures for a record: plain values, each interval as value, low and high."""
        return {
            "from_ms": self.from_ms,
            "to_ms": self.to_ms,
            "rows": self.rows,
            "days": self.days,
            "qlike": {name: estimate_json(each) for name, each in self.qlike.items()},
            "qlike_minus": {name: estimate_json(each) for name, each in self.minus.items()},
            "leak_alarm": list(self.alarms),
            "skipped": dict(self.skipped),
        }


def words(estimate: Estimate | None) -> str:
    """Return a difference with its interval: ``-0.0120 [-0.0200, -0.0040]``."""
    if estimate is None:
        return "unknown"
    return f"{estimate.value:+.4f} [{estimate.low:+.4f}, {estimate.high:+.4f}]"


def _judgement(
    judge: Judge,
    pooled: Mapping[str, Floats],
    close_ms: Times,
    targets: Floats,
    seen_ms: int,
    missing: int,
    skipped: Mapping[str, str],
) -> Judgement:
    rv, ours = targets[:, RV], pooled["candidate"][:, RV]
    scores = score(close_ms, targets, pooled["candidate"], judge.seed)
    horizons = judge.files[0].horizons
    seen = tuple(training_alarm(close_ms, seen_ms, horizons))
    return Judgement(
        from_ms=judge.from_ms,
        to_ms=judge.to_ms,
        rows=len(close_ms),
        days=len(np.unique(close_ms // DAY_MS)),
        missing=missing,
        qlike={
            name: bootstrap_mean(close_ms, losses(rv, table[:, RV]), judge.seed)
            for name, table in pooled.items()
        },
        minus={
            name: paired(close_ms, rv, ours, table[:, RV], judge.seed)
            for name, table in pooled.items()
            if name != "candidate"
        },
        certain_leaks=(*seen, *_certain(scores, horizons)),
        alarms=(*seen, *scores.leaks(horizons)),
        skipped=skipped,
    )


def _certain(scores: Scores, horizons: Horizons) -> list[str]:
    """Return the figures whose whole interval is beyond the leak alarm: few days go beyond it by chance."""
    found = []
    _, r2, short, long, direction = horizons.figures
    fit = scores.r2_log_rv
    if fit is not None and fit.low > LEAK_R2:
        found.append(f"{r2} {words(fit)} is above {LEAK_R2}: too good to be true on unseen data")
    for name, ic in ((short, scores.ic_short), (long, scores.ic_long)):
        if ic is not None and (ic.low > LEAK_IC or ic.high < -LEAK_IC):
            found.append(f"{name} {words(ic)} is beyond ±{LEAK_IC}: too good to be true on unseen data")
    right = scores.direction
    if right is not None and right.low > LEAK_DIRECTION:
        found.append(
            f"{direction} {right.value:.3f} [{right.low:.3f}, {right.high:.3f}] is above "
            f"{LEAK_DIRECTION}: too good to be true on unseen data"
        )
    return found


def _comparable(columns: Sequence[Floats]) -> Mask:
    """Return the rows on which every forecaster gives a number."""
    return np.asarray(np.isfinite(np.column_stack(columns)).all(axis=1), dtype=np.bool_)


def _pool(tables: Sequence[Floats], masks: Sequence[Mask]) -> Floats:
    return np.concatenate([table[mask] for table, mask in zip(tables, masks, strict=True)])
