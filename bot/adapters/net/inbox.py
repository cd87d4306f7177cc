"""The daemon's inbox: feeds and venues put events in, the driver takes them out, in order.

Events that must not be lost (bars, fills, answers, links) wait in the order they came. Of current prices
(open candles, quotes, marks) only one value a symbol waits: a newer one replaces it. So a slow consumer sees
the latest prices, and the memory stays bounded.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable

from bot.domain.errors import Broken
from bot.domain.messages import Candle, Event, MarkPrice, Quote

DEFAULT_MAXSIZE = 100_000
YIELD_AFTER_S = 0.01
"""The consumer may run this long before the loop serves its sockets and timers."""

_Key = int | tuple[type[Event], str]
_LATEST = (Candle, Quote, MarkPrice)


class Inbox:
    """Events on their way to one consumer.

    Args:
        maxsize: how many events may wait. Prices do not count: there is one a symbol.
        now_s: seconds of a steady clock, for the age of waiting events; default: the running loop's.

    Attributes:
        superseded: prices that a newer one replaced before they were taken.
        put_s: when the last taken event was put in.
    """

    def __init__(self, maxsize: int = DEFAULT_MAXSIZE, *, now_s: Callable[[], float] | None = None) -> None:
        self.maxsize = maxsize
        self.superseded = 0
        self.put_s = 0.0
        self._now_s = now_s or asyncio.get_running_loop().time
        self._waiting: OrderedDict[_Key, tuple[Event, float]] = OrderedDict()
        self._numbers = 0
        self._kept = 0  # waiting events that must not be lost
        self._placed: dict[_Key, int] = {}  # how many such events had come when a price took its place
        self._served_s = self._now_s()
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()

    def __len__(self) -> int:
        """Number of waiting events."""
        return len(self._waiting)

    @property
    def oldest_age_ms(self) -> float:
        """Lag of the consumer: how long the next event has waited; 0 if none waits."""
        if not self._waiting:
            return 0.0
        _, arrived_s = next(iter(self._waiting.values()))
        return (self._now_s() - arrived_s) * 1000.0

    def put(self, event: Event) -> None:
        """Add ``event``. Never blocks.

        A price replaces the waiting price of its symbol. If an event that must not be lost came in between,
        the price goes to the end instead: no event is ever seen before an earlier one.

        Raises:
            Broken: ``maxsize`` events wait already. A lost bar or fill cannot be repaired, so the process
                ends and starts again through recovery.
        """
        if isinstance(event, _LATEST):
            self._put_latest(event, (type(event), event.symbol))
        else:
            if self._kept >= self.maxsize:
                raise Broken(
                    f"{self._kept} events wait and nobody takes them: {type(event).__name__} is next"
                )
            self._numbers += 1
            self._kept += 1
            self._waiting[self._numbers] = (event, self._now_s())
        self._filled.set()

    def _put_latest(self, event: Candle | Quote | MarkPrice, key: _Key) -> None:
        waiting = self._waiting
        before = waiting.get(key)
        if before is None:
            waiting[key] = (event, self._now_s())
            self._placed[key] = self._numbers
            return
        self.superseded += 1
        waiting[key] = (event, before[1])
        if self._placed[key] != self._numbers:
            waiting.move_to_end(key)
            self._placed[key] = self._numbers

    async def room(self, below: int | None = None) -> None:
        """Return when fewer than ``below`` events wait (default: half of ``maxsize``); for bulk senders."""
        limit = self.maxsize // 2 if below is None else below
        while self._kept >= max(limit, 1):
            self._drained.clear()
            await self._drained.wait()

    async def get(self) -> Event:
        """Return the next event as soon as there is one. Only one consumer may call this."""
        if self._now_s() - self._served_s >= YIELD_AFTER_S:
            await asyncio.sleep(0)
            self._served_s = self._now_s()
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
            self._served_s = self._now_s()
        key, (event, self.put_s) = self._waiting.popitem(last=False)
        if isinstance(key, int):
            self._kept -= 1
        self._drained.set()
        return event

    async def events(self) -> AsyncIterator[Event]:
        """Yield events as they come, without end."""
        while True:
            yield await self.get()
