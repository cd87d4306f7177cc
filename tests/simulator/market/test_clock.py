from bot.simulator.market.clock import ExchangeClock


def test_the_market_runs_at_the_speed_asked_for() -> None:
    clock = ExchangeClock(1_000_000, speed=1000.0)
    assert 1_000_000 <= clock.market_ms() < 1_000_000 + 60_000
    assert 9.0 < clock.wall_s_until(clock.market_ms() + 10_000_000) <= 10.0
    assert clock.wall_ms(5_000) == 5.0


async def test_sleeping_ends_at_the_exchanges_time() -> None:
    clock = ExchangeClock(0, speed=10_000.0)
    await clock.sleep_until(100_000)
    assert clock.market_ms() >= 100_000


def test_a_skew_moves_what_is_announced_and_not_the_market() -> None:
    clock = ExchangeClock(1_000_000, speed=0.001)
    clock.skew_ms = -5_000
    assert clock.now_ms() == clock.market_ms() - 5_000 == 995_000
