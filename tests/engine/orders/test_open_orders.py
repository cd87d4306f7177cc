from decimal import Decimal
from itertools import product

import pytest

from bot.domain.errors import Broken
from bot.domain.messages import OrderAccepted, OrderCancelled, OrderRejected, OrderRepriced, OrderUnknown
from bot.domain.orders import NEXT, Order, OrderState
from bot.engine.orders.open_orders import OpenOrders
from tests.helpers import T0, fill, intent


def orders_with(order_id: str = "o1", qty: str = "3") -> OpenOrders:
    orders = OpenOrders()
    orders.add(order_id, intent(qty=qty))
    return orders


@pytest.mark.parametrize(("start", "to"), list(product(OrderState, OrderState)))
def test_an_order_moves_as_the_table_says_and_never_otherwise(start: OrderState, to: OrderState) -> None:
    order = Order("o1", intent(), state=start)
    if to in NEXT[start]:
        order.move(to)
        assert order.state is to
    else:
        with pytest.raises(Broken):
            order.move(to)
        assert order.state is start


def test_an_order_id_is_given_once() -> None:
    with pytest.raises(Broken, match="twice"):
        orders_with().add("o1", intent())


def test_a_fill_before_its_acknowledgement_is_booked_and_the_late_word_changes_nothing() -> None:
    orders = orders_with()
    orders.fill(fill(qty="1"))
    orders.answer(OrderAccepted(T0, "o1"))
    assert orders.live["o1"].state is OrderState.PARTIAL


def test_the_last_fill_ends_the_order_and_frees_its_place() -> None:
    orders = orders_with()
    orders.fill(fill(qty="1"))
    orders.fill(fill(qty="2", exec_id="x2"))
    assert not orders.live
    assert orders.ended == {"filled": 1}


def test_more_than_was_ordered_is_a_broken_promise() -> None:
    with pytest.raises(Broken, match="filled 4 of 3"):
        orders_with().fill(fill(qty="4"))


def test_an_execution_counts_once() -> None:
    orders = orders_with()
    assert orders.is_new(fill())
    assert not orders.is_new(fill())


def test_unknown_is_left_only_on_the_venues_word_and_still_counts_as_exposure() -> None:
    orders = orders_with()
    orders.answer(OrderUnknown(T0, "o1"))
    assert orders.live["o1"].state is OrderState.UNKNOWN
    assert orders.resting_qty("BTCUSDT") == (Decimal(3), Decimal(0))
    orders.answer(OrderAccepted(T0, "o1"))
    assert orders.live["o1"].state is OrderState.OPEN


@pytest.mark.parametrize(
    "event", [OrderRejected(T0, "o1", 110007, "balance"), OrderCancelled(T0, "o1", "CancelByUser")]
)
def test_a_refused_or_cancelled_order_is_no_exposure(event: OrderRejected | OrderCancelled) -> None:
    orders = orders_with()
    orders.answer(event)
    assert orders.resting_qty("BTCUSDT") == (Decimal(0), Decimal(0))


def test_words_about_orders_that_are_not_ours_change_nothing() -> None:
    orders = orders_with()
    assert orders.answer(OrderCancelled(T0, "somebody-elses", "CancelByUser")) is None
    orders.fill(fill(order_id="somebody-elses"))
    assert orders.live["o1"].filled_qty == 0


def test_an_order_has_the_price_that_the_venue_gave_it() -> None:
    orders = OpenOrders()
    orders.add("o1", intent(order_type="Limit", price=Decimal(105)))
    orders.add("o2", intent())
    for name in ("o1", "o2", "gone"):
        orders.reprice(OrderRepriced(T0, name, Decimal(101)))
    assert [order.intent.price for order in orders.live.values()] == [Decimal(101), None]
