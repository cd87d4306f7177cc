"""Replays a segment of the journal through the driver, and compares what is decided with what was written.

The inputs from outside are taken as they were; nothing is sent. A venue in this process moves along and must
give the same answers. The first difference is kept in words; from there on the inputs still apply, but
nothing is compared any more. An event whose handling raises ends the replay: the caller begins anew without.
"""

from collections.abc import Container, Iterable, Sequence
from math import isfinite

import msgspec

from bot.domain.messages import (
    Effect,
    Event,
    MarketEvent,
    OrderRejected,
    PlaceOrder,
    RejectCause,
    VenueEffect,
    VenueEvent,
)
from bot.engine.core import Engine
from bot.journal.entries import EVENTS, Answer, Effects, Entry, Marked
from bot.journal.lines import Chained
from bot.ports import Recorder, Venue
from bot.service.driver import Driver

_SHOWN = 300


class Difference(msgspec.Struct, frozen=True):
    """The first place at which a replay did something else than the journal says. Both sides in words."""

    entry: int
    written: str
    replayed: str

    def __str__(self) -> str:
        return f"entry {self.entry}: the journal has {self.written}, the replay {self.replayed}"


class Poisoned(Exception):
    """Handling the event of ``entry`` raised ``error``."""

    def __init__(self, entry: int, event: Event, error: Exception) -> None:
        super().__init__(f"{type(event).__name__} of entry {entry}: {type(error).__name__}: {error}")
        self.entry = entry


class Replay:
    """One segment replayed on an engine that stands where the segment begins.

    Args:
        engine: restored from the segment's snapshot; changed by ``run``.
        venue: the venue in this process, restored likewise; None for a remote venue, whose events are
            inputs from outside.
        entries: of the segment, in order.
        skipped: numbers of inputs that were quarantined.
        recorder: sees every event and effect, such as the totals of a run.
    """

    def __init__(
        self,
        engine: Engine,
        venue: Venue | None,
        entries: Sequence[Chained],
        *,
        skipped: Container[int] = (),
        recorder: Recorder | None = None,
    ) -> None:
        self.difference: Difference | None = None
        self.inputs = 0
        """Inputs from outside that were taken."""
        self._venue = venue
        self._entries = entries
        self._next = 0
        self._skipped = skipped
        self._driver = Driver(engine, self, recorder or _Nothing(), self)

    def run(self) -> None:
        """Take every input.

        Raises:
            Poisoned: handling one raised.
        """
        while self._next < len(self._entries):
            at = self._entries[self._next]
            self._next += 1
            if at.number in self._skipped:
                self._skip_consequences()
            elif isinstance(at.entry, EVENTS):
                self.inputs += 1
                try:
                    self._driver.take(at.entry)
                except Exception as error:
                    raise Poisoned(at.number, at.entry, error) from error
            elif self._comparing and isinstance(at.entry, Answer | Effects | Marked):
                self._differ(at, "nothing")

    @property
    def _comparing(self) -> bool:
        return self.difference is None

    def _skip_consequences(self) -> None:
        """Pass over what an event led to before its handling raised."""
        while self._next < len(self._entries) and not isinstance(self._entries[self._next].entry, EVENTS):
            self._next += 1

    def _differ(self, at: Chained, replayed: str) -> None:
        self.difference = Difference(at.number, _words(at.entry), replayed)

    def _expect(self, entry: Answer | Effects | Marked) -> None:
        """Compare with the next entry. At the end of the journal its writer died: nothing to compare with."""
        if not self._comparing or self._next >= len(self._entries):
            return
        at = self._entries[self._next]
        if at.entry == entry:
            self._next += 1
        else:
            self._differ(at, _words(entry))

    # As the driver's keeper

    def took(self, event: Event) -> None:
        """Do nothing: the event comes from the journal."""

    def answered(self, event: VenueEvent) -> None:
        """Compare an answer."""
        self._expect(Answer(event))

    def keep(self, effects: Sequence[Effect]) -> None:
        """Compare decisions."""
        self._expect(Effects(tuple(effects)))

    def marked(self, ts_ms: int, equity: float, notional: float) -> None:
        """Compare the account's value; forecasts are compared by what was decided on them."""
        if self._comparing and self._next < len(self._entries):
            at = self._entries[self._next].entry
            value = (equity if isfinite(equity) else None, notional if isfinite(notional) else None)
            if isinstance(at, Marked) and (at.ts_ms, at.equity, at.notional) == (ts_ms, *value):
                self._next += 1
            else:
                self._expect(Marked(ts_ms, *value))

    # As the driver's venue

    def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
        """Pass an effect to the venue of this process, unless the gate had refused it."""
        if self._comparing and isinstance(effect, PlaceOrder) and self._next < len(self._entries):
            at = self._entries[self._next].entry
            if isinstance(at, Answer) and _is_refusal_of(at.event, effect):
                return (at.event,)
        return self._venue.submit(effect) if self._venue is not None else ()

    def advance(self, event: MarketEvent) -> Sequence[VenueEvent]:
        """Let the venue of this process move."""
        return self._venue.advance(event) if self._venue is not None else ()


def _is_refusal_of(event: VenueEvent, effect: PlaceOrder) -> bool:
    return (
        isinstance(event, OrderRejected)
        and event.order_id == effect.order_id
        and event.cause is RejectCause.NOT_SENT
    )


def _words(entry: Entry) -> str:
    text = repr(entry)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


class _Nothing:
    """A recorder that records nothing."""

    def event(self, event: Event) -> None:
        pass

    def effects(self, effects: Iterable[Effect]) -> None:
        pass

    def marked(self, ts_ms: int, equity: float, notional: float) -> None:
        pass
