"""The mark prices of the last hours, one a minute: what a settlement that becomes known late is paid at."""

from bisect import bisect_left, bisect_right
from decimal import Decimal

import msgspec

from bot.domain.market import MINUTE_MS

KEPT = 600
"""Minutes of marks that are kept: ten hours, more than the longest time between two settlements."""

_PAUSE_MS = 10_000
"""Marks that stopped so long before the end of a minute are not known to its end."""


class PastMarks(msgspec.Struct):
    """The last mark of each minute, oldest first: ``times[i]`` is the time of ``prices[i]``."""

    times: list[int] = msgspec.field(default_factory=list)
    prices: list[Decimal] = msgspec.field(default_factory=list)

    def note(self, ts_ms: int, price: Decimal) -> None:
        """Take a mark; it replaces the one of its minute. One that is older than the last is ignored."""
        times = self.times
        if times and ts_ms < times[-1]:
            return
        if times and ts_ms // MINUTE_MS == times[-1] // MINUTE_MS:
            times[-1], self.prices[-1] = ts_ms, price
            return
        times.append(ts_ms)
        self.prices.append(price)
        self._trim()

    def fill(self, ts_ms: int, price: Decimal) -> None:
        """Take a price for a minute of which no mark came; a minute with a mark stays as it is."""
        place = bisect_left(self.times, ts_ms - ts_ms % MINUTE_MS)
        if place < len(self.times) and self.times[place] // MINUTE_MS == ts_ms // MINUTE_MS:
            return
        self.times.insert(place, ts_ms)
        self.prices.insert(place, price)
        self._trim()

    def covers(self, from_ms: int, to_ms: int) -> bool:
        """Return True if marks came to the end of each minute from ``from_ms`` to before ``to_ms``."""
        first, last = bisect_left(self.times, from_ms), bisect_left(self.times, to_ms)
        known = sum(ts_ms % MINUTE_MS >= MINUTE_MS - _PAUSE_MS for ts_ms in self.times[first:last])
        return known >= -(-(to_ms - from_ms) // MINUTE_MS)

    def at(self, ts_ms: int) -> Decimal | None:
        """Return the last mark up to ``ts_ms``, None if none that old is kept."""
        place = bisect_right(self.times, ts_ms) - 1
        return self.prices[place] if place >= 0 else None

    def _trim(self) -> None:
        if len(self.times) > KEPT:
            del self.times[0], self.prices[0]
