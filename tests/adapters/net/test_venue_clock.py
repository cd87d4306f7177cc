"""The venue's time: an offset that is measured, and what becomes of it when our own clock is set."""

from bot.adapters.net.venue_clock import VenueClock
from bot.adapters.state.clock import FollowedClock, MachineTime

SLEPT_MS = 400_000


def test_an_offset_that_was_measured_before_our_clock_was_set_is_dropped() -> None:
    """The machine slept: the venue's time was measured by the old clock, then this one was put right."""
    steady_s = 100.0
    clock = FollowedClock(MachineTime(wall_ns=lambda: 0, steady_s=lambda: steady_s))
    clock.observe(1_000_000, 99.9, 100.0)
    venue = VenueClock(clock)
    now_ms = clock.now_ms()
    venue.sample(now_ms, now_ms, now_ms + SLEPT_MS)
    awake_ms = now_ms + SLEPT_MS
    assert venue.now_ms() == awake_ms
    clock.observe(awake_ms, 99.9, 100.0)
    assert clock.steps == 1
    assert abs(venue.now_ms() - awake_ms) < 100
    venue.sample(awake_ms, awake_ms, awake_ms + 7)
    assert venue.offset_ms == 7
