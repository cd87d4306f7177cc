"""Record, handle, record, dispatch: the only loop.

A backtest calls ``take`` in a plain ``for``; a replay or the daemon awaits events and calls the same
``take``. What happens between two market events does not depend on which of them it is.
"""

from collections import deque
from collections.abc import Iterable

from bot.domain.messages import (
    BarsClosed,
    CancelOrder,
    Effect,
    Event,
    MarketEvent,
    PlaceOrder,
    SetStops,
)
from bot.engine.core import Engine
from bot.ports import Feed, Recorder, Venue

_TO_VENUE = (PlaceOrder, CancelOrder, SetStops)


class Driver:
    """Carries events to the engine and its effects to a venue in this process, in order."""

    def __init__(self, engine: Engine, venue: Venue, recorder: Recorder) -> None:
        self.engine = engine
        self._venue = venue
        self._recorder = recorder

    async def run(self, feed: Feed) -> None:
        """Take everything the feed has, as it comes."""
        async for event in feed.events():
            self.take(event)

    def take(self, event: Event) -> None:
        """Take one event: what the market did moves the venue first, then the engine sees it.

        What the market did to our orders inside a bar is thus handled before that bar is decided on.
        """
        if type(event) is BarsClosed:
            answers = self._venue.advance(event)
            if answers:
                self.deliver(answers)
            recorder, engine = self._recorder, self.engine
            recorder.event(event)
            effects = engine.handle(event)
            if effects:
                self._dispatch(effects)
            if event.live:
                state = engine.state
                recorder.marked(event.close_ms, state.equity, state.net_notional)
            return
        if isinstance(event, MarketEvent):
            self.deliver(self._venue.advance(event))
        self._handle(event)

    def deliver(self, events: Iterable[Event]) -> None:
        """Handle what has happened, all of it, before anything that follows from it is sent."""
        effects: list[Effect] = []
        for event in events:
            self._recorder.event(event)
            effects += self.engine.handle(event)
        if effects:
            self._dispatch(effects)

    def _handle(self, event: Event) -> None:
        self._recorder.event(event)
        effects = self.engine.handle(event)
        if effects:
            self._dispatch(effects)

    def _dispatch(self, effects: Iterable[Effect]) -> None:
        """Send effects and handle the answers, first in first out."""
        waiting: deque[Effect] = deque(effects)
        self._recorder.effects(waiting)
        while waiting:
            effect = waiting.popleft()
            if not isinstance(effect, _TO_VENUE):
                continue
            for answer in self._venue.submit(effect):
                self._recorder.event(answer)
                more = self.engine.handle(answer)
                if more:
                    self._recorder.effects(more)
                    waiting.extend(more)
