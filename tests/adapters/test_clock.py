import asyncio
import time

import pytest

from bot.adapters.clock import ReplayClock, ScaledClock, WallClock
from bot.ports import Clock
from tests.helpers import T0


async def test_the_wall_clock_is_utc_and_waits() -> None:
    clock: Clock = WallClock()
    before = clock.now_ms()
    assert abs(before - time.time() * 1000) < 1000
    await clock.sleep_until(before + 20)
    assert clock.now_ms() >= before + 20
    await clock.sleep_until(0)


async def test_a_scaled_clock_runs_faster() -> None:
    clock: Clock = ScaledClock(60_000.0, T0)  # a minute is a millisecond
    started = time.monotonic()
    await clock.sleep_until(T0 + 10 * 60_000)
    assert clock.now_ms() >= T0 + 10 * 60_000
    assert time.monotonic() - started < 5.0


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan"), float("inf")])
def test_a_clock_that_does_not_run_is_refused(speed: float) -> None:
    with pytest.raises(ValueError):
        ScaledClock(speed, T0)


async def test_a_replay_clock_jumps_and_never_goes_back() -> None:
    clock = ReplayClock(T0)
    await clock.sleep_until(T0 + 86_400_000)
    assert clock.now_ms() == T0 + 86_400_000
    clock.move_to(T0)
    assert clock.now_ms() == T0 + 86_400_000


@pytest.mark.parametrize("clock", [WallClock(), ScaledClock(1e9, T0)])
async def test_who_is_late_still_lets_others_have_their_turn(clock: Clock) -> None:
    other = asyncio.ensure_future(asyncio.sleep(0))
    for _ in range(3):
        await clock.sleep_until(0)
    assert other.done()
