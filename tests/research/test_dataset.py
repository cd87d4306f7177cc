from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.adapters.files.candles import read_candles
from bot.domain.errors import BadFile, BadInput
from bot.domain.horizons import HOUR, Horizons
from bot.domain.market import HOUR_MS, MINUTE_MS
from bot.features.spec import default
from bot.research.dataset import (
    RET_LONG,
    RET_SHORT,
    RV,
    LabelledRows,
    Split,
    TrainingStream,
    label_rows,
    pack,
    segments,
    streams,
    targets,
)
from tests.research import series

FIVE = 5 * MINUTE_MS
T = 40
STARTS = series.T0 + FIVE * np.arange(T)


BLANK = LabelledRows(
    symbol="BTCUSDT",
    interval_ms=FIVE,
    path="",
    sha256="",
    start_ms=STARTS,
    close=np.ones(T),
    features=np.ones((T, 1)),
    targets=np.ones((T, 3)),
    withheld=np.zeros(T, np.bool_),
)


def walk(seed: int = 0, sd: float = 0.01) -> np.ndarray:
    return 100.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0, sd, T)))


def test_targets_are_sums_over_the_next_hour_and_quarter():
    close = walk()
    r = np.diff(np.log(close))  # r[i] is the return of bar i + 1
    y = targets(STARTS, close, FIVE)
    assert y[7, RV] == pytest.approx(np.sum(r[7:19] ** 2), rel=1e-12)
    assert y[7, RET_SHORT] == pytest.approx(np.log(close[10] / close[7]), rel=1e-12)
    assert y[7, RET_LONG] == pytest.approx(np.log(close[19] / close[7]), rel=1e-12)


def test_each_return_is_clipped_at_a_tenth_in_the_variance_only():
    close = np.full(T, 100.0)
    close[20:] = 50.0
    y = targets(STARTS, close, FIVE)
    assert y[10, RV] == pytest.approx(0.01)
    assert y[10, RET_LONG] == pytest.approx(np.log(0.5))


def test_variance_has_a_floor():
    assert targets(STARTS, np.full(T, 100.0), FIVE)[0, RV] == 1e-9


@settings(deadline=None)
@given(st.integers(0, T - 1), st.sampled_from((RV, RET_SHORT, RET_LONG)))
def test_a_target_sees_its_horizon_and_nothing_else(row, column):
    close = walk()
    ahead = 3 if column == RET_SHORT else 12
    before = targets(STARTS, close, FIVE)[row, column]
    outside = close.copy()
    outside[:row] *= 3.0
    outside[row + ahead + 1 :] *= 5.0
    np.testing.assert_equal(targets(STARTS, outside, FIVE)[row, column], before)
    if row + ahead < T:
        inside = close.copy()
        inside[row + ahead] *= 1.01
        assert targets(STARTS, inside, FIVE)[row, column] != before


def test_targets_are_unknown_at_the_end_and_across_a_gap():
    starts = STARTS.copy()
    starts[25:] += 3 * FIVE
    y = targets(starts, walk(), FIVE)
    assert np.flatnonzero(np.isnan(y[:, RET_LONG])).tolist() == [*range(13, 25), *range(28, 40)]
    assert np.flatnonzero(np.isnan(y[:, RET_SHORT])).tolist() == [22, 23, 24, 37, 38, 39]
    np.testing.assert_array_equal(np.isnan(y[:, RV]), np.isnan(y[:, RET_LONG]))


def test_hourly_bars_have_no_quarter_and_longer_bars_no_target():
    hours = series.T0 + HOUR_MS * np.arange(T)
    y = targets(hours, walk(), HOUR_MS)
    assert np.isnan(y[:, RET_SHORT]).all()
    assert np.isfinite(y[:-1, RV]).all()
    with pytest.raises(BadInput, match="60m"):
        targets(hours, walk(), 4 * HOUR_MS)


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_adjacent_spans_share_no_row(stop, cut):
    stop, cut = sorted((stop, cut))
    moments = [series.T0 + m * 15 * MINUTE_MS for m in (stop, cut)]
    for horizons in (HOUR, Horizons(FIVE, 2 * HOUR_MS)):
        rows = replace(BLANK, horizons=horizons)
        spans = [rows.within(0, moments[0]), rows.within(*moments), rows.within(moments[1], 10**14)]
        for earlier, later in ((0, 1), (1, 2), (0, 2)):
            if spans[earlier].any() and spans[later].any():
                settled = rows.close_ms[spans[earlier]].max() + horizons.long_ms
                assert settled <= rows.close_ms[spans[later]].min()


@pytest.mark.parametrize("horizons", [HOUR, Horizons(2 * HOUR_MS, 6 * HOUR_MS)])
def test_the_split_leaves_one_horizon_out_at_each_border(horizons):
    rows, split = series.rows(series.candles(), horizons), series.split()
    fit, choose, validate = split.fit(rows), split.choose(rows), split.validate(rows)
    assert not (fit & choose).any()
    assert not (choose & validate).any()
    dropped = ~(fit | choose | validate) & rows.warm & rows.known
    assert dropped.sum() == 2 * (horizons.long_ms // series.INTERVAL_MS - 1)


def test_segments_are_the_unbroken_stretches():
    starts = np.array([0, 1, 2, 5, 6, 9]) * FIVE
    assert segments(starts, FIVE) == [slice(0, 3), slice(3, 5), slice(5, 6)]


def test_a_stream_starts_warm_and_ends_where_learning_ends():
    broken = series.rows(series.without(series.candles(), 1200, 1210))
    split = Split(*(int(broken.start_ms[i]) for i in (2000, 2200, 2400)))
    x = np.nan_to_num(broken.features).astype(np.float32)
    parts = streams(broken, x, split.fit(broken))
    warm, horizon = series.FEATURES.warmup - 1, 4
    assert [len(part.x) for part in parts] == [1200 - warm - horizon, 2000 - 1200 - warm - horizon]
    assert all(np.isfinite(part.y[-1]).all() for part in parts)


def streams_of(lengths):
    first = np.cumsum([0, *lengths])
    return [
        TrainingStream(
            np.arange(a, a + n, dtype=np.float32)[:, None],
            np.repeat(np.arange(a, a + n, dtype=float)[:, None], 3, 1),
        )
        for a, n in zip(first, lengths, strict=False)
    ]


@settings(deadline=None)
@given(st.lists(st.integers(1, 70), min_size=1, max_size=6), st.integers(1, 4), st.integers(0, 9))
def test_packing_reads_every_stream_in_order_and_says_where_one_begins(lengths, lanes, seed):
    seen = set()
    last = [None] * lanes
    for batch in pack(streams_of(lengths), lanes, 16, np.random.default_rng(seed)):
        for lane in range(lanes):
            known = np.isfinite(batch.y[lane, :, 0])
            values = batch.y[lane, known, 0].astype(int).tolist()
            assert batch.x[lane, known, 0].astype(int).tolist() == values
            if not values:
                continue
            assert batch.fresh[lane] or values[0] == last[lane] + 1
            assert values == list(range(values[0], values[0] + len(values)))
            assert not seen & set(values)
            seen |= set(values)
            last[lane] = values[-1]
    ends = np.cumsum(lengths)
    assert {int(end) - 1 for end in ends} <= seen
    assert len(seen) >= sum(n - min(16, n // 2) for n in lengths)


def test_files_of_two_intervals_do_not_mix(tmp_path):
    candles = read_candles(series.saved_candles(tmp_path, series.candles(bars=50)))
    assert len(label_rows(candles, series.FEATURES).close) == 50
    with pytest.raises(BadFile, match="one interval"):
        label_rows(candles, default(FIVE))
