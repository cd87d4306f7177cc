"""For each operator the streaming form, the batch form and an independent oracle must agree."""

import math
from dataclasses import replace

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.lib.stride_tricks import sliding_window_view

from bot.features import ops, vm
from bot.features.ops import CLOSE, CLOSE_MS, FUNDING, HIGH, LOW, OPEN, VOLUME, Op
from bot.features.spec import macd, position_in_range, rsi
from tests.features.series import M5, assert_same_rows, candles, from_values, hard_candles, single

SIGNED = ops.Sub(CLOSE, OPEN)
WINDOWED = [
    make(x, n)
    for make in (ops.Sum, ops.Deviation, ops.Std, ops.Lowest, ops.Highest, ops.Lag)
    for x in (VOLUME, SIGNED)
    for n in (1, 2, 20, 288)
]
WINDOWED += [ops.Ema(x, n, wilder) for x in (VOLUME, SIGNED) for n, wilder in ((9, False), (14, True))]
PLAIN: list[Op] = [
    ops.Add(CLOSE, VOLUME),
    SIGNED,
    ops.Mul(CLOSE, VOLUME),
    ops.Ratio(CLOSE, VOLUME, 1e-3),
    ops.Max(CLOSE, VOLUME),
    ops.Min(CLOSE, VOLUME),
    ops.Log(VOLUME, 1e-3),
    ops.Sqrt(SIGNED),
    ops.Clip(SIGNED, -0.01, 0.02),
    ops.Affine(CLOSE, -3.0, 0.5),
    ops.Sign(SIGNED),
    ops.OrZero(FUNDING),
    ops.Modulo(CLOSE_MS, 86_400_000),
    ops.SinOf(CLOSE_MS, 7e9),
    ops.CosOf(CLOSE_MS, 7e9),
    ops.HourShare(ops.Modulo(CLOSE_MS, 86_400_000), 10),
    ops.NewYork(CLOSE_MS),
]
HARD = hard_candles(20_000)
name = repr


@pytest.mark.parametrize("op", WINDOWED + PLAIN, ids=name)
def test_step_equals_batch_on_a_hard_series(op: Op) -> None:
    step, batch = HARD.replay(single(op))[:, 0], HARD.compute(single(op))[:, 0]
    np.testing.assert_array_equal(np.isnan(step), np.isnan(batch))
    assert np.all(np.isnan(step) | (np.abs(step - batch) <= 1e-12 * _scale(op)))


def _scale(op: Op) -> np.ndarray:
    """Return the largest input within reach: rounding errors of a window are compared with this size.

    The reach of an exponential mean is unlimited. A streamed deviation is the root of a double-double, so an
    old large value leaves half of 104 bits: 1e-15 of it.
    """
    largest = np.full(len(HARD), 1.0 if op.code in (vm.SIN_OF, vm.COS_OF) else 1e-300)
    for source in op.inputs:
        if source not in (CLOSE_MS, FUNDING):
            largest = np.fmax(largest, np.abs(HARD.compute(single(source))[:, 0]))
    if op.window > 1:
        padded = np.concatenate([np.zeros(op.window - 1), np.nan_to_num(largest)])
        largest = sliding_window_view(padded, op.window).max(axis=1)
    return np.maximum.accumulate(largest) if isinstance(op, ops.Ema | ops.Std) else largest


values_and_window = st.integers(1, 12).flatmap(
    lambda n: st.tuples(st.just(n), arrays(np.float64, st.integers(1, 60), elements=st.floats(0.0, 1e6)))
)


@settings(max_examples=60, deadline=None)
@given(values_and_window)
def test_window_operators_match_plain_numpy(drawn: tuple[int, np.ndarray]) -> None:
    n, x = drawn
    oracles = {
        ops.Sum: math.fsum,
        ops.Deviation: lambda w: w[-1] - math.fsum(w) / n,
        ops.Std: lambda w: float(np.std(w)),
        ops.Lowest: min,
        ops.Highest: max,
    }
    series = from_values(x)
    for make, oracle in oracles.items():
        expected = [oracle(x[i - n + 1 : i + 1]) if i >= n - 1 else math.nan for i in range(len(x))]
        for rows in (series.replay(single(make(VOLUME, n))), series.compute(single(make(VOLUME, n)))):
            np.testing.assert_allclose(rows[:, 0], expected, rtol=0, atol=1e-12 * max(1e-300, n * x.max()))


@pytest.mark.fault(77)
def test_a_streamed_sum_does_not_drift() -> None:
    x = np.random.default_rng(3).lognormal(0.0, 6.0, 100_000)
    x[50_000] = 1e15
    got = from_values(x).replay(single(ops.Sum(VOLUME, 2016)))[-1, 0]
    assert got == pytest.approx(math.fsum(x[-2016:]), rel=1e-15)


def test_a_window_of_equal_values_has_no_deviation_left() -> None:
    x = np.concatenate([np.random.default_rng(4).lognormal(0.0, 3.0, 500), np.full(30, 0.1)])
    for op in (ops.Deviation(VOLUME, 20), ops.Std(VOLUME, 20)):
        assert from_values(x).replay(single(op))[-1, 0] <= 1e-15 * x.max()
        assert from_values(x).compute(single(op))[-1, 0] == 0.0


@pytest.mark.parametrize("op", WINDOWED + PLAIN, ids=name)
def test_the_future_cannot_change_the_past(op: Op) -> None:
    series = candles(700)
    later = series.ohlcv.copy()
    later[500:] *= 10.0
    changed = replace(series.with_gap(650), ohlcv=later)
    for run in ("replay", "compute"):
        past = getattr(series, run)(single(op))[:500]
        assert_same_rows(past, getattr(changed, run)(single(op))[:500])
        assert_same_rows(past, getattr(series[:500], run)(single(op)))


@pytest.mark.parametrize("op", WINDOWED + PLAIN, ids=name)
def test_an_operator_is_finite_from_its_declared_warm_up_on(op: Op) -> None:
    series = candles(op.warmup + 5)
    for rows in (series.replay(single(op)), series.compute(single(op))):
        assert np.isnan(rows[: op.warmup - 1]).all()
        assert np.isfinite(rows[op.warmup - 1 :]).all()


def test_an_ema_is_cold_until_its_seed_is_forgotten() -> None:
    ema = ops.Ema(VOLUME, 14, wilder=True)
    x = np.ones(ema.warmup)
    seed = x.copy()
    seed[:14] = 2.0
    influence = from_values(seed).replay(single(ema))[-1, 0] - from_values(x).replay(single(ema))[-1, 0]
    assert 0.0 < influence <= ops.SETTLED


@pytest.mark.parametrize(
    ("moment", "hours"),
    [
        ("2024-03-10T06:59:59", 5), ("2024-03-10T07:00:00", 4), ("2024-11-03T05:59:59", 4),
        ("2024-11-03T06:00:00", 5), ("2025-03-09T06:59:59", 5), ("2025-03-09T07:00:00", 4),
        ("2025-11-02T05:59:59", 4), ("2025-11-02T06:00:00", 5), ("2026-03-08T07:00:00", 4),
        ("2026-11-01T06:00:00", 5), ("2027-03-14T06:59:59", 5), ("2027-11-07T05:59:59", 4),
        ("2028-02-29T12:00:00", 5), ("2028-03-12T07:00:00", 4), ("2028-12-31T23:59:59", 5),
    ],
)  # fmt: skip
def test_new_york_is_an_hour_nearer_in_summer(moment: str, hours: int) -> None:
    ms = float(np.datetime64(moment, "ms").astype(np.int64))
    series = candles(1)
    assert vm._new_york(ms) == ms - hours * 3_600_000
    at = replace(series, start_ms=np.array([int(ms) - M5]))
    for rows in (at.replay(single(ops.NewYork(CLOSE_MS))), at.compute(single(ops.NewYork(CLOSE_MS)))):
        assert rows[0, 0] == ms - hours * 3_600_000


def test_new_york_agrees_in_both_forms_for_a_century() -> None:
    ms = np.arange(0.0, 3.2e12, 9 * 3_600_000.0) + 3_599_999.0
    streamed = np.array([vm._new_york(each) for each in ms])
    assert np.array_equal(ops.NewYork(CLOSE_MS).batch(ms), streamed)


def test_hours_share_the_sixty_minutes_ahead() -> None:
    half_past_ten = candles(126)[125:]  # closes at 10:30
    day = ops.Modulo(CLOSE_MS, 86_400_000)
    shares = [half_past_ten.replay(single(ops.HourShare(day, hour)))[0, 0] for hour in range(24)]
    assert shares == [0.5 if hour in (10, 11) else 0.0 for hour in range(24)]


_, H, L, C, V = candles(3000, seed=8).ohlcv.T.copy()
MACD, SIGNAL, _ = talib.MACD(C)
UPPER, MIDDLE, LOWER = talib.BBANDS(C, 20)
TRUE_RANGE = ops.Sub(ops.Max(HIGH, ops.Lag(CLOSE, 1)), ops.Min(LOW, ops.Lag(CLOSE, 1)))
ORACLES = {
    "RSI": (rsi(CLOSE, 14), talib.RSI(C, 14)),
    "ATR": (ops.Ema(TRUE_RANGE, 14, wilder=True), talib.ATR(H, L, C, 14)),
    "EMA": (ops.Ema(CLOSE, 26), talib.EMA(C, 26)),
    "MACD": (macd(CLOSE, 12, 26), MACD),
    "MACD signal": (ops.Ema(macd(CLOSE, 12, 26), 9), SIGNAL),
    "BBANDS middle": (ops.Sub(CLOSE, ops.Deviation(CLOSE, 20)), MIDDLE),
    "BBANDS upper": (ops.Affine(ops.Std(CLOSE, 20), 4.0), UPPER - LOWER),
    "STOCHF": (ops.Affine(position_in_range(HIGH, LOW, CLOSE, 14), 100.0), talib.STOCHF(H, L, C, 14)[0]),
    "STDDEV": (ops.Std(CLOSE, 60), talib.STDDEV(C, 60)),
    "MIN": (ops.Lowest(LOW, 288), talib.MIN(L, 288)),
    "MAX": (ops.Highest(HIGH, 288), talib.MAX(H, 288)),
    "SUM": (ops.Sum(VOLUME, 48), talib.SUM(V, 48)),
}


@pytest.mark.parametrize("indicator", ORACLES)
def test_talib_agrees(indicator: str) -> None:
    op, expected = ORACLES[indicator]
    # MACD: the seeds differ, so their share (1e-6 of a price move at the warm-up, less later) is the
    # tolerance. The others: TA-Lib's own running sums (single pass, plain float64).
    # STOCHF starts late because it also smooths.
    settled = op.warmup + (200 if "MACD" in indicator else 2)
    tolerance = 1e-7 if "STD" in indicator or "BB" in indicator else 1e-9
    for rows in (candles(3000, seed=8).replay(single(op)), candles(3000, seed=8).compute(single(op))):
        np.testing.assert_allclose(rows[settled:, 0], expected[settled:], rtol=tolerance, atol=tolerance)


def test_every_opcode_is_exercised_here() -> None:
    assert {op.code for op in WINDOWED + PLAIN} == set(range(vm.HIGHEST + 1))
