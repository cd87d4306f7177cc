"""The exchange's clock: the time of the market, and the time that clients are shown.

Both are the same unless a fault skews the time that clients are shown.
"""

from bot.adapters.state.clock import THIS_MACHINE, MachineTime, ScaledClock, WallClock


class ExchangeClock:
    """Exchange time: from ``start_ms`` (None: the present), ``speed`` times as fast as the machine's.

    ``market_ms`` never goes back. ``now_ms`` is the time in answers and messages: ``market_ms`` plus
    ``skew_ms``, which only faults set and which may step in either direction.

    Raises:
        ValueError: ``speed`` is not positive and finite.
    """

    def __init__(
        self, start_ms: int | None = None, speed: float = 1.0, machine: MachineTime = THIS_MACHINE
    ) -> None:
        self.speed = speed
        self._machine = machine
        self.skew_ms = 0
        self._start_ms = start_ms
        self.begin()

    def begin(self) -> None:
        """Start the clock. A clock with a ``start_ms`` begins there, however long the preparation took."""
        start_ms = WallClock(self._machine).now_ms() if self._start_ms is None else self._start_ms
        self._clock = ScaledClock(self.speed, start_ms, self._machine)

    def market_ms(self) -> int:
        """Return the time of the market, UTC ms."""
        return self._clock.now_ms()

    def now_ms(self) -> int:
        """Return the time that clients are shown, UTC ms."""
        return self._clock.now_ms() + self.skew_ms

    async def sleep_until(self, ts_ms: int) -> None:
        """Return when the market reaches ``ts_ms``, or at once if that has passed."""
        await self._clock.sleep_until(ts_ms)

    def wall_s_until(self, ts_ms: int) -> float:
        """Return the seconds of the machine's time until the market reaches ``ts_ms``."""
        return self._clock.wall_s_until(ts_ms)

    def wall_ms(self, exchange_ms: float) -> float:
        """Convert a span of exchange time to milliseconds of the machine's time."""
        return exchange_ms / self.speed
