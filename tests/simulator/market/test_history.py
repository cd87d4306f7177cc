from datetime import UTC, datetime

import numpy as np
import pytest

from bot.adapters.files.candles import Candles
from bot.domain.market import DAY_MS, HOUR_MS, MINUTE_MS
from bot.simulator.market.candle_trades import PartialCandle
from bot.simulator.market.history import INTERVALS, end_of, start_of
from bot.simulator.market.invented import rules_for
from bot.simulator.market.symbol import MarketSymbol
from bot.simulator.market.tape import FileTape
from tests.simulator.bench import START_MS, candles, contract


def symbol(made: Candles) -> MarketSymbol:
    return MarketSymbol(FileTape(made, rules_for("BTCUSDT", 40_000.0)), contract(), 1.0)


MADE = candles(bars=600)
SYMBOL = symbol(MADE)
NOW_MS = START_MS + 500 * MINUTE_MS + 30_500


def starts(found: list[PartialCandle]) -> list[int]:
    return [(candle.start_ms - START_MS) // MINUTE_MS for candle in found]


def query(
    interval: str = "1", limit: int = 200, start: int | None = None, end: int | None = None
) -> list[int]:
    """Minutes from the first candle; asked at minute 500.5."""
    start_ms = None if start is None else START_MS + start * MINUTE_MS
    end_ms = None if end is None else START_MS + end * MINUTE_MS
    return starts(SYMBOL.history.latest(interval, NOW_MS, limit, start_ms, end_ms))


def test_without_a_range_the_latest_candles_come_and_the_open_one_is_among_them() -> None:
    assert query(limit=3) == [498, 499, 500]
    assert query("5", limit=2) == [495, 500]


def test_a_start_alone_counts_forwards() -> None:
    assert query(start=100, limit=3) == [100, 101, 102]
    assert query(start=499, limit=3) == [499, 500]
    assert query(start=600) == []


def test_with_a_start_and_an_end_the_newest_are_kept() -> None:
    assert query(start=100, end=149, limit=10) == list(range(140, 150))
    assert query(start=100, end=102) == [100, 101, 102]


def test_an_end_alone_counts_backwards_and_the_candle_that_holds_it_is_in() -> None:
    assert query("5", end=103, limit=2) == [95, 100]
    assert query("5", start=101, end=106) == [100, 105]


def test_before_the_first_candle_there_is_nothing() -> None:
    assert query(end=-1) == []
    assert query(end=1, limit=10) == [0, 1]


def test_base_candles_are_the_files_own() -> None:
    for row, candle in zip(
        range(300, 320), SYMBOL.history.latest("1", NOW_MS, 20, START_MS + 300 * MINUTE_MS), strict=True
    ):
        assert candle[1:7] == (*MADE.ohlcv[row].tolist(), MADE.turnover[row])


@pytest.mark.parametrize("interval", ["3", "15", "60", "D"])
def test_longer_candles_are_put_together_from_the_files(interval: str) -> None:
    found = SYMBOL.history.latest(interval, START_MS + 599 * MINUTE_MS + 59_999, 1000)
    assert found[0].open == MADE.ohlcv[0, 0]
    assert sum(candle.volume for candle in found) == pytest.approx(MADE.ohlcv[:, 4].sum(), rel=1e-12)
    for candle in found:
        rows = MADE.between(candle.start_ms, end_of(interval, candle.start_ms))
        assert candle[2:5] == (rows.ohlcv[:, 1].max(), rows.ohlcv[:, 2].min(), rows.ohlcv[-1, 3])


@pytest.mark.parametrize("interval", ["1", "3", "5", "15"])
def test_one_candle_is_the_same_alone_and_in_a_page_open_or_closed(interval: str) -> None:
    for now_ms in (NOW_MS, NOW_MS + 7_000, NOW_MS + 40 * MINUTE_MS):
        for candle in SYMBOL.history.latest(interval, now_ms, 30):
            assert SYMBOL.history.candle(interval, candle.start_ms, now_ms) == candle


def test_the_open_candle_tells_nothing_of_what_comes() -> None:
    changed = MADE.ohlcv.copy()
    changed[501:] *= 3.0
    other = symbol(Candles.make("BTCUSDT", MINUTE_MS, MADE.start_ms, changed, MADE.turnover))
    for interval in ("1", "5", "60"):
        ours, theirs = (each.history.latest(interval, NOW_MS, 50) for each in (SYMBOL, other))
        assert ours == theirs


def test_minutes_are_cut_from_five_minute_candles() -> None:
    coarse = symbol(candles(bars=50, interval_ms=5 * MINUTE_MS))
    now_ms = START_MS + 200 * MINUTE_MS
    minutes = coarse.history.latest("1", now_ms, 1000)
    assert starts(minutes) == list(range(201))
    for candle in coarse.history.latest("5", now_ms, 40)[:-1]:
        parts = [each for each in minutes if start_of("5", each.start_ms) == candle.start_ms]
        assert parts[0].open == candle.open
        assert parts[-1].close == candle.close
        assert max(each.high for each in parts) == candle.high
        assert sum(each.volume for each in parts) == pytest.approx(candle.volume)


def test_three_minutes_are_made_from_five_minute_candles() -> None:
    coarse = symbol(candles(bars=50, interval_ms=5 * MINUTE_MS))
    assert starts(coarse.history.latest("3", START_MS + 200 * MINUTE_MS, 3)) == [192, 195, 198]


def test_a_hole_has_no_candles_and_does_not_shorten_a_page() -> None:
    holed = Candles.make(
        "BTCUSDT",
        MINUTE_MS,
        np.delete(MADE.start_ms, slice(480, 500)),
        np.delete(MADE.ohlcv, slice(480, 500), 0),
    )
    found = symbol(holed).history.latest("1", NOW_MS, 4)
    assert starts(found) == [477, 478, 479, 500]
    later = symbol(holed).history.latest("1", NOW_MS + 10 * MINUTE_MS, 3, START_MS + 478 * MINUTE_MS)
    assert starts(later) == [478, 479, 500]
    inside = START_MS + 490 * MINUTE_MS
    assert symbol(holed).history.candle("1", inside, inside + 5) is None
    assert symbol(holed).last(inside + 5).price == MADE.ohlcv[479, 3]


def test_weeks_open_on_monday_and_months_on_the_first() -> None:
    moment = int(datetime(2024, 2, 29, 13, 5, tzinfo=UTC).timestamp() * 1000)
    monday, first = datetime(2024, 2, 26, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
    assert start_of("W", moment) == int(monday.timestamp() * 1000)
    assert start_of("M", moment) == int(first.timestamp() * 1000)
    assert end_of("M", start_of("M", moment)) == int(datetime(2024, 3, 1, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize("interval", INTERVALS)
def test_every_moment_is_in_its_candle(interval: str) -> None:
    for moment in range(START_MS + 1, START_MS + 40 * DAY_MS, 11 * HOUR_MS + 7):
        start_ms = start_of(interval, moment)
        assert start_ms <= moment < end_of(interval, start_ms)
        assert start_of(interval, start_ms) == start_ms
