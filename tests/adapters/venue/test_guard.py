from decimal import Decimal

import pytest

from bot.adapters.net.venue_clock import SAMPLES, VenueClock
from bot.adapters.venue.guard import Divergence
from tests.bybit.account.rows import NOW


class Still:
    """A clock beside an exchange that runs 60 times as fast."""

    steps = 0

    def now_ms(self) -> int:
        return NOW

    async def sleep_until(self, ts_ms: int) -> None:
        raise AssertionError

    def wall_s_until(self, ts_ms: int) -> float:
        return (ts_ms - NOW) / 60_000.0


def test_the_usual_distance_of_two_markets_is_no_divergence() -> None:
    guard = Divergence(Decimal("0.03"))
    guard.feed("BTCUSDT", 100.0)
    for _ in range(100):
        guard.venue("BTCUSDT", 140.0)  # a test venue trades where it likes
    assert guard.astray == frozenset()


@pytest.mark.fault(13)
def test_a_sudden_change_of_the_distance_is_one_until_it_is_as_before() -> None:
    guard = Divergence(Decimal("0.03"))
    guard.feed("BTCUSDT", 100.0)
    guard.venue("BTCUSDT", 140.0)
    guard.venue("BTCUSDT", 140.0 * 1.04)
    assert guard.astray == {"BTCUSDT"}
    guard.feed("BTCUSDT", 104.0)  # the feed follows: both moved
    guard.venue("BTCUSDT", 140.0 * 1.04)
    assert guard.astray == frozenset()


def test_a_distance_that_stays_becomes_usual() -> None:
    guard = Divergence(Decimal("0.03"))
    guard.feed("BTCUSDT", 100.0)
    guard.venue("BTCUSDT", 100.0)
    looks = 0
    guard.venue("BTCUSDT", 106.0)
    while guard.astray and looks < 5_000:
        guard.venue("BTCUSDT", 106.0)
        looks += 1
    assert 300 < looks < 1_500


def test_prices_that_are_none_say_nothing() -> None:
    guard = Divergence(Decimal("0.03"))
    guard.venue("BTCUSDT", 100.0)
    for price in (0.0, -1.0, float("nan"), float("inf")):
        guard.feed("BTCUSDT", price)
        guard.venue("BTCUSDT", price)
    assert guard.astray == frozenset()


def test_the_fastest_of_the_last_measurements_is_believed() -> None:
    clock = VenueClock(Still())
    clock.sample(NOW, NOW + 400, NOW + 900)
    clock.sample(NOW, NOW + 10, NOW + 505)
    clock.sample(NOW, NOW + 200, NOW + 100)
    assert clock.offset_ms == 500
    assert clock.now_ms() == NOW + 500
    for _ in range(SAMPLES):
        clock.sample(NOW, NOW + 50, NOW + 25)
    assert clock.offset_ms == 0


def test_beside_a_fast_exchange_the_offset_is_judged_in_this_machines_time() -> None:
    clock = VenueClock(Still())
    clock.sample(NOW, NOW, NOW + 6_000)
    assert abs(clock.offset_wall_ms - 100.0) < 1e-6
