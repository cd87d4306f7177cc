"""Short bars become longer ones: each of all its parts, and nothing of a later one."""

import numpy as np
import pytest

from bot.adapters.files.candles import Candles
from bot.adapters.files.joining import coarser
from bot.domain.errors import BadUsage
from bot.domain.market import HOUR_MS, MINUTE_MS
from tests.research.series import candles, without

FIVE_MS = 5 * MINUTE_MS


def five(bars: int = 60, seed: int = 0) -> Candles:
    return candles(bars, seed, interval_ms=FIVE_MS)


def test_an_hour_is_made_of_its_twelve_bars() -> None:
    parts, hours = five(), coarser(five(), HOUR_MS)
    assert (hours.symbol, hours.interval_ms, len(hours)) == ("BTCUSDT", HOUR_MS, 5)
    second = parts.ohlcv[12:24]
    assert hours.start_ms[1] == parts.start_ms[12]
    np.testing.assert_array_equal(
        hours.ohlcv[1],
        [second[0, 0], second[:, 1].max(), second[:, 2].min(), second[-1, 3], second[:, 4].sum()],
    )
    assert np.isnan(hours.turnover).all()  # as that of the parts


def test_an_hour_with_a_part_missing_is_no_bar() -> None:
    holed = without(five(), 13, 14)
    assert (
        coarser(holed, HOUR_MS).start_ms.tolist() == coarser(five(), HOUR_MS).start_ms[[0, 2, 3, 4]].tolist()
    )
    ends_early = five(59)
    assert len(coarser(ends_early, HOUR_MS)) == 4
    starts_late = without(five(), 0, 1)
    assert coarser(starts_late, HOUR_MS).first_ms == five().first_ms + HOUR_MS


def test_no_hour_reads_a_part_that_closes_after_it() -> None:
    whole, other = five(), five(seed=9)
    mixed = whole.make("BTCUSDT", FIVE_MS, whole.start_ms, np.vstack((whole.ohlcv[:36], other.ohlcv[36:])))
    one, two = coarser(whole, HOUR_MS), coarser(mixed, HOUR_MS)
    np.testing.assert_array_equal(one.ohlcv[:3], two.ohlcv[:3])
    assert not np.array_equal(one.ohlcv[3:], two.ohlcv[3:])


def test_bars_of_the_same_length_stay_as_they_are() -> None:
    same = five()
    assert coarser(same, FIVE_MS) is same


@pytest.mark.parametrize(
    ("interval_ms", "words"), [(MINUTE_MS, "of 1m cannot"), (3 * MINUTE_MS, "of 3m cannot")]
)
def test_bars_that_do_not_fit_are_refused(interval_ms: int, words: str) -> None:
    with pytest.raises(BadUsage, match=words):
        coarser(five(), interval_ms)


def test_a_file_without_one_whole_bar_is_refused() -> None:
    with pytest.raises(BadUsage, match="has no 12 bars in a row"):
        coarser(five(11), HOUR_MS)
