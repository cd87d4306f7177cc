import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.files.candles import Candles, Funding
from bot.domain.errors import BadUsage
from bot.domain.market import DAY_MS, HOUR_MS, MINUTE_MS
from bot.simulator.market.invented import rules_for, symbols, tapes
from bot.simulator.market.tape import WEEK_MS, FileTape, bar_of, choose_shift
from tests.simulator.bench import START_MS, candles

RULES = rules_for("BTCUSDT", 40_000.0)


def test_a_file_is_handed_out_bit_for_bit_at_its_new_time() -> None:
    made = candles(bars=50)
    tape = FileTape(made, RULES, WEEK_MS)
    rows = tape.rows(START_MS + WEEK_MS + 10 * MINUTE_MS, START_MS + WEEK_MS + 20 * MINUTE_MS)
    np.testing.assert_array_equal(rows.ohlcv, made.ohlcv[10:20])
    np.testing.assert_array_equal(rows.start_ms, made.start_ms[10:20] + WEEK_MS)
    assert (tape.first_ms, tape.end_ms) == (made.first_ms + WEEK_MS, made.end_ms + WEEK_MS)


def test_a_missing_candle_stays_missing() -> None:
    made = candles(bars=10)
    holed = Candles.make("BTCUSDT", MINUTE_MS, np.delete(made.start_ms, 4), np.delete(made.ohlcv, 4, 0))
    tape = FileTape(holed, RULES)
    assert bar_of(tape, START_MS + 4 * MINUTE_MS) is None
    bar = bar_of(tape, START_MS + 5 * MINUTE_MS)
    assert bar is not None
    assert bar.turnover == pytest.approx(bar.volume * bar.close, rel=0.02)


def test_a_funding_file_moves_with_its_candles() -> None:
    times = np.array([START_MS + 8 * HOUR_MS, START_MS + 16 * HOUR_MS])
    tape = FileTape(candles(bars=5), RULES, WEEK_MS, Funding("BTCUSDT", times, np.array([0.0001, -0.0002])))
    assert tape.rate(START_MS + WEEK_MS + 8 * HOUR_MS) == 0.0001
    assert tape.rate(START_MS + WEEK_MS + 16 * HOUR_MS) == -0.0002
    assert tape.rate(START_MS) == 0.0


@given(st.integers(0, 3 * WEEK_MS))
def test_files_are_moved_by_whole_weeks_with_history_before_and_a_future_after(later_ms: int) -> None:
    made = candles(bars=3 * WEEK_MS // HOUR_MS, interval_ms=HOUR_MS)
    now_ms = 2 * START_MS + later_ms
    shift_ms = choose_shift([made], now_ms, history_ms=4 * DAY_MS)
    place_ms = now_ms - shift_ms
    assert shift_ms % WEEK_MS == 0
    assert 4 * DAY_MS <= place_ms - made.first_ms < 4 * DAY_MS + WEEK_MS
    assert made.end_ms - place_ms > WEEK_MS


@given(st.integers(0, WEEK_MS))
def test_a_short_file_is_moved_by_less_than_a_week(later_ms: int) -> None:
    made = candles(bars=100)
    now_ms = 2 * START_MS + later_ms
    shift_ms = choose_shift([made], now_ms, history_ms=4 * DAY_MS)
    assert shift_ms % MINUTE_MS == 0
    assert 49 * MINUTE_MS <= now_ms - shift_ms - made.first_ms < 100 * MINUTE_MS


def test_files_without_a_common_time_are_refused() -> None:
    made = candles(bars=10)
    other = Candles.make("ETHUSDT", MINUTE_MS, made.start_ms + WEEK_MS, made.ohlcv)
    with pytest.raises(BadUsage, match="no two candles in common"):
        choose_shift([made, other], START_MS, 0)


def test_an_invented_market_is_seamless_on_its_grids_and_the_same_every_time() -> None:
    names = ("BTCUSDT", "SOLUSDT", "X003USDT")
    now_ms = START_MS + 100 * WEEK_MS
    made, again = (tapes(names, MINUTE_MS, 7, now_ms) for _ in range(2))
    for tape, twin in zip(made, again, strict=True):
        # Five weeks: over the seam of a loop of three.
        rows, same = tape.rows(now_ms - 5 * WEEK_MS, now_ms), twin.rows(now_ms - 5 * WEEK_MS, now_ms)
        np.testing.assert_array_equal(rows.ohlcv, same.ohlcv)
        open_, high, low, close, volume = rows.ohlcv.T
        np.testing.assert_array_equal(open_[1:], close[:-1])
        assert (low > 0).all()
        assert (high >= np.maximum(open_, close)).all()
        assert (low <= np.minimum(open_, close)).all()
        assert (volume > 0).all()
        ticks = rows.ohlcv[:, :4] / float(tape.instrument.tick_size)
        assert np.abs(ticks - np.rint(ticks)).max() < 1e-6


def test_a_thousand_symbols_share_loops_without_being_the_same() -> None:
    names = symbols(1000)
    made = tapes(names, 15 * MINUTE_MS, 0, START_MS + 100 * WEEK_MS)
    assert len(set(names)) == 1000
    first, shares = made[5], made[45]
    now_ms = START_MS + 100 * WEEK_MS
    returns = [np.diff(np.log(tape.rows(now_ms - WEEK_MS, now_ms).ohlcv[:, 3])) for tape in (first, shares)]
    assert abs(np.corrcoef(*returns)[0, 1]) < 0.9
