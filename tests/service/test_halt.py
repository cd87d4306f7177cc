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
from bot.service.halt import EntryGate, StepTimer, entry_block_now
from tests.helpers import T0, intent

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
    step = StepTimer(lambda: 0.0, 2_000)
    return EntryGate(venue, breaker, halt, lambda: told.append("halt"), lambda: T0, step), venue, told


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


# Age and slow steps


class Clocks:
    """A gate whose clock and step timer the test moves."""

    def __init__(self, place: Path) -> None:
        self.now_ms = T0
        self.now_s = 100.0
        self.venue = Sent()
        self.step = StepTimer(lambda: self.now_s, 2_000)
        halt, breaker = HaltFile(place), Breaker()
        self.gate = EntryGate(self.venue, breaker, halt, lambda: None, lambda: self.now_ms, self.step)


@pytest.mark.fault(82)
@pytest.mark.fault(59, 82)
@pytest.mark.invariant(11)
@pytest.mark.parametrize(("age_ms", "leaves"), [(15_000, True), (15_001, False), (17_000, False)])
def test_the_age_of_an_entry_is_judged_when_it_leaves(age_ms: int, leaves: bool, tmp_path: Path) -> None:
    clocks = Clocks(tmp_path)
    order = PlaceOrder("t-1-0", Approved(intent(), T0 + 15_000))
    clocks.now_ms = T0 + age_ms
    answers = clocks.gate.submit(order)
    assert clocks.venue.effects == ([order] if leaves else [])
    for said in answers:
        assert isinstance(said, OrderRejected)
        assert said.cause is RejectCause.NOT_SENT
        assert said.reason == f"stale_signal: {age_ms} ms after its close, at most 15000 ms"
        assert said.ts_ms == clocks.now_ms
    assert bool(answers) is not leaves


@pytest.mark.fault(82)
@pytest.mark.parametrize(("took_s", "leaves"), [(2.0, True), (2.1, False)])
def test_a_step_beyond_its_bound_loses_its_entries(took_s: float, leaves: bool, tmp_path: Path) -> None:
    clocks = Clocks(tmp_path)
    clocks.step.began()
    clocks.now_s += took_s
    answers = [*clocks.gate.submit(ENTRY), *clocks.gate.submit(ENTRY)]
    assert clocks.venue.effects == ([ENTRY, ENTRY] if leaves else [])
    assert clocks.step.cut == (0 if leaves else 1)
    assert all(isinstance(said, OrderRejected) and "at most 2000 ms" in said.reason for said in answers)
    clocks.step.began()
    assert clocks.gate.submit(ENTRY) == ()


def test_no_age_and_no_slow_step_holds_an_exit_back(tmp_path: Path) -> None:
    clocks = Clocks(tmp_path)
    clocks.step.began()
    clocks.now_s, clocks.now_ms = clocks.now_s + 60.0, T0 + 3_600_000
    for effect in OTHERS:
        assert clocks.gate.submit(effect) == ()
