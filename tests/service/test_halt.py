"""The last gate before the venue: what passes, what is refused and how."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bot.adapters.state.directory import HaltFile
from bot.domain.messages import (
    CancelOrder,
    MarketEvent,
    OrderRejected,
    PlaceOrder,
    RejectCause,
    SetStops,
    VenueEffect,
    VenueEvent,
)
from bot.domain.orders import Approved
from bot.risk.breaker import Breaker, Cause
from bot.service.halt import EntryGate, entry_block_now
from tests.helpers import intent

ENTRY = PlaceOrder("t-1-0", Approved(intent()))
EXIT = PlaceOrder("t-2-0", Approved(intent("Sell", reduce_only=True)))
OTHERS: list[VenueEffect] = [EXIT, CancelOrder("t-1-0", "BTCUSDT"), SetStops("BTCUSDT", None, None)]


class Sent:
    """A venue that only notes what reached it."""

    def __init__(self) -> None:
        self.effects: list[VenueEffect] = []

    def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
        self.effects.append(effect)
        return ()

    def advance(self, event: MarketEvent) -> Sequence[VenueEvent]:
        return ()


def held_by(what: str, place: Path) -> tuple[EntryGate, Sent, list[str]]:
    breaker, halt, venue, told = Breaker(), HaltFile(place), Sent(), list[str]()
    if what == "halt_file":
        halt.set()
    elif what == "halted":
        breaker.halt(Cause.DRAWDOWN)
    elif what == "reducing":
        breaker.pause()
    return EntryGate(venue, breaker, halt, lambda: told.append("halt")), venue, told


@pytest.mark.parametrize("what", ["halt_file", "halted", "reducing"])
def test_an_entry_that_may_not_leave_any_more_is_refused_as_not_sent(what: str, tmp_path: Path) -> None:
    gate, venue, told = held_by(what, tmp_path)
    (said,) = gate.submit(ENTRY)
    assert isinstance(said, OrderRejected)
    assert (said.order_id, said.cause) == ("t-1-0", RejectCause.NOT_SENT)
    assert what in said.reason
    assert venue.effects == []
    assert told == (["halt"] if what == "halt_file" else [])


@pytest.mark.parametrize("what", ["nothing", "halt_file", "halted", "reducing"])
def test_exits_cancels_and_stops_always_pass(what: str, tmp_path: Path) -> None:
    gate, venue, _ = held_by(what, tmp_path)
    for effect in OTHERS:
        assert gate.submit(effect) == ()
    assert venue.effects == OTHERS


def test_an_entry_passes_while_nothing_holds_it_back(tmp_path: Path) -> None:
    gate, venue, _ = held_by("nothing", tmp_path)
    assert gate.submit(ENTRY) == ()
    assert venue.effects == [ENTRY]
    assert entry_block_now(Breaker(), HaltFile(tmp_path)) is None
