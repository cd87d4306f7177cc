"""The only loop: take → advance → decide → keep → send.

::

    take      the event is in the journal before anything handles it
    advance   a venue in this process moves with the market; its answers are decided on first
    decide    the engine handles one event and returns effects
    keep      effects are in the journal, and on the disk if any of them leaves or must outlive the process
    send      effects go to the venue; the engine decides on its answers in turn

A backtest calls ``take`` in a plain ``for``; a replay or the daemon awaits events and calls the same
``take``. What happens between two market events does not depend on which of the three runs it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from bot.domain.messages import (
    BarsClosed,
    CancelOrder,
    Effect,
    Event,
    MarketEvent,
    PlaceOrder,
    SetStops,
    SetTrailing,
    VenueEvent,
)
from bot.engine.core import Engine
from bot.ports import Feed, Keeper, Recorder, Venue

_FOR_THE_VENUE = (PlaceOrder, CancelOrder, SetStops, SetTrailing)


class Driver:
    """Carries events to the engine and its effects to the venue, in order.

    ``keeper`` is None where nothing outlives the process: a backtest, a replay. ``on_step`` is called
    whenever the engine is about to take events, where the time of a step is bounded.
    """

    def __init__(
        self,
        engine: Engine,
        venue: Venue,
        recorder: Recorder,
        keeper: Keeper | None = None,
        on_step: Callable[[], None] | None = None,
    ) -> None:
        self.engine = engine
        self._venue = venue
        self._recorder = recorder
        self._keeper = keeper
        self._on_step = on_step

    async def run(self, feed: Feed) -> None:
        """Take every event of the feed, as it comes."""
        async for event in feed.events():
            self.take(event)

    def take(self, event: Event) -> None:
        """Take one event. The venue moves with the market first, then the engine sees the event.

        So the engine handles what a bar did to our orders before it decides on that bar.
        """
        if self._on_step is not None:
            self._on_step()
        keeper = self._keeper
        if keeper is not None:
            keeper.took(event)
        if type(event) is BarsClosed or isinstance(event, MarketEvent):
            answers = self._venue.advance(event)
            if answers:
                self.deliver(answers)
        recorder, engine = self._recorder, self.engine
        recorder.event(event)
        effects = engine.handle(event)
        if effects:
            self._keep(effects)
            self._send(effects)
        if type(event) is BarsClosed and event.live:
            state = engine.state
            recorder.marked(event.close_ms, state.equity, state.net_notional)
            if keeper is not None:
                keeper.marked(event.close_ms, state.equity, state.net_notional)

    def deliver(self, events: Iterable[VenueEvent]) -> None:
        """Decide on all events that have happened, before anything that follows from them is sent."""
        effects: list[Effect] = []
        for event in events:
            effects += self._decide(event)
        if effects:
            self._keep(effects)
            self._send(effects)

    def _decide(self, event: VenueEvent) -> Sequence[Effect]:
        if self._keeper is not None:
            self._keeper.answered(event)
        self._recorder.event(event)
        return self.engine.handle(event)

    def _keep(self, effects: Sequence[Effect]) -> None:
        """Have in the journal what was decided before any of it is sent, and record all of it."""
        if self._keeper is not None:
            self._keeper.keep(effects)
        self._recorder.effects(effects)

    def _send(self, effects: Iterable[Effect]) -> None:
        """Send effects, and what the venue's answers lead to, first in first out."""
        waiting: deque[Effect] = deque(effects)
        while waiting:
            effect = waiting.popleft()
            if not isinstance(effect, _FOR_THE_VENUE):
                continue
            for answer in self._venue.submit(effect):
                more = self._decide(answer)
                if more:
                    self._keep(more)
                    waiting.extend(more)
