"""What a symbol is busy with: every (state, event) pair, against the table as a person reads it."""

from itertools import product

import pytest

from bot.domain.errors import Broken
from bot.domain.messages import OrderCancelled, OrderUnknown
from bot.domain.money import ZERO
from bot.engine.orders.activity import (
    DROPPED,
    FINISHED,
    IDLE,
    NEXT,
    POSITION_CLOSED,
    Activity,
    ActivityEvent,
    Exiting,
    Idle,
    Replaced,
    Replacing,
    Rested,
    Resting,
    Sent,
    Turned,
    Turning,
    Unchanged,
    advance,
)
from bot.engine.orders.execution import MakerExecution
from bot.strategy.signal import Target
from tests.engine.scripted import cancels, engine, limit_engine, long_at, orders
from tests.helpers import bar, closed, intent, patient

FLAT, AIM = Target(0.0, "out"), Target(2.0, "in")


def working() -> MakerExecution:
    return MakerExecution(AIM, 0, ZERO, 20_000, 30_000, priced_ms=0)


ENTRY = intent("Sell")
OLD, NEW = working(), working()
STATES: dict[str, Activity] = {
    "idle": IDLE,
    "exiting": Exiting(FLAT),
    "replacing": Replacing(AIM, 1, False, None),
    "replacing an exit": Replacing(AIM, 1, False, FLAT),
    "resting": Resting(OLD, None),
    "resting an exit": Resting(OLD, FLAT),
    "turning": Turning(ENTRY, FLAT),
    "turning, flat by now": Turning(ENTRY, None),
}
EVENTS: dict[str, ActivityEvent] = {
    "sent": Sent(None),
    "sent an exit": Sent(FLAT),
    "kept": Unchanged(None),
    "kept an exit": Unchanged(FLAT),
    "replaced": Replaced(AIM, 7, True, FLAT),
    "rested": Rested(NEW, FLAT),
    "turned": Turned(ENTRY, FLAT),
    "finished": FINISHED,
    "dropped": DROPPED,
    "closed": POSITION_CLOSED,
}
FROM_ANY: dict[str, Activity] = {
    "sent": IDLE,
    "sent an exit": Exiting(FLAT),
    "kept": IDLE,
    "kept an exit": Exiting(FLAT),
    "replaced": Replacing(AIM, 7, True, FLAT),
    "rested": Resting(NEW, FLAT),
    "turned": Turning(ENTRY, FLAT),
}
KEEPS_RESTING: dict[str, Activity] = {"kept": Resting(OLD, None), "kept an exit": Resting(OLD, FLAT)}
EXPECTED: dict[str, dict[str, Activity]] = {
    "idle": FROM_ANY | {"dropped": IDLE, "closed": IDLE},
    "exiting": FROM_ANY | {"dropped": Exiting(FLAT), "closed": IDLE},
    "replacing": FROM_ANY | {"dropped": IDLE, "closed": Replacing(AIM, 1, False, None)},
    "replacing an exit": FROM_ANY | {"dropped": Exiting(FLAT), "closed": Replacing(AIM, 1, False, None)},
    "resting": FROM_ANY | KEEPS_RESTING | {"finished": IDLE, "dropped": IDLE, "closed": Resting(OLD, None)},
    "resting an exit": FROM_ANY
    | KEEPS_RESTING
    | {"finished": Exiting(FLAT), "dropped": Exiting(FLAT), "closed": Resting(OLD, None)},
    "turning": FROM_ANY | {"dropped": Exiting(FLAT), "closed": Turning(ENTRY, None)},
    "turning, flat by now": FROM_ANY | {"dropped": IDLE, "closed": Turning(ENTRY, None)},
}


@pytest.mark.parametrize(("state", "event"), list(product(STATES, EVENTS)))
def test_every_pair_of_state_and_event_does_what_the_table_says(state: str, event: str) -> None:
    before, happened = STATES[state], EVENTS[event]
    if event not in EXPECTED[state]:
        with pytest.raises(Broken, match="cannot happen to a symbol"):
            advance(before, happened)
        assert type(happened) not in NEXT[type(before)]
        return
    after = advance(before, happened)
    assert after == EXPECTED[state][event]
    assert type(after) in NEXT[type(before)][type(happened)]


def test_an_illegal_event_changes_nothing() -> None:
    state = Replacing(AIM, 1, False, FLAT)
    with pytest.raises(Broken):
        advance(state, FINISHED)
    assert state == Replacing(AIM, 1, False, FLAT)


def test_a_symbol_without_work_is_the_one_idle_value() -> None:
    assert advance(Exiting(FLAT), Sent(None)) is IDLE
    assert isinstance(IDLE, Idle)


def test_every_step_of_the_table_can_be_reached() -> None:
    seen = {
        (type(a), type(e), type(advance(a, e)))
        for n, a in STATES.items()
        for m, e in EVENTS.items()
        if m in EXPECTED[n]
    }
    assert seen == {(a, e, b) for a, row in NEXT.items() for e, states in row.items() for b in states}


def test_a_target_that_asks_for_the_live_order_again_gives_its_replacement_up() -> None:
    wanted, other = Target(2.0, limit_price=98.0), Target(2.0, limit_price=97.0)
    one, order = limit_engine({0: wanted, 1: other, 2: wanted})
    assert cancels(one.handle(closed(bar(1)))) == [order.order_id]
    assert not one.handle(closed(bar(2)))
    assert one.state.symbols["BTCUSDT"].activity is IDLE
    assert not orders(one.handle(OrderCancelled(bar(2).close_ms, order.order_id, "CancelByUser")))


def test_an_exit_decided_while_an_order_is_unknown_is_sent_at_the_next_close() -> None:
    one = engine({0: Target(2.0), 1: Target(3.0), 2: Target(0.0, "out")}, patient())
    long_at(one)
    (more,) = orders(one.handle(closed(bar(1))))
    one.handle(OrderUnknown(bar(1).close_ms, more.order_id))
    assert not one.handle(closed(bar(2)))
    assert one.state.symbols["BTCUSDT"].activity == Exiting(Target(0.0, "out"))
    one.handle(OrderCancelled(bar(2).close_ms, more.order_id, "CancelByUser"))
    (exit_,) = orders(one.handle(closed(bar(3))))
    assert (exit_.intent.side, exit_.intent.qty) == ("Sell", 2)
