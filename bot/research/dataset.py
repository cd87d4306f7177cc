"""Training data: rows of features with targets, split by time, packed into windows.

A row belongs to one closed bar. Its forecast is made at the bar's close; its targets lie in ``(close, close +
the longer horizon]``, by default an hour. A row belongs to a span of time only if both ends of this interval
do. So two spans that touch share no data (the purge).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bot.adapters.files.candles import Candles, funding_beside, read_funding
from bot.adapters.model.predictor import complete
from bot.domain.errors import BadFile, BadInput
from bot.domain.horizons import HOUR, Horizons
from bot.domain.market import interval_name
from bot.features import matrix
from bot.features.bridge import NO_BRIDGE, Bridge, bridged
from bot.features.spec import FeatureSet
from bot.model.config import RETURN_CLIP, RV_MIN
from bot.ports import Floats

Mask = NDArray[np.bool_]
Inputs = NDArray[np.float32]

RV, RET_SHORT, RET_LONG = range(3)
"""Columns of the targets, in the order of ``Horizons.targets``."""
LOG_SD = 3
"""Column behind those in a model's forecasts: the deviation of the logarithm of its variance."""


def log_returns(start_ms: NDArray[np.int64], close: Floats, interval_ms: int) -> Floats:
    """Return ln(close[t] / close[t-1]), ``(T,)``. NaN for the first bar and for a bar after a gap."""
    out = np.full(len(close), np.nan)
    if len(close) > 1:
        out[1:] = np.log(close[1:] / close[:-1])
        out[1:][np.diff(start_ms) != interval_ms] = np.nan
    return out


def squared_returns(returns: Floats) -> Floats:
    """Return squared one-bar log returns, clipped to ±0.1 so that one bad bar cannot dominate the sample."""
    clipped: Floats = np.clip(returns, -RETURN_CLIP, RETURN_CLIP) ** 2
    return clipped


def sum_last(values: Floats, bars: int) -> Floats:
    """Return the sum of the last ``bars`` values, including the current one.

    NaN if one of them is missing.
    """
    out = np.full(len(values), np.nan)
    if len(values) >= bars:
        out[bars - 1 :] = sliding_window_view(values, bars).sum(axis=-1)
    return out


def targets(
    start_ms: NDArray[np.int64], close: Floats, interval_ms: int, horizons: Horizons = HOUR
) -> Floats:
    """Return ``(T, 3)``, named by ``Horizons.targets``: variance and returns of the bars *after* each row.

    The variance is the sum of the squared one-bar log returns (each clipped to ±0.1) over the longer horizon,
    at least 1e-9. NaN where the horizon contains a gap or the end of the series. The return over the shorter
    horizon is always NaN if bars do not fit into it.

    Raises:
        BadInput: bars do not fit into the longer horizon, so these targets have no meaning.
    """
    if horizons.long_ms % interval_ms:
        raise BadInput(
            f"targets need bars that fit into {horizons.minutes[1]}m, were {interval_name(interval_ms)}"
        )
    long, short = horizons.long_ms // interval_ms, horizons.short_ms // interval_ms
    returns = log_returns(start_ms, close, interval_ms)
    out = np.full((len(close), len(horizons.targets)), np.nan)
    out[:-long, RV] = np.maximum(sum_last(squared_returns(returns), long), RV_MIN)[long:]
    out[:-long, RET_LONG] = sum_last(returns, long)[long:]
    if short * interval_ms == horizons.short_ms:
        out[:-short, RET_SHORT] = sum_last(returns, short)[short:]
    return out


@dataclass(frozen=True)
class LabelledRows:
    """One candle file for research: ``T`` bars, their features and their targets.

    Bars that a bridge filled are among them; they have no targets, so nothing is fitted or scored on them.
    """

    symbol: str
    interval_ms: int
    path: str
    sha256: str
    start_ms: NDArray[np.int64]  # (T,)
    close: Floats  # (T,)
    features: Floats  # (T, F), NaN while not warm
    targets: Floats  # (T, 3), NaN where unknown
    withheld: Mask  # (T,), True where a bridge gives no forecast
    horizons: Horizons = HOUR

    @property
    def close_ms(self) -> NDArray[np.int64]:
        """Time of each row's forecast, ``(T,)``."""
        return self.start_ms + self.interval_ms

    @property
    def warm(self) -> Mask:
        """True for rows whose features are all finite, ``(T,)``."""
        return complete(self.features)

    @property
    def known(self) -> Mask:
        """True for rows whose longer horizon is complete, ``(T,)``."""
        return complete(self.targets[:, [RV, RET_LONG]])

    def within(self, from_ms: int, to_ms: int) -> Mask:
        """Return the rows with a forecast at or after ``from_ms`` and targets that end by ``to_ms``."""
        return (self.close_ms >= from_ms) & (self.close_ms + self.horizons.long_ms <= to_ms)

    @property
    def returns(self) -> Floats:
        """One-bar log returns, ``(T,)``; NaN across gaps."""
        return log_returns(self.start_ms, self.close, self.interval_ms)


def label_rows(
    candles: Candles,
    feature_set: FeatureSet,
    funding: str | Path | None = "beside",
    *,
    bridge: Bridge = NO_BRIDGE,
    horizons: Horizons = HOUR,
) -> LabelledRows:
    """Compute features and targets of candles, the latter over ``horizons``.

    ``funding`` is a file of settled rates; None for no funding; "beside" for the file in the folder of the
    candles' file, if any.
    ``bridge``: which holes are filled for the features; targets always need real bars. A model is fitted
    without a bridge, because its bridge is measured afterwards.

    Raises:
        BadFile: the bars have another interval than the features.
    """
    if candles.interval_ms != feature_set.interval_ms:
        raise BadFile(
            f"{candles.path or candles.symbol}: bars of {interval_name(candles.interval_ms)}, but the model "
            f"needs {interval_name(feature_set.interval_ms)}; use candles of one interval"
        )
    rates = funding_beside(candles.path) if funding == "beside" else funding
    settled = (np.empty(0, np.int64), np.empty(0))
    if rates is not None:
        read = read_funding(rates)
        settled = (read.start_ms, read.rate)
    rates_at = matrix.last_settled(*settled, candles.start_ms + candles.interval_ms)
    bars = bridged(bridge, candles.start_ms, candles.ohlcv, rates_at, candles.interval_ms)
    return LabelledRows(
        symbol=candles.symbol,
        interval_ms=candles.interval_ms,
        path=candles.path,
        sha256=candles.sha256,
        start_ms=bars.start_ms,
        close=bars.ohlcv[:, 3],
        features=matrix.compute_at(feature_set, bars.start_ms, bars.ohlcv, bars.funding),
        targets=bars.scattered(targets(candles.start_ms, candles.ohlcv[:, 3], candles.interval_ms, horizons)),
        withheld=bars.withheld,
        horizons=horizons,
    )


@dataclass(frozen=True)
class Split:
    """Two cuts in time for all symbols: fit < ``stop_ms`` ≤ choose < ``cut_ms`` ≤ validate < ``valid_ms``.

    The model is fitted on the first span. Its epoch and configuration are chosen on the second. Its skill is
    reported on the third. ``LabelledRows.within`` keeps the longer horizon between the spans.
    """

    stop_ms: int
    cut_ms: int
    valid_ms: int

    def fit(self, rows: LabelledRows) -> Mask:
        """Return the rows to fit on."""
        return rows.warm & rows.known & rows.within(0, self.stop_ms)

    def choose(self, rows: LabelledRows) -> Mask:
        """Return the rows to choose on: early stopping and configuration."""
        return rows.warm & rows.known & rows.within(self.stop_ms, self.cut_ms)

    def before_cut(self, rows: LabelledRows) -> Mask:
        """Return the rows to fit or choose on together, for baselines that choose nothing."""
        return rows.warm & rows.known & rows.within(0, self.cut_ms)

    def validate(self, rows: LabelledRows) -> Mask:
        """Return the rows that were used neither for fitting nor for choosing."""
        return rows.warm & rows.known & rows.within(self.cut_ms, self.valid_ms)


def segments(start_ms: NDArray[np.int64], interval_ms: int) -> list[slice]:
    """Return the stretches of a series without gaps, in order."""
    edges = np.flatnonzero(np.diff(start_ms) != interval_ms) + 1
    bounds = [0, *edges.tolist(), len(start_ms)]
    return [slice(a, b) for a, b in pairwise(bounds) if b > a]


@dataclass(frozen=True)
class TrainingStream:
    """A stretch of warm rows without gaps, as the model reads it: ``x`` (T, F) scaled, ``y`` (T, 3 or 4).

    ``y`` holds the targets and, if there is a teacher, the log of its forecast of the variance. It is NaN
    where no loss is computed (unknown, purged or outside the span).
    """

    x: Inputs
    y: Floats


def streams(
    rows: LabelledRows, x: Inputs, learn: Mask, lessons: Floats | None = None
) -> list[TrainingStream]:
    """Cut one file at its gaps into streams. Each ends with its last row of ``learn``.

    Args: ``x`` (T, F) scaled inputs; ``learn`` (T,) the rows with a loss; ``lessons`` (T,) what a teacher
    forecasts. Stretches without rows to learn from are left out.
    """
    out = []
    wanted = rows.targets if lessons is None else np.column_stack((rows.targets, lessons))
    warm = rows.warm
    for part in segments(rows.start_ms, rows.interval_ms):
        useful = np.flatnonzero(learn[part])
        if not len(useful):
            continue
        first = part.start + int(np.argmax(warm[part]))
        last = part.start + int(useful[-1]) + 1
        y = np.where(learn[first:last, None], wanted[first:last], np.nan)
        out.append(TrainingStream(x[first:last], y))
    return out


@dataclass(frozen=True)
class Batch:
    """One window of every lane: ``x`` (B, T, F), ``y`` (B, T, 3 or 4) as in ``TrainingStream``.

    ``fresh`` (B,): the lane starts a stream.
    """

    x: Inputs
    y: Floats
    fresh: Mask


def pack(
    parts: Sequence[TrainingStream], lanes: int, window: int, rng: np.random.Generator
) -> Iterator[Batch]:
    """Yield one epoch: every stream is read from start to end in windows, ``lanes`` streams side by side.

    Each stream goes to the lane with the least work, in a shuffled order. It loses up to one window at its
    start, so that window borders move between epochs. The caller carries a lane's state from window to window
    and resets it where ``fresh``. The end of a stream is padded with zeros without targets; a lane without
    work is all padding.
    """
    plan = _plan(parts, lanes, window, rng)
    n_in, n_out = parts[0].x.shape[1], parts[0].y.shape[1]
    for turn in range(max(len(lane) for lane in plan)):
        x = np.zeros((lanes, window, n_in), dtype=np.float32)
        y = np.full((lanes, window, n_out), np.nan)
        fresh = np.ones(lanes, dtype=np.bool_)
        for row, lane in enumerate(plan):
            if turn < len(lane):
                piece = lane[turn]
                size = piece.last - piece.first
                x[row, :size] = piece.stream.x[piece.first : piece.last]
                y[row, :size] = piece.stream.y[piece.first : piece.last]
                fresh[row] = piece.fresh
        yield Batch(x, y, fresh)


@dataclass(frozen=True)
class _Piece:
    stream: TrainingStream
    first: int
    last: int
    fresh: bool


def _plan(
    parts: Sequence[TrainingStream], lanes: int, window: int, rng: np.random.Generator
) -> list[list[_Piece]]:
    """Return the windows that each lane reads, in order."""
    work: list[list[list[_Piece]]] = [[] for _ in range(lanes)]
    for stream in sorted(parts, key=lambda stream: len(stream.x), reverse=True):
        begin = int(rng.integers(0, min(window, len(stream.x) // 2) + 1))
        starts = range(begin, len(stream.x), window)
        pieces = [_Piece(stream, i, min(i + window, len(stream.x)), i == begin) for i in starts]
        min(work, key=lambda lane: sum(map(len, lane))).append(pieces)
    return [[piece for i in rng.permutation(len(lane)) for piece in lane[i]] for lane in work]
