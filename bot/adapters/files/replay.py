"""A history as a feed: recorded events at the pace of a clock."""

from collections.abc import AsyncIterator, Callable, Iterable

from bot.domain.messages import WorldEvent
from bot.ports import Clock


class ReplayFeed:
    """``ports.Feed`` over recorded events. Each event is yielded once the clock has reached its time.

    Args: ``seen`` is called after the consumer has handled an event (progress, status lines).
    """

    def __init__(
        self, events: Iterable[WorldEvent], clock: Clock, seen: Callable[[WorldEvent], None] | None = None
    ) -> None:
        self._events = events
        self._clock = clock
        self._seen = seen

    async def events(self) -> AsyncIterator[WorldEvent]:
        """Yield the events at the pace of the clock."""
        for event in self._events:
            await self._clock.sleep_until(event.ts_ms)
            yield event
            if self._seen is not None:
                self._seen(event)
