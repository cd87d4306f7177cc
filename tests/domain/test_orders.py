from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import BadInput, Broken
from bot.domain.orders import LIVE, NEXT, Order, OrderState, fitted, sign
from tests.helpers import instrument, intent

D = Decimal


@pytest.mark.parametrize(
    "changes",
    [
        {"qty": "0"},
        {"qty": "-1"},
        {"ref_price": D(0)},
        {"order_type": "Limit"},
        {"order_type": "Limit", "price": D(-1)},
        {"stop_loss": D(0)},
        {"take_profit": D(-5)},
    ],
)
def test_an_intent_with_a_bad_quantity_or_price_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        intent(**changes)  # type: ignore[arg-type]


def test_the_notional_is_at_the_limit_or_at_the_reference() -> None:
    assert intent(qty="2", ref_price=D(100)).notional_quote == 200
    assert intent(qty="2", order_type="Limit", price=D(90)).notional_quote == 180


def test_the_sign_of_buy_is_plus_one() -> None:
    assert (sign("Buy"), sign("Sell")) == (1, -1)


def test_terminal_states_have_no_next_state_and_live_states_have_one() -> None:
    assert set(NEXT) == set(OrderState)
    assert {state for state in OrderState if NEXT[state]} == LIVE


def test_every_live_state_can_reach_every_end() -> None:
    for state in (OrderState.SENT, OrderState.UNKNOWN):
        assert {OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED} <= NEXT[state]


@pytest.mark.invariant(9)
@given(st.lists(st.sampled_from(OrderState), max_size=8))
def test_a_random_walk_makes_only_transitions_of_the_table(steps: list[OrderState]) -> None:
    order = Order("o1", intent())
    for to in steps:
        before = order.state
        if to in NEXT[before]:
            order.move(to)
        else:
            with pytest.raises(Broken, match=before.value):
                order.move(to)
            assert order.state is before


def test_a_finished_order_has_no_quantity_left() -> None:
    order = Order("o1", intent(qty="3"), filled_qty=D(1))
    assert order.leaves_qty == 2
    order.move(OrderState.CANCELLED)
    assert order.leaves_qty == 0


@pytest.mark.parametrize(
    ("order", "rules", "expected"),
    [
        ({"qty": "0.25"}, {"qty_step": "0.1"}, {"qty": "0.2"}),
        ({"qty": "0.25"}, {"qty_step": "0.1", "max_market_qty": "0.15"}, {"qty": "0.1"}),
        ({"qty": "0.05"}, {"qty_step": "0.1"}, None),
        ({"qty": "0.25"}, {"qty_step": "0.1", "min_qty": "0.3"}, None),
        ({"qty": "0.25"}, {"qty_step": "0.1", "min_notional_quote": "21"}, None),
        ({"side": "Sell", "qty": "0.25", "reduce_only": True}, {"qty_step": "0.1"}, {"qty": "0.2"}),
        ({"side": "Sell", "qty": "0.05", "reduce_only": True}, {"qty_step": "0.1"}, {"qty": "0.05"}),
        ({"price": "99.7"}, {"tick_size": "0.5"}, {"price": "99.5"}),
        ({"side": "Sell", "price": "99.7"}, {"tick_size": "0.5"}, {"price": "100.0"}),
        ({"price": "99.7"}, {"max_price": "90"}, {"price": "90"}),
        ({"side": "Sell", "price": "99.7"}, {"min_price": "110"}, {"price": "110"}),
        ({"price": "99.7"}, {"min_price": "110"}, None),
        (
            {"stop_loss": "95.7", "take_profit": "105.2"},
            {"tick_size": "0.5"},
            {"stop_loss": "95.5", "take_profit": "105.5"},
        ),
        ({"side": "Sell", "stop_loss": "105.2"}, {"tick_size": "0.5"}, {"stop_loss": "105.5"}),
    ],
)
def test_an_order_is_rounded_to_other_rules_and_never_made_larger_or_worse(
    order: dict[str, Any], rules: dict[str, str], expected: dict[str, str] | None
) -> None:
    values = {key: value if key in ("side", "reduce_only") else D(value) for key, value in order.items()}
    if "price" in values:
        values |= {"order_type": "Limit", "time_in_force": "GTC"}
    made = intent(str(values.pop("side", "Buy")), "1")  # type: ignore[arg-type]
    before = msgspec.structs.replace(made, **values)
    after = fitted(before, instrument(**{key: D(value) for key, value in rules.items()}))
    if expected is None:
        assert after is None
    else:
        changes = {key: D(value) for key, value in expected.items()}
        assert after == msgspec.structs.replace(before, **changes)
