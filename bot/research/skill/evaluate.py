"""Skill of forecasts on bars that were not used for fitting, with intervals, and the baselines' skill.

Rows of one day are not independent, because the hours ahead of neighbours overlap. Days nearly are. Every
figure here is a function of sums over rows. Its 95 % interval comes from drawing whole days with replacement
and summing again. Two forecasts are compared on the same draws (paired).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot import metrics
from bot.adapters.model.predictor import complete
from bot.domain.horizons import HOUR, Horizons
from bot.domain.market import DAY_MS, interval_name
from bot.metrics import Estimate
from bot.ports import Floats
from bot.research.dataset import RET_LONG, RET_SHORT, RV, LabelledRows, Mask
from bot.research.skill.baselines import BASELINES, Sample, har_terms

LEAK_IC = 0.08
LEAK_DIRECTION = 0.54
LEAK_R2 = 0.8
"""Of log variance. A variance of a few bars is measured with an error that no forecast removes: the best
model here reaches about 0.5."""
_TOO_GOOD = "it is too good to be true on unseen data; look for a leak"

Statistic = Callable[[Floats], float]
"""From sums over rows ``(K,)`` to a figure."""


@dataclass(frozen=True)
class Scores:
    """The scores of one forecaster on one set of rows. None if it does not make such a forecast."""

    qlike: Estimate | None
    r2_log_rv: Estimate | None
    ic_short: Estimate | None
    ic_long: Estimate | None
    direction: Estimate | None

    def to_json(self, horizons: Horizons = HOUR) -> dict[str, Any]:
        """Return metric (``Horizons.figures``) → figure with its interval, or null."""
        return {name: estimate_json(each) for name, each in self._named(horizons)}

    def leaks(self, horizons: Horizons = HOUR) -> list[str]:
        """Return one sentence for each figure that is too good for unseen data."""
        _, (fit_name, fit), short, long, (name, direction) = self._named(horizons)
        found = [
            f"{name} {ic.value:+.3f}: beyond ±{LEAK_IC} {_TOO_GOOD}"
            for name, ic in (short, long)
            if ic is not None and abs(ic.value) > LEAK_IC
        ]
        if fit is not None and fit.value > LEAK_R2:
            found.append(f"{fit_name} {fit.value:.3f}: above {LEAK_R2} {_TOO_GOOD}")
        if direction is not None and direction.value > LEAK_DIRECTION:
            found.append(f"{name} {direction.value:.3f}: above {LEAK_DIRECTION} {_TOO_GOOD}")
        return found

    def _named(self, horizons: Horizons) -> list[tuple[str, Estimate | None]]:
        return list(zip(horizons.figures, vars(self).values(), strict=True))


def score(close_ms: NDArray[np.int64], targets: Floats, forecast: Floats, seed: int = 0) -> Scores:
    """Score forecasts ``(T, 3)`` made at ``close_ms`` ``(T,)`` against targets ``(T, 3)``."""
    rv, rv_hat = targets[:, RV], forecast[:, RV]
    log_rv, log_rv_hat = np.log(rv), np.log(rv_hat)

    def on(terms: list[Floats], statistic: Statistic) -> Estimate | None:
        return bootstrap(close_ms, np.column_stack(terms), statistic, seed)

    def ic(column: int) -> Estimate | None:
        x, y = ranks(forecast[:, column], targets[:, column])
        return on([x, y, x * x, y * y, x * y, _ones(x * y)], correlation)

    right, said = _direction(forecast[:, RET_SHORT], targets[:, RET_SHORT])
    error = log_rv - log_rv_hat
    return Scores(
        qlike=on([losses(rv, rv_hat), _ones(error)], _mean),
        r2_log_rv=on([error, error**2, log_rv, log_rv**2, _ones(error)], _r_squared),
        ic_short=ic(RET_SHORT),
        ic_long=ic(RET_LONG),
        direction=on([right, said], _mean),
    )


def paired_qlike(
    close_ms: NDArray[np.int64], rv: Floats, ours: Floats, theirs: Floats, seed: int = 0
) -> Estimate | None:
    """Return QLIKE of ``ours`` minus QLIKE of ``theirs``, on the same rows and draws.

    Below 0: ours is better.
    """
    return bootstrap_mean(close_ms, losses(rv, ours) - losses(rv, theirs), seed)


def bootstrap_mean(close_ms: NDArray[np.int64], values: Floats, seed: int = 0) -> Estimate | None:
    """Return the mean of ``values`` ``(T,)`` and its interval. Missing values are ignored."""
    return bootstrap(close_ms, np.column_stack((values, _ones(values))), _mean, seed)


def losses(rv: Floats, forecast: Floats) -> Floats:
    """Return QLIKE of each row, rv/f − ln(rv/f) − 1, ``(T,)``.

    Patton 2011, doi 10.1016/j.jeconom.2010.03.034.
    """
    ratio = rv / forecast
    loss: Floats = ratio - np.log(ratio) - 1.0
    return loss


def bootstrap(
    close_ms: NDArray[np.int64], terms: Floats, statistic: Statistic, seed: int = 0
) -> Estimate | None:
    """Return ``statistic`` of the column sums of ``terms`` ``(T, K)``, and its interval from draws of days.

    Rows with a missing term are ignored. None if the figure does not exist (no rows, or a forecast that never
    varies). The bounds are NaN if there are too few days for an interval.
    """
    known = np.isfinite(terms).all(axis=1)
    if not known.any():
        return None
    _, day = np.unique(close_ms[known] // DAY_MS, return_inverse=True)
    sums = np.column_stack([np.bincount(day, column).astype(np.float64) for column in terms[known].T])
    value = statistic(sums.sum(axis=0))
    if not np.isfinite(value):
        return None
    interval = metrics.day_bootstrap(sums, lambda days: statistic(days.sum(axis=0)), seed=seed)
    return interval or Estimate(value, np.nan, np.nan)


def estimate_json(estimate: Estimate | None) -> dict[str, float | None] | None:
    """Return ``{"value", "low", "high"}``, or null for None."""
    if estimate is None:
        return None
    return {k: v if np.isfinite(v) else None for k, v in estimate._asdict().items()}


@dataclass(frozen=True)
class Forecasts:
    """All forecasts ``(T, 3)`` of one file by name (model and baselines), and the rows to compare them on."""

    rows: LabelledRows
    mask: Mask
    by_name: Mapping[str, Floats]


def forecast_all(
    files: Sequence[LabelledRows],
    model: Callable[[LabelledRows], Floats],
    trained_to_ms: int,
    start_ms: int,
    end_ms: int,
) -> tuple[list[Forecasts], dict[str, str]]:
    """Return the model's and every baseline's forecasts on the bars of ``[start_ms, end_ms)``.

    Baselines are fitted on the bars of the same files whose targets end before ``trained_to_ms``. Also
    returns the baselines that were left out, each with its reason.
    """
    sample = [(rows, _for_baselines(rows) & rows.within(0, trained_to_ms)) for rows in files]
    sample = [(rows, mask) for rows, mask in sample if mask.any()]
    baselines, skipped = fit_baselines(sample)
    out = []
    for rows in files:
        by_name = {"model": model(rows)} | {name: forecast(rows) for name, forecast in baselines.items()}
        rv = [table[:, RV] for table in by_name.values() if np.isfinite(table[:, RV]).any()]
        comparable = np.isfinite(np.column_stack(rv)).all(axis=1)
        scored = comparable & rows.warm & rows.known & rows.within(start_ms, end_ms)
        out.append(Forecasts(rows, scored, by_name))
    return out, skipped


def _for_baselines(rows: LabelledRows) -> Mask:
    """Return the rows that a baseline can be fitted on: the past week is known as well."""
    return rows.warm & rows.known & complete(har_terms(rows))


def fit_baselines(sample: Sample) -> tuple[dict[str, Callable[[LabelledRows], Floats]], dict[str, str]]:
    """Return every baseline that can be fitted, and for the others the reason why not."""
    fitted, skipped = {}, {}
    for name, fit in BASELINES.items():
        if not sample and name not in ("last_hour", "mean_reversion"):
            skipped[name] = "no bars before the model's trained_to to fit on"
            continue
        try:
            fitted[name] = fit(sample)
        except ImportError as error:
            skipped[name] = f"{error.name} is not installed (pip install 'bot[evaluate]')"
    return fitted, skipped


def report(forecasts: Forecasts, seed: int = 0) -> dict[str, Any]:
    """Return one file's part of ``bot evaluate --json``: the model's figures, then each baseline's."""
    rows, mask = forecasts.rows, forecasts.mask
    scores = {
        name: score(rows.close_ms[mask], rows.targets[mask], table[mask], seed)
        for name, table in forecasts.by_name.items()
    }
    theirs = {name: table for name, table in forecasts.by_name.items() if name != "model"}
    ours_rv = forecasts.by_name["model"][mask, RV]
    paired = {
        name: paired_qlike(rows.close_ms[mask], rows.targets[mask, RV], ours_rv, table[mask, RV], seed)
        for name, table in theirs.items()
    }
    return {
        "file": rows.path,
        "symbol": rows.symbol,
        "interval": interval_name(rows.interval_ms),
        "rows": int(mask.sum()),
        "start_ms": int(rows.start_ms[mask][0]) if mask.any() else None,
        "end_ms": int(rows.start_ms[mask][-1]) + rows.interval_ms if mask.any() else None,
        **scores["model"].to_json(rows.horizons),
        "baselines": {name: scores[name].to_json(rows.horizons) for name in theirs},
        "qlike_minus": {name: estimate_json(difference) for name, difference in paired.items()},
        "leak_alarm": scores["model"].leaks(rows.horizons),
    }


def _ones(like: Floats) -> Floats:
    return np.where(np.isfinite(like), 1.0, np.nan)


def _mean(sums: Floats) -> float:
    return float(sums[0] / sums[-1])


def _r_squared(sums: Floats) -> float:
    """Return 1 − var(error) / var(ln rv). A constant factor of the forecast costs nothing here."""
    error, error_2, y, y_2, n = sums.tolist()
    spread = y_2 - y**2 / n
    return 1.0 - (error_2 - error**2 / n) / spread if spread > 0.0 else math.nan


def correlation(sums: Floats) -> float:
    """Return the correlation from the sums of x, y, x², y², xy and 1. NaN if one of them never varies."""
    x, y, xx, yy, xy, n = sums.tolist()
    spread = (xx - x**2 / n) * (yy - y**2 / n)
    return (xy - x * y / n) / math.sqrt(spread) if spread > 0.0 else math.nan


def ranks(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return ranks in (−½, ½), centred at 0, of the rows where both are known; NaN elsewhere.

    Equal values share their mean rank. The information coefficient is the correlation of these ranks
    (Spearman). Days are drawn from ranks taken once over all rows.
    """
    known = np.isfinite(x) & np.isfinite(y)
    out = np.full((2, len(x)), np.nan)
    for row, values in enumerate((x[known], y[known])):
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        rank = np.cumsum(counts) - (counts - 1) / 2  # 1-based, the mean of those that tie
        out[row, known] = (rank - (len(values) + 1) / 2)[inverse] / max(len(values), 1)
    return out[0], out[1]


def _direction(forecast: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Return whether the sign was right, and 1 for each row where both have a sign; NaN elsewhere."""
    said = np.isfinite(forecast) & np.isfinite(target) & (forecast != 0.0) & (target != 0.0)
    right = np.where(said, (np.sign(forecast) == np.sign(target)).astype(np.float64), np.nan)
    return right, np.where(said, 1.0, np.nan)
