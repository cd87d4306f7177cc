"""An order whose fate stays unknown stops entries everywhere, then halts; time alone leads to it."""

from decimal import Decimal

import pytest

from bot.domain.messages import (
    Filled,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderUnknown,
    PlaceOrder,
    ProcessStarted,
    TimePassed,
)
from bot.engine.core import Assignment, Engine
from bot.risk.breaker import Breaker
from bot.risk.limits import Limits
from bot.strategy.signal import Target
from tests.engine.scripted import Script, cancels, fill_of, moves, orders, reading, remote
from tests.helpers import bar, closed, instrument

LIMITS = Limits(unknown_order_reduce_ms=30_000, unknown_order_halt_ms=300_000)
SENT_MS = bar(0).close_ms


def lost() -> tuple[Engine, PlaceOrder]:
    """Two symbols; the entry of the first is of unknown fate, a limit entry of the second rests."""
    wishes = {"BTCUSDT": {0: Target(2.0)}, "ETHUSDT": {0: Target(1.0, limit_price=99.0), 1: Target(3.0)}}
    made = [Assignment(instrument(name), 300_000, Script(wish), 12.0) for name, wish in wishes.items()]
    one = Engine(made, Decimal(10_000), LIMITS, name="t")
    first, second = orders(one.handle(closed(bar(0), bar(0, symbol="ETHUSDT"))))
    one.handle(OrderAccepted(SENT_MS, second.order_id))
    one.handle(OrderUnknown(SENT_MS, first.order_id))
    return one, first


def at(one: Engine, after_ms: int) -> list[str]:
    return moves(one.handle(TimePassed(SENT_MS + after_ms)))


@pytest.mark.fault(30)
@pytest.mark.fault(30)
def test_entries_stop_everywhere_and_then_the_bot_halts() -> None:
    one, order = lost()
    assert one.state.due_ms() == SENT_MS + 30_001
    assert not at(one, 30_000)
    effects = one.handle(TimePassed(SENT_MS + 30_001))
    assert moves(effects) == [f"reducing unknown_order: {order.order_id}"]
    assert cancels(effects) == ["t-1-1"]  # the entry that rests in the other symbol
    assert one.state.due_ms() == SENT_MS + 300_001
    assert not at(one, 300_000)
    assert at(one, 300_001) == [f"halted unknown_order: {order.order_id}"]
    assert one.state.due_ms() is None


@pytest.mark.fault(30)
@pytest.mark.fault(30)
def test_nothing_is_entered_in_any_symbol_meanwhile() -> None:
    one, _ = lost()
    one.handle(OrderCancelled(SENT_MS, "t-1-1", "CancelByUser"))
    at(one, 30_001)
    assert not orders(one.handle(closed(bar(1), bar(1, symbol="ETHUSDT"))))
    assert one.state.refusals["breaker"] == 1


def test_a_close_that_comes_first_beyond_the_limit_leads_to_no_entry() -> None:
    one, order = lost()
    one.handle(OrderCancelled(SENT_MS, "t-1-1", "CancelByUser"))
    effects = one.handle(closed(bar(1), bar(1, symbol="ETHUSDT")))
    assert moves(effects) == [f"reducing unknown_order: {order.order_id}"]
    assert not orders(effects)


@pytest.mark.parametrize("how", ["accepted", "refused", "cancelled", "filled"])
def test_an_answer_lifts_what_holds_entries_back(how: str) -> None:
    one, order = lost()
    at(one, 30_001)
    now_ms, name = SENT_MS + 40_000, order.order_id
    answers: dict[str, OrderAccepted | OrderRejected | OrderCancelled | Filled] = {
        "accepted": OrderAccepted(now_ms, name),
        "refused": OrderRejected(now_ms, name, 110007, "ab not enough"),
        "cancelled": OrderCancelled(now_ms, name, "NeverExisted"),
        "filled": fill_of(order),
    }
    one.handle(answers[how])
    assert one.state.breaker.state == "active"
    assert one.state.unknown == {}
    assert one.state.due_ms() is None


def test_a_halt_stays_when_the_fate_is_known_at_last_and_an_unhalt_is_not_undone() -> None:
    one, order = lost()
    at(one, 300_001)
    breaker = one.state.breaker
    breaker.unhalt()
    assert not at(one, 900_000)  # it is still unknown: entries stay held back, no second halt
    assert breaker.state == "reducing"
    breaker.halt()
    one.handle(OrderAccepted(SENT_MS + 900_001, order.order_id))
    assert breaker.halting == ("operator",)
    assert breaker.reducing == ()


def test_an_answer_in_time_changes_nothing() -> None:
    one, order = lost()
    one.handle(OrderAccepted(SENT_MS + 100, order.order_id))
    assert not at(one, 900_000)
    assert one.state.breaker.state == "active"


@pytest.mark.fault(30)
def test_a_new_process_counts_from_its_own_start() -> None:
    one, order = lost()
    at(one, 30_001)
    one.handle(ProcessStarted(SENT_MS + 600_000, 2))
    assert f"unknown_order: {order.order_id}" not in one.state.breaker.reducing
    assert one.state.due_ms() == SENT_MS + 630_001
    assert one.state.unknown[order.order_id].since_ms == SENT_MS + 600_000


def test_an_order_that_a_dead_process_sent_is_of_unknown_fate_to_the_next() -> None:
    one = remote({0: Target(2.0)}, limits=LIMITS)
    one.handle(reading(first=True))
    (order,) = orders(one.handle(closed(bar(0))))
    one.handle(ProcessStarted(SENT_MS + 600_000, 2))
    assert one.state.due_ms() == SENT_MS + 630_001
    assert at(one, 900_001) == [f"halted unknown_order: {order.order_id}"]


def test_what_holds_entries_back_for_an_unknown_order_belongs_to_one_process() -> None:
    breaker = Breaker()
    breaker.fate_unknown("t-1-0")
    assert Breaker.restore(breaker.encode(), Limits()).state == "active"
