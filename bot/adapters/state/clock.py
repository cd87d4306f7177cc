"""Clocks: wall time, a faster clock, a clock that follows an exchange's, and a clock that jumps.

Only this file reads the time of the machine. Everything else is given a clock, or a ``MachineTime`` to make
one from, so a simulation can give a time of its own.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_LONGEST_SLEEP_S = 60.0
"""A long wait is split, so that a change of the clock is noticed."""


@dataclass(frozen=True, kw_only=True)
class MachineTime:
    """The two times of a machine: UTC, which may be set and runs on in a suspend, and one that never steps.

    ``steady_s`` runs with the event loop's time; it may begin anywhere.
    """

    wall_ns: Callable[[], int] = time.time_ns
    steady_s: Callable[[], float] = time.monotonic


THIS_MACHINE = MachineTime()


class WallClock:
    """UTC by this machine, or by another source of time."""

    steps = 0
    """A machine does not tell when its clock is set."""

    def __init__(self, machine: MachineTime = THIS_MACHINE) -> None:
        self._wall_ns = machine.wall_ns

    def now_ms(self) -> int:
        """UTC milliseconds."""
        return self._wall_ns() // 1_000_000

    async def sleep_until(self, ts_ms: int) -> None:
        """Return at ``ts_ms`` or at once if that has passed; follows the clock when it is set."""
        await asyncio.sleep(0)  # a caller that is always late must still let other tasks and signals run
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

    steps = 0

    def __init__(self, speed: float, start_ms: int, machine: MachineTime = THIS_MACHINE) -> None:
        if not 0.0 < speed < math.inf:
            raise ValueError(f"speed must be > 0 and finite, was {speed}")
        self._speed = speed
        self._start_ms = start_ms
        self._steady_s = machine.steady_s
        self._origin_s = self._steady_s()

    def now_ms(self) -> int:
        """Simulated UTC milliseconds; never goes back."""
        return self._start_ms + int((self._steady_s() - self._origin_s) * 1000.0 * self._speed)

    async def sleep_until(self, ts_ms: int) -> None:
        """Return at simulated ``ts_ms`` or at once if that has passed."""
        await asyncio.sleep(0)  # a caller that is always late must still let other tasks and signals run
        while (left_ms := ts_ms - self.now_ms()) > 0:  # noqa: ASYNC110 (the event is time itself)
            await asyncio.sleep(left_ms / 1000.0 / self._speed)

    def wall_s_until(self, ts_ms: int) -> float:
        """Seconds of the machine's time until simulated ``ts_ms``."""
        return (ts_ms - self.now_ms()) / 1000.0 / self._speed


class FollowedClock:
    """Follows the clock of an exchange by its answers (``observe``).

    Between observations it runs ``speed`` times as fast as the machine's steady time (the exchange may replay
    a market fast). Of the latest observations the one with the shortest round trip counts: its error is at
    most half of it. The clock never goes back: after an earlier time it stands still until that is reached.
    """

    _KEPT = 8
    _STEP_MS = 1_000.0
    """A larger difference, in milliseconds of the machine's time, means that the exchange's clock was set."""

    def __init__(self, machine: MachineTime = THIS_MACHINE) -> None:
        self.speed = 1.0
        self.steps = 0
        """How often the exchange's clock was set, or this machine slept."""
        self._wall = WallClock(machine)
        self._steady_s = machine.steady_s
        self._samples: deque[tuple[float, float, float]] = deque(maxlen=self._KEPT)
        self._latest_ms = 0

    @property
    def uncertainty_ms(self) -> float:
        """Half the round trip of the observation that counts, in exchange time; inf without one."""
        return min((trip_s for trip_s, _, _ in self._samples), default=math.inf) / 2.0 * 1000.0 * self.speed

    def observe(self, server_ms: float, sent_s: float, received_s: float, speed: float = 1.0) -> None:
        """Take the exchange's ``server_ms``, sent between two moments of steady time, and its clock's speed.

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
                self._samples.clear()  # the old observations belong to another clock
                self.steps += 1
        self.speed = speed
        self._samples.append((received_s - sent_s, middle_s, server_ms))

    def now_ms(self) -> int:
        """The exchange's UTC milliseconds; before the first observation the machine's."""
        if not self._samples:
            return self._wall.now_ms()
        self._latest_ms = max(self._latest_ms, int(self._at(self._steady_s())))
        return self._latest_ms

    async def sleep_until(self, ts_ms: int) -> None:
        """Return when the exchange's clock shows ``ts_ms``, or at once if that has passed."""
        await asyncio.sleep(0)  # a caller that is always late must still let other tasks and signals run
        while (left_s := self.wall_s_until(ts_ms)) > 0:  # noqa: ASYNC110 (the event is time itself)
            await asyncio.sleep(min(max(left_s, 0.0005), 1.0))

    def wall_s_until(self, ts_ms: int) -> float:
        """Seconds of the machine's time until the exchange's clock shows ``ts_ms``."""
        return (ts_ms - self.now_ms()) / 1000.0 / self.speed

    def _at(self, steady_s: float) -> float:
        _, middle_s, server_ms = min(self._samples)
        return server_ms + (steady_s - middle_s) * 1000.0 * self.speed


class ReplayClock:
    """A clock that stands still until it is moved; waiting on it takes no time."""

    steps = 0

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
