import asyncio
import time

import pytest

from bot.adapters.state.clock import FollowedClock, MachineTime, ReplayClock, ScaledClock, WallClock
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


# An exchange's clock


class Steady:
    """The machine's seconds, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def told(clock: FollowedClock, steady: Steady, server_ms: float, trip_s: float, speed: float = 1.0) -> None:
    """The exchange answered ``server_ms`` in the middle of a way of ``trip_s`` that ends now."""
    clock.observe(server_ms, steady.now_s - trip_s, steady.now_s, speed)


def test_a_followed_clock_runs_on_from_what_it_was_told() -> None:
    steady = Steady()
    clock = FollowedClock(MachineTime(steady_s=steady))
    assert abs(clock.now_ms() - time.time() * 1000) < 1000
    told(clock, steady, T0, trip_s=0.2, speed=60.0)
    assert clock.now_ms() == T0 + 6_000  # half of the way, 60 times as fast
    steady.now_s += 1.0
    assert clock.now_ms() == T0 + 66_000
    assert clock.wall_s_until(T0 + 126_000) == pytest.approx(1.0)
    assert clock.uncertainty_ms == pytest.approx(6_000)


def test_the_observation_with_the_shortest_way_counts() -> None:
    steady = Steady()
    clock = FollowedClock(MachineTime(steady_s=steady))
    told(clock, steady, T0, trip_s=0.4)
    steady.now_s += 1.0
    told(clock, steady, T0 + 1_150, trip_s=0.01)
    steady.now_s += 1.0
    told(clock, steady, T0 + 9_000 - 7_000, trip_s=0.3)
    assert clock.now_ms() == T0 + 2_155
    assert clock.uncertainty_ms == pytest.approx(5.0)


@pytest.mark.fault(73)
def test_a_followed_clock_never_goes_back_and_follows_a_step() -> None:
    steady = Steady()
    clock = FollowedClock(MachineTime(steady_s=steady))
    told(clock, steady, T0, trip_s=0.0)
    assert clock.now_ms() == T0
    told(clock, steady, T0 - 5_000, trip_s=0.0)
    assert clock.now_ms() == T0
    steady.now_s += 4.0
    assert clock.now_ms() == T0
    steady.now_s += 3.0
    assert clock.now_ms() == T0 + 2_000
    told(clock, steady, T0 + 60_000, trip_s=0.0)
    assert clock.now_ms() == T0 + 60_000


async def test_waiting_on_a_followed_clock_takes_the_machines_time() -> None:
    clock = FollowedClock()
    now_s = time.monotonic()
    clock.observe(T0, now_s, now_s, 60_000.0)  # a minute is a millisecond
    await clock.sleep_until(T0 + 10 * 60_000)
    assert clock.now_ms() >= T0 + 10 * 60_000
    assert time.monotonic() - now_s < 5.0


def test_an_exchange_that_stands_still_is_not_followed() -> None:
    with pytest.raises(ValueError):
        FollowedClock().observe(T0, 0.0, 0.0, 0.0)
