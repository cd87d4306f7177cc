"""What a symbol is busy with: every (state, event) pair, against the table as a person reads it."""

from itertools import product

import pytest

from bot.domain.errors import Broken
from bot.domain.money import ZERO
from bot.engine.activity import (
    DROPPED,
    FINISHED,
    IDLE,
    NEXT,
    POSITION_CLOSED,
    Activity,
    ActivityEvent,
    Exiting,
    Idle,
    Kept,
    Replaced,
    Replacing,
    Rested,
    Resting,
    Sent,
    advance,
)
from bot.engine.execution import MakerExecution
from bot.strategy.signal import Target

FLAT, AIM = Target(0.0, "out"), Target(2.0, "in")


def working() -> MakerExecution:
    return MakerExecution(AIM, 0, ZERO, 20_000, 30_000, priced_ms=0)


OLD, NEW = working(), working()
STATES: dict[str, Activity] = {
    "idle": IDLE,
    "exiting": Exiting(FLAT),
    "replacing": Replacing(AIM, 1, False, None),
    "replacing an exit": Replacing(AIM, 1, False, FLAT),
    "resting": Resting(OLD, None),
    "resting an exit": Resting(OLD, FLAT),
}
EVENTS: dict[str, ActivityEvent] = {
    "sent": Sent(None),
    "sent an exit": Sent(FLAT),
    "kept": Kept(None),
    "kept an exit": Kept(FLAT),
    "replaced": Replaced(AIM, 7, True, FLAT),
    "rested": Rested(NEW, FLAT),
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
