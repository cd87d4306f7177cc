"""The default set, live and in bulk: warm-up, gaps, peeking, several symbols, faults, snapshots."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bot.domain.errors import BadBar, BadInput, Broken
from bot.domain.words import utc_words
from bot.features import matrix
from bot.features.spec import default
from bot.features.stream import FeatureStream
from tests.features.series import H4, H8, M5, Series, assert_same_rows, candles, hard_candles

SET = default(M5)
CALENDAR = [i for i, name in enumerate(SET.names) if name.startswith(("day_", "week_", "hour_", "funding_"))]
WINDOWS = [i for i in range(len(SET.names)) if i not in CALENDAR]


def push(stream: FeatureStream, slot: int, series: Series, i: int, *, peek: bool = False) -> np.ndarray:
    take = stream.peek if peek else stream.push
    at = slice(i, i + 1)
    return take(np.array([slot]), series.ohlcv[at], series.start_ms[at], series[at].funding())[0]


def primed(series: Series, symbols: int = 1) -> FeatureStream:
    stream = FeatureStream(SET, symbols)
    for slot in range(symbols):
        stream.replay(slot, series.ohlcv, series.start_ms, series.funding())
    return stream


def assert_close(step: np.ndarray, batch: np.ndarray) -> None:
    """Require equality up to 1e-12 of each column's scale. All columns are of order 1 to 20."""
    np.testing.assert_array_equal(np.isnan(step), np.isnan(batch))
    assert np.nanmax(np.abs(step - batch)) <= 1e-12


@pytest.mark.fault(80)
def test_step_equals_batch_on_100k_hard_bars() -> None:
    series = hard_candles(100_000)
    step = series.replay(SET)
    assert_close(step, series.compute(SET))
    assert np.isfinite(step).all(axis=1).sum() > 80_000


def test_pushing_one_by_one_is_replaying_to_the_bit() -> None:
    series = hard_candles(9000)[850:3500]
    stream = FeatureStream(SET, 1)
    rows = np.array([push(stream, 0, series, i) for i in range(len(series))])
    assert_same_rows(rows, series.replay(SET))


@pytest.mark.parametrize("interval_ms", [60_000, M5, 900_000, 3_600_000, 14_400_000])
def test_the_declared_warm_up_is_the_one_enforced(interval_ms: int) -> None:
    feature_set = default(interval_ms)
    series = candles(feature_set.warmup + 2, interval_ms=interval_ms)
    for rows in (series.replay(feature_set), series.compute(feature_set)):
        finite = np.isfinite(rows)
        assert finite.all(axis=1).tolist() == [False] * (feature_set.warmup - 1) + [True] * 3
        first_finite = [int(np.argmax(column)) + 1 for column in finite.T]
        assert first_finite == [op.warmup for _, op in feature_set.columns]


def test_a_gap_is_a_new_start_except_for_calendar_and_funding() -> None:
    series = candles(4300).with_gap(2150, bars=3)
    after = series[2150:]
    for run in ("replay", "compute"):
        rows = getattr(series, run)(SET)[2150:]
        assert_same_rows(rows, getattr(after, run)(SET))
        assert np.isnan(rows[0, [i for i in WINDOWS if SET.columns[i][1].warmup > 1]]).all()
        assert np.isfinite(rows[0, CALENDAR]).all()
        assert rows[0, SET.names.index("funding_bps")] != 0.0


def test_a_stream_notices_a_gap_by_itself_and_counts_it() -> None:
    series = candles(20).with_gap(10)
    stream = primed(series)
    assert stream.gap_resets.tolist() == [1]
    assert stream.bars_since_reset(0) == 10
    assert stream.state.tobytes() == primed(series[10:]).state.tobytes()


def test_reset_forgets_one_slot_and_leaves_the_others() -> None:
    series = candles(60)
    stream = primed(series[:50], symbols=2)
    stream.reset(0)
    assert (stream.bars_since_reset(0), stream.bars_since_reset(1)) == (0, 50)
    fresh = FeatureStream(SET, 1)
    for i in range(50, 60):
        assert_same_rows(push(stream, 0, series, i), push(fresh, 0, series, i))
    assert stream.state[0].tobytes() == fresh.state[0].tobytes()


@pytest.mark.parametrize("gap", [0, 4])
def test_peek_returns_what_push_will_return_and_writes_nothing(gap: int) -> None:
    series = candles(2100).with_gap(2090, bars=gap)
    stream = primed(series[:2090])
    before = stream.state_bytes()
    peeked = push(stream, 0, series, 2090, peek=True)
    assert stream.state_bytes() == before
    assert_same_rows(push(stream, 0, series, 2090), peeked)
    assert stream.state_bytes() != before


def test_a_symbols_rows_do_not_depend_on_other_symbols_to_the_bit() -> None:
    many = [candles(2100, seed) for seed in range(5)]
    together = FeatureStream(SET, 5)
    alone = [FeatureStream(SET, 1) for _ in many]
    order = np.array([3, 0, 4, 1, 2])
    for i in range(2100):
        at = slice(i, i + 1)
        bars = np.array([many[slot].ohlcv[i] for slot in order])
        funding = np.concatenate([many[slot][at].funding() for slot in order])
        rows = together.push(order, bars, np.repeat(many[0].start_ms[at], 5), funding)
        for row, slot in zip(rows, order, strict=True):
            assert_same_rows(row, push(alone[slot], 0, many[slot], i))


@pytest.mark.fault(80)
def test_the_future_cannot_change_the_past() -> None:
    series = hard_candles(9000)[850:4200]
    later = series.ohlcv.copy()
    later[3000:] *= 7.0
    changed = replace(series.with_gap(3200), ohlcv=later, rates=series.rates * 1.0)
    changed.rates[np.searchsorted(series.funding_ms, series.start_ms[3000]) :] += 1e-3
    for run in ("replay", "compute"):
        past = getattr(series, run)(SET)[:2999]
        assert_same_rows(past, getattr(changed, run)(SET)[:2999])
        assert_same_rows(past, getattr(series[:2999], run)(SET))


@pytest.mark.fault(11)
def test_dead_markets_and_crashes_give_finite_rows() -> None:
    frozen = candles(2400)
    frozen.ohlcv[:] = [5.0, 5.0, 5.0, 5.0, 0.0]
    row = dict(zip(SET.names, frozen.replay(SET)[-1], strict=True))
    assert row["bollinger_b_20"] == row["stochastic_14"] == 0.5
    assert row["rsi_14"] == row["ret_288"] == row["volume_z_288"] == row["signed_volume_1h"] == 0.0
    assert row["har_1h"] == math.log(1e-9)
    crashed = hard_candles(9000)[4000:6600]
    for rows in (crashed.replay(SET), crashed.compute(SET), frozen.compute(SET)):
        assert np.isfinite(rows[SET.warmup - 1 :]).all()
        assert np.abs(rows[SET.warmup - 1 :]).max() < 30.0


def test_a_rate_is_seen_by_bars_that_close_after_its_settlement() -> None:
    series = replace(candles(200), rates=np.array([1e-4, 2e-4, 3e-4]))
    column = SET.names.index("funding_bps")
    for rows in (series.replay(SET), series.compute(SET)):
        at_close = {
            int(s + M5 - series.start_ms[0]): r for s, r in zip(series.start_ms, rows[:, column], strict=True)
        }
        assert at_close[H8] == pytest.approx(1.0)
        assert at_close[H8 + M5] == pytest.approx(2.0)


def test_an_unknown_funding_rate_counts_as_none_paid() -> None:
    series = replace(candles(3), funding_ms=np.zeros(0, np.int64), rates=np.zeros(0))
    assert series.replay(SET)[:, SET.names.index("funding_bps")].tolist() == [0.0] * 3


def test_funding_countdown_ends_at_the_settlement() -> None:
    column = candles(100).replay(SET)[:, SET.names.index("funding_until")]
    assert column[95] == 0.0
    assert column[96] == pytest.approx(1.0 - M5 / H8)


BAD = {
    "repeated": {"shift": 0},
    "older": {"shift": -3},
    "nan price": {"bar": [math.nan, 1, 1, 1, 1]},
    "zero price": {"bar": [0, 1, 0, 1, 1]},
    "high below close": {"bar": [1, 1, 1, 2, 1]},
    "negative volume": {"bar": [1, 1, 1, 1, -1]},
    "no such slot": {"slot": 2},
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("peek", [False, True])
def test_an_impossible_bar_raises_broken_and_changes_nothing(case: str, peek: bool) -> None:
    fault = {"shift": 1, "bar": [1.0, 1.0, 1.0, 1.0, 1.0], "slot": 1} | BAD[case]
    series = candles(10)
    stream = primed(series, symbols=2)
    before = stream.state_bytes()
    start_ms = np.array([series.start_ms[-1] + M5, series.start_ms[-1] + M5 * fault["shift"]])
    bars = np.array([[1.0] * 5, fault["bar"]], np.float64)
    with pytest.raises(Broken, match=utc_words(start_ms[1])):
        (stream.peek if peek else stream.push)(np.array([0, fault["slot"]]), bars, start_ms, np.zeros(2))
    assert stream.state_bytes() == before


def test_a_slot_twice_in_one_call_raises_broken() -> None:
    stream = FeatureStream(SET, 1)
    series = candles(2)
    with pytest.raises(Broken, match="already in this call"):
        stream.push(np.zeros(2, np.int64), series.ohlcv, series.start_ms, np.zeros(2))


def test_bars_of_another_shape_raise_broken() -> None:
    with pytest.raises(Broken, match="shape"):
        FeatureStream(SET, 1).push(np.zeros(1, np.int64), np.ones((1, 4)), np.zeros(1, np.int64), np.zeros(1))


def test_any_layout_of_the_same_numbers_gives_the_same_rows() -> None:
    series = candles(30)
    strided = np.asfortranarray(series.ohlcv)
    strided.flags.writeable = False
    assert_same_rows(replace(series, ohlcv=strided).replay(SET), series.replay(SET))


def test_a_stream_restored_from_a_snapshot_continues_to_the_bit() -> None:
    series = candles(2060)
    stream = primed(series[:2050])
    copy = FeatureStream(SET, 1)
    copy.load_state(stream.state_bytes())
    for i in range(2050, 2060):
        assert_same_rows(push(stream, 0, series, i), push(copy, 0, series, i))
    assert copy.state_bytes() == stream.state_bytes()


def test_a_snapshot_of_another_size_is_refused() -> None:
    with pytest.raises(BadInput, match="bytes"):
        FeatureStream(SET, 2).load_state(FeatureStream(SET, 1).state_bytes())


@pytest.mark.parametrize("fault", ["order", "candle"])
def test_bulk_rows_refuse_what_a_stream_would_refuse(fault: str) -> None:
    series = candles(10)
    if fault == "order":
        series.start_ms[5] = series.start_ms[4]
    else:
        series.ohlcv[5, 1] = 1.0
    for run in (series.compute, series.replay):
        with pytest.raises(BadBar, match="row 5"):
            run(SET)


def joined(series: Series, other: np.ndarray, run: str) -> np.ndarray:
    compute = matrix.compute if run == "compute" else matrix.replay
    return compute(SET.joined(), series.start_ms, series.ohlcv, series.funding_ms, series.rates, other)


@pytest.mark.parametrize("run", ["compute", "replay"])
def test_a_gap_in_the_second_symbol_resets_only_its_own_columns(run: str) -> None:
    series, second = candles(3000), candles(3000, seed=9)
    other = second.ohlcv.copy()
    other[2500:2503] = np.nan
    rows = joined(series, other, run)
    own, extra = rows[:, : len(SET.names)], rows[:, len(SET.names) :]
    assert_same_rows(np.ascontiguousarray(own), getattr(series, run)(SET))
    assert np.isnan(extra[2500:2504]).all()
    column = SET.joined().names.index("other_har_1h") - len(SET.names)
    expected = getattr(second, run)(SET)[:, SET.names.index("har_1h")]
    assert_same_rows(extra[:2500, column].copy(), expected[:2500])
    assert_same_rows(
        extra[2503:, column].copy(), getattr(second[2503:], run)(SET)[:, SET.names.index("har_1h")]
    )


def test_joined_step_equals_batch_over_gaps_of_either() -> None:
    series = hard_candles(12_000)
    other = candles(12_000, seed=9).ohlcv
    other[[5, 700, 701, 4000]] = np.nan
    other[6000:6400] = np.nan
    assert_close(joined(series, other, "replay"), joined(series, other, "compute"))


def test_align_finds_the_bars_of_the_same_close() -> None:
    other = np.arange(10.0).reshape(2, 5)
    aligned = matrix.align(np.array([0, 5, 10]), np.array([5, 20]), other)
    np.testing.assert_array_equal(aligned, [[math.nan] * 5, other[0], [math.nan] * 5])


PURE_PYTHON = """
import sys
from tests.features.series import H4, candles
from bot.features.spec import default
series = candles(400, interval_ms=H4).with_gap(20, interval_ms=H4)
sys.stdout.buffer.write(series.replay(default(H4)).tobytes())
"""


def test_the_uncompiled_machine_gives_the_same_rows() -> None:
    python = np.frombuffer(_run_python(PURE_PYTHON, NUMBA_DISABLE_JIT="1"))
    compiled = candles(400, interval_ms=H4).with_gap(20, interval_ms=H4).replay(default(H4))
    assert np.isfinite(compiled[-1]).all()
    np.testing.assert_allclose(python, compiled.ravel(), rtol=1e-13, atol=1e-13)  # another libm: an ulp


def _run_python(code: str, **environment: str) -> bytes:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, cwd=root, capture_output=True, check=True
    )
    return done.stdout


REAL = os.environ.get("TEST_DATA")


@pytest.mark.skipif(REAL is None, reason="TEST_DATA does not name a folder of real candles")
@pytest.mark.parametrize("symbol", ["BTCUSDT", "SOLUSDT", "ADAUSDT"])
def test_step_equals_batch_on_real_candles(symbol: str) -> None:
    series = _read(Path(str(REAL)), symbol)
    step = series.replay(SET)
    assert_close(step, series.compute(SET))
    starts = 1 + int((np.diff(series.start_ms) != M5).sum())
    assert np.isfinite(step).all(axis=1).sum() == len(series) - starts * (SET.warmup - 1)


def _read(folder: Path, symbol: str) -> Series:
    def column(kind: str, name: str) -> np.ndarray:
        return pq.read_table(folder / f"bybit_linear_{symbol}_{kind}.parquet", columns=[name])[
            name
        ].to_numpy()

    ohlcv = np.column_stack([column("5m", name) for name in ("open", "high", "low", "close", "volume")])
    return Series(column("5m", "start_ms"), ohlcv, column("funding", "start_ms"), column("funding", "rate"))
