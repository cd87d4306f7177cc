import numpy as np
import pytest

from bot.adapters.files.candles import Candles
from bot.domain.market import MINUTE_MS
from bot.service.backtest.finer import FinerBars, MarkBars
from tests.helpers import T0

FIVE = 5 * MINUTE_MS


def minutes(count: int, *, without: int | None = None) -> Candles:
    close = 100.0 + np.arange(count)
    ohlcv = np.column_stack([close, close + 0.5, close - 0.5, close, np.ones(count)])
    start_ms = T0 + MINUTE_MS * np.arange(count, dtype=np.int64)
    keep = np.arange(count) != (-1 if without is None else without)
    return Candles.make("BTCUSDT", MINUTE_MS, start_ms[keep], ohlcv[keep])


def test_a_bar_is_made_of_the_finer_bars_inside_it() -> None:
    finer = FinerBars(minutes(10), FIVE)
    assert [bar.close for bar in finer[T0 + FIVE]] == [105, 106, 107, 108, 109]
    assert list(finer) == [T0, T0 + FIVE]


@pytest.mark.parametrize("at_ms", [T0, T0 + 2 * FIVE, T0 - FIVE])
def test_a_bar_that_is_not_covered_whole_is_not_there(at_ms: int) -> None:
    finer = FinerBars(minutes(10, without=3), FIVE)
    assert at_ms not in finer
    assert len(finer) == 1


def test_a_mark_candle_is_found_by_its_start_and_only_by_that() -> None:
    marks = MarkBars(minutes(3))
    assert marks[T0 + MINUTE_MS].close == 101
    assert T0 + 1 not in marks
    assert T0 + 3 * MINUTE_MS not in marks
    assert list(marks) == [T0, T0 + MINUTE_MS, T0 + 2 * MINUTE_MS]
