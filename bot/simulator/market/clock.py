"""The exchange's clock: where the market stands, and the time that it tells its clients.

Both are the same until a fault plan sets the announced one wrong.
"""

from bot.adapters.state.clock import ScaledClock, WallClock


class ExchangeClock:
    """Exchange time: from ``start_ms`` (None: the present), ``speed`` times as fast as the machine's.

    ``market_ms`` never goes back. ``now_ms`` is what answers and messages are stamped with: the same plus
    ``skew_ms``, which only faults set, and which may step either way.

    Raises:
        ValueError: ``speed`` is not positive and finite.
    """

    def __init__(self, start_ms: int | None = None, speed: float = 1.0) -> None:
        self.speed = speed
        self.skew_ms = 0
        self._start_ms = start_ms
        self.begin()

    def begin(self) -> None:
        """Start to run: a clock of its own at its ``start_ms`` again, whatever was read or invented since."""
        start_ms = WallClock().now_ms() if self._start_ms is None else self._start_ms
        self._clock = ScaledClock(self.speed, start_ms)

    def market_ms(self) -> int:
        """How far the market has come, UTC ms."""
        return self._clock.now_ms()

    def now_ms(self) -> int:
        """What the exchange says the time is, UTC ms."""
        return self._clock.now_ms() + self.skew_ms

    async def sleep_until(self, ts_ms: int) -> None:
        """Return when the market has come to ``ts_ms``, or at once if that has passed."""
        await self._clock.sleep_until(ts_ms)

    def wall_s_until(self, ts_ms: int) -> float:
        """Seconds of the machine's time until the market comes to ``ts_ms``."""
        return self._clock.wall_s_until(ts_ms)

    def wall_ms(self, exchange_ms: float) -> float:
        """A stretch of exchange time in milliseconds of the machine's."""
        return exchange_ms / self.speed
