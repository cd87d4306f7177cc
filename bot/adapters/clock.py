"""Clocks: the wall's, one that runs faster, and one that jumps."""

import asyncio
import math
import time

_LONGEST_SLEEP_S = 60.0
"""A long wait is cut, so that a clock that was set meanwhile is noticed."""


class WallClock:
    """UTC as this machine knows it."""

    def now_ms(self) -> int:
        """UTC milliseconds."""
        return time.time_ns() // 1_000_000

    async def sleep_until(self, ts_ms: int) -> None:
        """Return at ``ts_ms`` or at once if that has passed; follows the clock when it is set."""
        await asyncio.sleep(0)  # who is always late must still let others, and signals, have their turn
        while (left_ms := ts_ms - self.now_ms()) > 0:  # noqa: ASYNC110 (the event is time itself)
            await asyncio.sleep(min(left_ms / 1000.0, _LONGEST_SLEEP_S))

    def wall_s_until(self, ts_ms: int) -> float:
        """Seconds until ``ts_ms``."""
        return (ts_ms - self.now_ms()) / 1000.0


class ScaledClock:
    """A clock that starts at ``start_ms`` and runs ``speed`` times as fast as the machine's.

    Raises:
        ValueError: ``speed`` is not positive and finite.
    """

    def __init__(self, speed: float, start_ms: int) -> None:
        if not 0.0 < speed < math.inf:
            raise ValueError(f"speed must be > 0 and finite, was {speed}")
        self._speed = speed
        self._start_ms = start_ms
        self._origin_s = time.monotonic()

    def now_ms(self) -> int:
        """Simulated UTC milliseconds; never goes back."""
        return self._start_ms + int((time.monotonic() - self._origin_s) * 1000.0 * self._speed)

    async def sleep_until(self, ts_ms: int) -> None:
        """Return at simulated ``ts_ms`` or at once if that has passed."""
        await asyncio.sleep(0)  # who is always late must still let others, and signals, have their turn
        while (left_ms := ts_ms - self.now_ms()) > 0:  # noqa: ASYNC110 (the event is time itself)
            await asyncio.sleep(left_ms / 1000.0 / self._speed)

    def wall_s_until(self, ts_ms: int) -> float:
        """Seconds of the machine's time until simulated ``ts_ms``."""
        return (ts_ms - self.now_ms()) / 1000.0 / self._speed


class ReplayClock:
    """A clock that stands still until it is told the time; waiting on it takes none."""

    def __init__(self, start_ms: int = 0) -> None:
        self._now_ms = start_ms

    def now_ms(self) -> int:
        """The latest time it was moved to."""
        return self._now_ms

    def move_to(self, ts_ms: int) -> None:
        """Set the time; an earlier one is ignored, replayed time never goes back."""
        self._now_ms = max(self._now_ms, ts_ms)

    async def sleep_until(self, ts_ms: int) -> None:
        """Jump to ``ts_ms``."""
        self.move_to(ts_ms)
        await asyncio.sleep(0)

    def wall_s_until(self, ts_ms: int) -> float:
        """Waiting takes no time here."""
        return 0.0
