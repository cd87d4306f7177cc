"""What a hole in the bars costs a model's forecasts, and the bridge that follows from it.

Holes of several lengths are planted into candles that the model was not fitted on. They are filled as in
production, but no forecast is withheld. Each forecast after a hole is compared with the forecast of the
unbroken run at the same bar: for a day after the hole, and again a week after it, because features read the
same hour of yesterday and of the week before. The change is the root mean square of Δ ln variance: half its
square is about the rise of QLIKE. A second measurement removes bars at random, everywhere: many short holes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.adapters.files.candles import Candles, Funding
from bot.adapters.model.checkpoint import Checkpoint
from bot.adapters.model.predictor import forecast_table
from bot.domain.errors import BadUsage
from bot.domain.market import DAY_MS, HOUR_MS
from bot.features.bridge import Bridge
from bot.features.spec import WEEK_MS
from bot.ports import Floats
from bot.research.dataset import RV, targets
from bot.research.skill.evaluate import losses

HOLE_BARS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 48)
"""Lengths that are measured. A length between two of them is withheld as long as the longer one."""
TOLERANCE = 0.1
"""Largest change of ln variance (root mean square) at which a forecast counts: about 0.005 of QLIKE."""
REWARM_MAX_BARS = 48
"""A length that needs more bars than this to settle is not bridged."""
FILLED_ONE_IN = (2, 4, 8, 16, 32)
"""Shares of bars that are removed at random in the second measurement: one bar in so many."""
MIN_HOLES = 100
"""Fewer planted holes of one length say too little."""

_WITHHOLD_NOTHING = Bridge(rewarm_bars=(0,) * 4096)
_REPORTED_BARS = (0, 1, 2, 3, 6, 12, 24, 48)
_OFF_BEAT_BARS = 25
"""Added to the distance of planted holes, so that it is no multiple of a day and holes fall on all hours."""


@dataclass(frozen=True)
class Series:
    """One symbol's bars with its unbroken forecasts and the bars ``[first, last)`` to plant holes into."""

    candles: Candles
    funding: Funding | None
    unbroken: Floats  # (T,), forecast variance
    rv: Floats  # (T,), what came
    first: int
    last: int


@dataclass(frozen=True)
class Change:
    """Forecasts with holes against forecasts without: change of ln variance and of QLIKE, by row."""

    log_rv: Floats
    qlike: Floats

    @classmethod
    def of(cls, parts: Sequence["Change"]) -> "Change":
        """Join the rows of several files."""
        return cls(*(np.concatenate(rows) for rows in zip(*map(astuple, parts), strict=True)))

    def at(self, rows: NDArray[np.int64]) -> "Change":
        """Return these rows only."""
        return Change(self.log_rv[rows], self.qlike[rows])

    def to_json(self) -> dict[str, float]:
        """Return the figures of the manifest."""
        known = self.qlike[np.isfinite(self.qlike)]
        return {
            "rms": round(self.rms, 4),
            "p95": round(float(np.quantile(np.abs(self.log_rv), 0.95)), 4),
            "qlike": round(float(known.mean()), 4) if len(known) else 0.0,
        }

    @property
    def rms(self) -> float:
        """Root mean square of Δ ln variance."""
        return float(np.sqrt(np.mean(self.log_rv**2))) if len(self.log_rv) else 0.0


def series(
    model: Checkpoint, candles: Candles, funding: Funding | None, from_ms: int, to_ms: int
) -> Series | None:
    """Return a file made ready, None if it has no forecasts in ``[from_ms, to_ms)``.

    Uses the longest stretch of forecasts without a hole.
    """
    if not candles.first_ms < to_ms or not from_ms < candles.end_ms:
        return None
    read = candles.between(from_ms - model.warmup_bars * model.interval_ms, to_ms)
    unbroken = _rv(model, read, funding)
    first, last = _longest(np.isfinite(unbroken))
    rv = targets(read.start_ms, read.ohlcv[:, 3], read.interval_ms, model.horizons)[:, RV]
    return Series(read, funding, unbroken, rv, first, last) if last > first else None


def measure(model: Checkpoint, files: Sequence[Series], seed: int = 0) -> tuple[Bridge, dict[str, Any]]:
    """Return the bridge of a model and the figures that it follows from.

    Raises:
        BadUsage: too few bars to plant holes into.
    """
    model = model.with_bridge(_WITHHOLD_NOTHING, {})
    holes = sum(len(_begins(model, one)) for one in files)
    if holes < MIN_HOLES:
        raise BadUsage(
            f"--holes: {holes} holes fit into the bars after the model's trained_to, {MIN_HOLES} are needed; "
            "give more or longer candle files"
        )
    after = {bars: _after_holes(model, files, bars) for bars in HOLE_BARS}
    settled = {bars: _settled(changes) for bars, changes in after.items()}
    dense = {one_in: _thinned(model, files, one_in, seed) for one_in in FILLED_ONE_IN}
    bridge = _chosen(settled, dense)
    return bridge, {
        "tolerance": TOLERANCE,
        "holes": holes,
        "bars_to_settle": {str(bars): found for bars, found in settled.items()},
        "by_bars_since": {
            str(bars): {str(since): changes[since].to_json() for since in _REPORTED_BARS}
            for bars, changes in after.items()
        },
        "one_bar_missing_in": {str(one_in): change.to_json() for one_in, change in dense.items()},
    }


def _chosen(settled: dict[int, int | None], dense: dict[int, Change]) -> Bridge:
    """Return the bridge of the lengths that settle in time, up to the first that does not."""
    repay = [one_in for one_in, change in sorted(dense.items()) if change.rms <= TOLERANCE]
    rewarm: list[int] = []
    for bars, found in sorted(settled.items()):
        if not repay or found is None or found > REWARM_MAX_BARS:
            break
        rewarm += [max([found, *rewarm[-1:]])] * (bars - len(rewarm))
    return Bridge(tuple(rewarm), repay[0] if rewarm else 1)


def _settled(changes: Mapping[int, Change]) -> int | None:
    """Return the bars after a hole from which on every change is within the tolerance, None if none is."""
    since = max((bars for bars, change in changes.items() if change.rms > TOLERANCE), default=-1) + 1
    return since if since in changes else None


def _after_holes(model: Checkpoint, files: Sequence[Series], hole_bars: int) -> dict[int, Change]:
    """Return the changes by bars since a hole of one length."""
    hour, day, week = (span // model.interval_ms for span in (HOUR_MS, DAY_MS, WEEK_MS))
    soon = max(day + hour, _REPORTED_BARS[-1] + 1)  # of long bars a day has fewer than are reported
    watched = sorted({*range(soon), *range(week - hour - HOLE_BARS[-1], week + hour)})
    found: dict[int, list[Change]] = {since: [] for since in watched}
    for one in files:
        begins = _begins(model, one)
        missing = (begins[:, None] + np.arange(hole_bars)).ravel()
        change = _compare(model, one, missing)
        for since, parts in found.items():
            at = begins + hole_bars + since
            at = at[at < one.last]
            # A week of long bars reaches over the next hole: bars inside it have no forecast to compare.
            parts.append(change.at(at[np.isfinite(change.log_rv[at])]))
    return {since: Change.of(parts) for since, parts in found.items()}


def _begins(model: Checkpoint, one: Series) -> NDArray[np.int64]:
    """Return the first bar of each planted hole, ``(holes,)``."""
    apart = (DAY_MS + HOUR_MS) // model.interval_ms + HOLE_BARS[-1]
    return np.arange(one.first + 1, one.last - apart, apart + _OFF_BEAT_BARS)


def _thinned(model: Checkpoint, files: Sequence[Series], one_in: int, seed: int) -> Change:
    """Return the changes at all bars that are left when one bar in ``one_in`` is removed at random."""
    rng = np.random.default_rng(seed)
    changes = []
    for one in files:
        inner = np.arange(one.first + 1, one.last - 1)
        missing = inner[rng.random(len(inner)) < 1.0 / one_in]
        changes.append(_compare(model, one, missing).at(np.setdiff1d(inner, missing)))
    return Change.of(changes)


def _compare(model: Checkpoint, one: Series, missing: NDArray[np.int64]) -> Change:
    """Return the changes (T,) that these missing bars make; NaN at the missing bars themselves."""
    kept = np.ones(len(one.candles), np.bool_)
    kept[missing] = False
    candles = Candles.make(
        one.candles.symbol, one.candles.interval_ms, one.candles.start_ms[kept], one.candles.ohlcv[kept]
    )
    broken = np.full(len(kept), np.nan)
    broken[kept] = _rv(model, candles, one.funding)
    loss, before = losses(one.rv, broken), losses(one.rv, one.unbroken)
    return Change(np.log(broken) - np.log(one.unbroken), loss - before)


def _rv(model: Checkpoint, candles: Candles, funding: Funding | None) -> Floats:
    rv: Floats = forecast_table(model, candles, funding, form="bulk")[:, 0]
    return rv


def _longest(known: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the longest run of True as ``[first, last)``; ``(0, 0)`` if there is none."""
    runs = np.flatnonzero(np.diff(np.r_[False, known, False])).reshape(-1, 2).tolist()
    first, last = max(runs, key=lambda run: run[1] - run[0], default=(0, 0))
    return first, last
