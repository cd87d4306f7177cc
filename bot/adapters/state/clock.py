"""Clocks: the wall's, one that runs faster, one that follows an exchange's, and one that jumps."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable

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


class FollowedClock:
    """An exchange's clock, known from what it said: ``observe`` tells what and when.

    Between observations it runs ``speed`` times as fast as ``steady_s`` (the exchange may replay a market
    fast). Of the latest observations the one with the shortest way there and back counts; an answer says
    the time somewhere on that way. The clock never goes back: told an earlier time, it waits for it.

    Args:
        steady_s: seconds that never step: ``time.monotonic``, which is also the event loop's.
    """

    _KEPT = 8
    _STEP_MS = 1_000.0
    """Further off than this, in milliseconds of the machine's time, the exchange's clock was set."""

    def __init__(self, steady_s: Callable[[], float] = time.monotonic) -> None:
        self.speed = 1.0
        self._steady_s = steady_s
        self._samples: deque[tuple[float, float, float]] = deque(maxlen=self._KEPT)
        self._latest_ms = 0

    @property
    def uncertainty_ms(self) -> float:
        """Half the way there and back of the observation that counts, in exchange time; inf without one."""
        return min((trip_s for trip_s, _, _ in self._samples), default=math.inf) / 2.0 * 1000.0 * self.speed

    def observe(self, server_ms: float, sent_s: float, received_s: float, speed: float = 1.0) -> None:
        """The exchange said ``server_ms`` between two moments of ``steady_s``, and how fast its clock runs.

        Raises:
            ValueError: ``speed`` is not positive and finite.
        """
        if not 0.0 < speed < math.inf:
            raise ValueError(f"speed must be > 0 and finite, was {speed}")
        middle_s = (sent_s + received_s) / 2.0
        if self._samples:
            off_ms = abs(server_ms - self._at(middle_s)) / speed
            half_ms = (received_s - sent_s) * 500.0 + self.uncertainty_ms / self.speed
            if speed != self.speed or off_ms > self._STEP_MS + half_ms:
                self._samples.clear()  # what was known is of another clock
        self.speed = speed
        self._samples.append((received_s - sent_s, middle_s, server_ms))

    def now_ms(self) -> int:
        """The exchange's UTC milliseconds; before the first observation the machine's."""
        if not self._samples:
            return WallClock().now_ms()
        self._latest_ms = max(self._latest_ms, int(self._at(self._steady_s())))
        return self._latest_ms

    async def sleep_until(self, ts_ms: int) -> None:
        """Return when the exchange's clock shows ``ts_ms``, or at once if that has passed."""
        await asyncio.sleep(0)  # who is always late must still let others, and signals, have their turn
        while (left_s := self.wall_s_until(ts_ms)) > 0:  # noqa: ASYNC110 (the event is time itself)
            await asyncio.sleep(min(max(left_s, 0.0005), 1.0))

    def wall_s_until(self, ts_ms: int) -> float:
        """Seconds of the machine's time until the exchange's clock shows ``ts_ms``."""
        return (ts_ms - self.now_ms()) / 1000.0 / self.speed

    def _at(self, steady_s: float) -> float:
        _, middle_s, server_ms = min(self._samples)
        return server_ms + (steady_s - middle_s) * 1000.0 * self.speed


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
