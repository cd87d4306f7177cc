"""Feature rows of a whole series at once.

``compute`` runs the operators' numpy form; it equals the streaming form up to rounding (1e-12 of each
operator's scale). ``replay`` runs the streaming form itself, so it is equal to the bit. Both reset at every
gap in ``start_ms``, as ``FeatureStream.push`` does.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from bot.domain.errors import BadBar
from bot.domain.words import utc_words
from bot.features.ops import INPUTS, Input, Op, ordered
from bot.features.program import lane_of
from bot.features.spec import FeatureSet
from bot.features.stream import FeatureStream
from bot.features.vm import Floats, Ints


def compute(
    feature_set: FeatureSet,
    start_ms: Ints,
    ohlcv: Floats,
    funding_ms: Ints,
    funding_rates: Floats,
    other_ohlcv: Floats | None = None,
) -> Floats:
    """Return rows (T, F), vectorised. NaN where a column is not warm.

    Args: ``start_ms`` (T,) strictly increasing; ``ohlcv`` (T, 5) valid candles; ``funding_ms`` sorted
        settlement times with their ``funding_rates`` (both may be empty); ``other_ohlcv`` (T, 5), for a
        joined set only, aligned with ``align``.

    Raises:
        BadBar: times do not increase; a row is not a candle; or the second symbol's bars are missing, or are
            given for a set that is not joined.
    """
    funding = last_settled(funding_ms, funding_rates, start_ms + feature_set.interval_ms)
    return compute_at(feature_set, start_ms, ohlcv, funding, other_ohlcv)


def compute_at(
    feature_set: FeatureSet,
    start_ms: Ints,
    ohlcv: Floats,
    funding: Floats,
    other_ohlcv: Floats | None = None,
) -> Floats:
    """Return the same rows from ``funding`` (T,), the last rate settled before each close (NaN: none).

    Raises:
        BadBar: as ``compute``.
    """
    _check_all(feature_set, start_ms, ohlcv, other_ohlcv)
    inputs = _inputs(feature_set, start_ms, ohlcv, funding, other_ohlcv)
    rows = np.full((len(start_ms), len(feature_set.columns)), np.nan)
    plan = _plan(feature_set)
    own, joined = ([step for step in plan if step.lane == lane] for lane in (0, 1))
    for first, last in _pieces(start_ms, feature_set.interval_ms):
        known: dict[Op, Floats] = {}
        piece = {name: x[first:last] for name, x in inputs.items()}
        _evaluate(own, known, piece, rows[first:last])
        for begin, end in _present(piece["other_close"]) if joined else ():
            there = slice(begin, end)
            _evaluate(
                joined,
                {op: x[there] for op, x in known.items()},
                {name: x[there] for name, x in piece.items()},
                rows[first:last][there],
            )
    return rows


def replay(
    feature_set: FeatureSet,
    start_ms: Ints,
    ohlcv: Floats,
    funding_ms: Ints,
    funding_rates: Floats,
    other_ohlcv: Floats | None = None,
) -> Floats:
    """Return the same rows from the streaming executor: exactly the bits that a live stream would see."""
    _check_all(feature_set, start_ms, ohlcv, other_ohlcv)
    bars = ohlcv if other_ohlcv is None else np.hstack([ohlcv, other_ohlcv])
    funding = last_settled(funding_ms, funding_rates, start_ms + feature_set.interval_ms)
    stream = FeatureStream(feature_set, 1)
    return stream.replay(0, bars, start_ms, funding)


def last_settled(funding_ms: Ints, rates: Floats, close_ms: Ints) -> Floats:
    """Return the last rate settled strictly before each close, NaN if there is none.

    A bar does not know a rate that is settled exactly at its close.
    """
    before = np.searchsorted(funding_ms, close_ms, side="left")
    return np.concatenate([[np.nan], rates])[before]


def align(start_ms: Ints, other_start_ms: Ints, other_ohlcv: Floats) -> Floats:
    """Return the second symbol's bars at these times, (T, 5); NaN where it has none."""
    out = np.full((len(start_ms), 5), np.nan)
    _, here, there = np.intersect1d(start_ms, other_start_ms, assume_unique=True, return_indices=True)
    out[here] = other_ohlcv[there]
    return out


def _inputs(
    feature_set: FeatureSet,
    start_ms: Ints,
    ohlcv: Floats,
    funding: Floats,
    other_ohlcv: Floats | None,
) -> dict[str, Floats]:
    close_ms = start_ms + feature_set.interval_ms
    own = [ohlcv[:, i] for i in range(5)]
    inputs = dict(zip(INPUTS, [*own, close_ms.astype(np.float64)], strict=False))
    inputs["funding"] = funding
    if other_ohlcv is not None:
        inputs |= {f"other_{name}": other_ohlcv[:, i] for i, name in enumerate(INPUTS[:5])}
    return inputs


def _check_all(feature_set: FeatureSet, start_ms: Ints, ohlcv: Floats, other_ohlcv: Floats | None) -> None:
    if feature_set.is_joined != (other_ohlcv is not None):
        raise BadBar(
            f"{feature_set.name} takes {'' if feature_set.is_joined else 'no '}bars of a second symbol"
        )
    _check(start_ms, ohlcv)
    if other_ohlcv is not None:
        present = ~np.isnan(other_ohlcv[:, 3])
        _check(start_ms[present], other_ohlcv[present])


def _check(start_ms: Ints, ohlcv: Floats) -> None:
    o, h, low, c, v = ohlcv.T
    sound = (low > 0) & (low <= o) & (o <= h) & (low <= c) & (c <= h) & (h < np.inf) & (v >= 0) & (v < np.inf)
    if not sound.all():
        row = int(np.argmin(sound))
        raise BadBar(f"row {row} at {utc_words(start_ms[row])} is not a candle: {ohlcv[row]}")
    newer = np.diff(start_ms) > 0
    if not newer.all():
        row = int(np.argmin(newer)) + 1
        raise BadBar(f"row {row} at {utc_words(start_ms[row])} is not newer than the row before")


def _pieces(start_ms: Ints, interval_ms: int) -> list[tuple[int, int]]:
    """Return the stretches without a gap, as (first, one past last)."""
    return _between(np.flatnonzero(np.diff(start_ms) != interval_ms) + 1, len(start_ms))


def _present(close: Floats) -> list[tuple[int, int]]:
    """Return the stretches in which the second symbol has a bar at every close."""
    has = ~np.isnan(close)
    stretches = _between(np.flatnonzero(np.diff(has)) + 1, len(has))
    return [(first, last) for first, last in stretches if has[first]]


def _between(cuts: Ints, end: int) -> list[tuple[int, int]]:
    edges = [0, *cuts.tolist(), end]
    return [(first, last) for first, last in pairwise(edges) if last > first]


class _Step(NamedTuple):
    """One node in evaluation order."""

    op: Op
    lane: int
    columns: list[int]
    """Columns that this node fills."""
    skip: int
    """Number of bars before the inputs are valid."""
    done: list[Op]
    """Inputs that no later node reads."""


def _plan(feature_set: FeatureSet) -> list[_Step]:
    roots = [op for _, op in feature_set.columns]
    nodes = list(ordered(tuple(roots)))
    last_reader = {source: op for op in nodes for source in op.inputs}
    return [
        _Step(
            op=op,
            lane=lane_of(op),
            columns=[i for i, root in enumerate(roots) if root is op or root == op],
            skip=max((source.warmup for source in op.inputs), default=1) - 1,
            done=[source for source in set(op.inputs) if last_reader[source] is op],
        )
        for op in nodes
    ]


def _evaluate(steps: list[_Step], known: dict[Op, Floats], inputs: dict[str, Floats], rows: Floats) -> None:
    """Compute nodes over one stretch without gaps into ``known``, and fill their columns of ``rows``."""
    for op, _, columns, skip, done in steps:
        known[op] = inputs[op.name] if isinstance(op, Input) else _series(op, known, skip, len(rows))
        for column in columns:
            rows[:, column] = known[op]
        for source in done:
            del known[source]


def _series(op: Op, known: dict[Op, Floats], skip: int, bars: int) -> Floats:
    out = np.full(bars, np.nan)
    if bars > skip:
        out[skip:] = op.batch(*(known[source][skip:] for source in op.inputs))
    return out
