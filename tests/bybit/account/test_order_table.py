from decimal import Decimal
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.bybit import wire
from bot.bybit.account import order_table
from bot.bybit.account.order_table import OrderTable
from bot.domain.errors import BadInput, Broken
from bot.domain.messages import (
    Filled,
    FundingPaid,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderRepriced,
    OrderResized,
    OrderUnknown,
    RejectCause,
    VenueEvent,
)
from bot.domain.orders import Intent, Order, OrderState
from bot.engine.orders.open_orders import OpenOrders
from tests.bybit.account.rows import ID, execution, intent, order_row

NOW = 1_700_000_000_000


def table(*, sent: Intent | None = None) -> OrderTable:
    made = OrderTable("bot", ["BTCUSDT"])
    made.adopted = True
    if sent is not None:
        made.send(ID, sent, NOW)
    return made


def names(events: list[VenueEvent]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_an_order_is_accepted_filled_and_gone() -> None:
    orders = table(sent=intent(qty="1"))
    assert orders.accepted(ID, "v1", NOW) == [OrderAccepted(NOW, ID)]
    assert orders.accepted(ID, "v1", NOW) == []
    assert names(orders.on_execution(execution(qty="0.4"))) == ["Filled"]
    assert names(orders.on_execution(execution("x2", qty="0.6"))) == ["Filled"]
    assert orders.live == {}
    assert orders.ended() == [ID]
    assert orders.positions == {"BTCUSDT": Decimal(1)}


@pytest.mark.fault(31)
def test_a_fill_before_the_answer_counts_and_the_answer_adds_nothing() -> None:
    orders = table(sent=intent(qty="1"))
    assert names(orders.on_execution(execution(qty="1"))) == ["Filled"]
    assert orders.accepted(ID, "v1", NOW) == []
    assert orders.on_order(order_row("Filled", cum="1"), NOW) == []


def test_an_execution_is_told_once() -> None:
    orders = table(sent=intent(qty="1"))
    orders.on_execution(execution(qty="0.4"))
    assert orders.on_execution(execution(qty="0.4")) == []
    assert orders.duplicates == 1
    assert orders.positions == {"BTCUSDT": Decimal("0.4")}


@pytest.mark.fault(34)
def test_executions_without_an_id_or_with_anothers_are_told_apart() -> None:
    orders = table(sent=intent(qty="1"))
    first = orders.on_execution(execution("", qty="0.1"))
    assert orders.on_execution(execution("", qty="0.1")) == []
    second = orders.on_execution(execution("x", qty="0.1", time=NOW + 1))
    third = orders.on_execution(execution("x", qty="0.1", time=NOW + 2))
    ids = [event.fill.exec_id for event in first + second + third if isinstance(event, Filled)]
    assert len(set(ids)) == 3
    assert orders.on_execution(execution("x", qty="0.1", time=NOW + 2)) == []


def test_an_end_waits_for_the_executions_it_counts() -> None:
    orders = table(sent=intent(qty="1"))
    orders.accepted(ID, "v1", NOW)
    assert orders.on_order(order_row("Cancelled", cum="0.3", cancel="CancelByUser"), NOW) == []
    assert orders.live[ID].unsettled
    events = orders.on_execution(execution(qty="0.3"))
    assert names(events) == ["Filled", "OrderCancelled"]
    assert events[-1].reason == "CancelByUser"  # type: ignore[union-attr]


def test_the_venues_reason_is_told() -> None:
    orders = table(sent=intent(qty="1"))
    orders.accepted(ID, "v1", NOW)
    row = order_row("Cancelled", reject="EC_PostOnlyWillTakeLiquidity")
    assert orders.on_order(row, NOW) == [OrderCancelled(NOW, ID, "EC_PostOnlyWillTakeLiquidity")]


def test_a_refusal_by_the_engine_is_a_rejection_before_the_answer_and_a_cancel_after_it() -> None:
    row = order_row("Rejected", reject="EC_NoImmediateQtyToFill")
    orders = table(sent=intent())
    assert orders.on_order(row, NOW) == [OrderRejected(NOW, ID, 0, "EC_NoImmediateQtyToFill")]
    orders = table(sent=intent())
    orders.accepted(ID, "v1", NOW)
    assert orders.on_order(row, NOW) == [OrderCancelled(NOW, ID, "EC_NoImmediateQtyToFill")]


def test_a_refusal_for_crossing_says_so_in_its_cause() -> None:
    word = "EC_PostOnlyWillTakeLiquidity"
    orders = table(sent=intent())
    refused = OrderRejected(NOW, ID, 0, word, RejectCause.POST_ONLY)
    assert orders.on_order(order_row("Rejected", reject=word), NOW) == [refused]


def test_what_the_venue_cut_off_is_told_as_gone() -> None:
    orders = table(sent=intent(qty="1"))
    orders.on_execution(execution(qty="0.7"))
    assert orders.on_order(order_row("Filled", cum="0.7"), NOW) == [
        OrderCancelled(NOW, ID, "CancelByReduceOnly")
    ]


def test_an_unknown_order_stays_until_there_is_evidence() -> None:
    orders = table(sent=intent(qty="1"))
    assert orders.lost(ID, NOW) == [OrderUnknown(NOW, ID)]
    assert orders.lost(ID, NOW) == []
    assert orders.live[ID].state is OrderState.UNKNOWN
    assert orders.on_order(order_row("New"), NOW) == [OrderAccepted(NOW, ID)]
    assert orders.lost(ID, NOW) == []


def test_a_refusal_after_evidence_of_life_changes_nothing() -> None:
    orders = table(sent=intent(qty="1"))
    orders.on_execution(execution(qty="0.5"))
    assert orders.refused(ID, 110007, "no money", NOW) == []
    assert ID in orders.live


def test_an_old_row_cannot_reopen_an_order() -> None:
    orders = table(sent=intent(qty="1"))
    orders.on_order(order_row("Cancelled"), NOW)
    assert orders.on_order(order_row("New"), NOW) == []
    assert orders.on_order(order_row("Cancelled"), NOW) == []
    with pytest.raises(Broken, match="given twice"):
        orders.send(ID, intent(), NOW)


@pytest.mark.fault(31)
def test_an_execution_without_our_id_waits_for_the_answer_that_names_it() -> None:
    orders = table(sent=intent(qty="1"))
    assert orders.on_execution(execution(link="", qty="1")) == []
    events = orders.accepted(ID, "v1", NOW)
    assert names(events) == ["OrderAccepted", "Filled"]
    assert events[1].fill.order_id == ID  # type: ignore[union-attr]
    assert orders.live == {}


def test_an_execution_that_nobody_claims_still_moves_the_position() -> None:
    orders = table(sent=intent(qty="1"))
    orders.on_execution(execution(link="", order="foreign", qty="0.5"))
    events = orders.accepted(ID, "v1", NOW)
    assert names(events) == ["OrderAccepted", "Filled"]
    assert events[1].fill.order_id == "foreign"  # type: ignore[union-attr]
    assert orders.positions == {"BTCUSDT": Decimal("0.5")}
    assert orders.foreign_fills == 1


@pytest.mark.fault(51)
@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ({"createType": "CreateByStopLoss", "stopOrderType": "StopLoss"}, "stop_loss"),
        ({"createType": "CreateByTakeProfit"}, "take_profit"),
        ({"stopOrderType": "PartialStopLoss"}, "stop_loss"),
        ({"createType": "CreateByTrailingStop"}, "stop_loss"),
        ({"execType": "BustTrade", "createType": "CreateByTakeOver_PassThrough"}, "liquidation"),
        ({"execType": "AdlTrade"}, "adl"),
        ({"createType": "CreateByLiq"}, "liquidation"),
        ({"execType": "Settle"}, "settle"),
        ({"createType": "SomethingNew"}, "order"),
    ],
)
def test_the_cause_of_a_fill_that_carries_no_id_of_ours(words: dict[str, str], cause: str) -> None:
    orders = table()
    (event,) = orders.on_execution(execution(link="", order="v9", **words))
    assert isinstance(event, Filled)
    assert event.fill.cause == cause


@pytest.mark.fault(49)
def test_funding_is_paid_once_with_the_sign_turned() -> None:
    orders = table()
    row = execution("f1", link="", execType="Funding", fee="0.25", orderType="UNKNOWN")
    assert orders.on_execution(row) == [FundingPaid(NOW, "BTCUSDT", Decimal("-0.25"))]
    assert orders.on_execution(row) == []
    assert orders.positions == {}


def test_before_the_account_is_taken_over_executions_belong_to_it() -> None:
    orders = OrderTable("bot", ["BTCUSDT"])
    assert orders.on_execution(execution()) == []
    orders.adopted = True
    assert orders.on_execution(execution()) == []
    assert orders.positions == {}


def test_an_adopted_order_has_filled_what_its_row_says() -> None:
    orders = OrderTable("bot", ["BTCUSDT"])
    orders.adopt_order(order_row("PartiallyFilled", qty="1", cum="0.4"), NOW)
    orders.adopted = True
    assert names(orders.on_execution(execution(qty="0.6"))) == ["Filled"]
    assert orders.live == {}


def test_a_recalled_order_is_unknown_until_the_venue_is_asked() -> None:
    orders = OrderTable("bot", ["BTCUSDT"])
    orders.recall(Order(ID, intent(qty="1"), OrderState.OPEN), NOW)
    assert orders.live[ID].state is OrderState.UNKNOWN


@pytest.mark.parametrize(
    "words", [{"qty": "NaN"}, {"qty": "-1"}, {"qty": "0"}, {"price": "x"}, {"time": "soon"}, {"side": "None"}]
)
def test_an_impossible_execution_changes_nothing(words: dict[str, str]) -> None:
    orders = table(sent=intent(qty="1"))
    with pytest.raises(BadInput):
        orders.on_execution(execution("x9", **words))
    assert names(orders.on_execution(execution("x9", qty="1"))) == ["Filled"]


@pytest.mark.fault(48)
def test_fees_in_another_coin_are_counted_at_their_worth() -> None:
    orders = table()
    (event,) = orders.on_execution(
        execution(link="", qty="2", price="100", fee="0.01", feeCurrency="MNT", feeRate="0.0005")
    )
    assert isinstance(event, Filled)
    assert event.fill.fee_quote == Decimal("0.1")


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_table, "SEEN_MAX", 8)
    monkeypatch.setattr(order_table, "ENDED_MAX", 8)
    orders = table()
    for n in range(50):
        orders.send(f"bot1-{n}-0", intent(qty="1"), NOW)
        orders.accepted(f"bot1-{n}-0", f"v{n}", NOW)
        orders.on_execution(execution(f"x{n}", link=f"bot1-{n}-0", order=f"v{n}", qty="1"))
    assert len(orders._seen) == 8
    assert len(orders._ended) == 8
    assert len(orders._ids) <= 9
    assert orders.live == {}


def play(orders: OrderTable, messages: list[tuple[str, object]]) -> list[VenueEvent]:
    events: list[VenueEvent] = []
    for kind, message in messages:
        if kind == "execution":
            assert isinstance(message, wire.ExecutionFields)
            events += orders.on_execution(message)
        elif kind == "order":
            assert isinstance(message, wire.OrderFields)
            events += orders.on_order(message, NOW)
        elif kind == "lost":
            events += orders.lost(ID, NOW)
        else:
            events += orders.accepted(ID, "v1", NOW)
    return events


def check_story(events: list[VenueEvent], qty: Decimal, filled: Decimal) -> None:
    """The engine's own book must be able to live through it, and come to the true end."""
    book = OpenOrders()
    book.add(ID, intent(qty=str(qty)))
    for event in events:
        if isinstance(event, Filled):
            assert book.is_new(event.fill)
            book.fill(event.fill)
        else:
            book.answer(event)  # type: ignore[arg-type]
    assert sum((e.fill.qty for e in events if isinstance(e, Filled)), Decimal(0)) == filled
    assert book.live == {}
    ends = [e for e in events if isinstance(e, OrderCancelled | OrderRejected)]
    assert len(ends) == (filled < qty)
    if ends:
        assert events[-1] is ends[0]


@pytest.mark.fault(32)
@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("link", [ID, ""])
def test_a_cancel_that_races_a_partial_fill_ends_alike_in_every_order(
    order: tuple[int, ...], link: str
) -> None:
    messages: list[tuple[str, object]] = [
        ("answer", None),
        ("execution", execution(link=link, qty="0.3")),
        ("order", order_row("Cancelled", qty="1", cum="0.3", cancel="CancelByUser")),
    ]
    orders = table(sent=intent(qty="1"))
    check_story(play(orders, [messages[n] for n in order]), Decimal(1), Decimal("0.3"))
    assert orders.positions == {"BTCUSDT": Decimal("0.3")}


@pytest.mark.fault(32)
@pytest.mark.invariant(2, 9)
@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_order_of_messages_tells_the_same_fills_and_one_end(data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.integers(1, 9), max_size=4))
    rest = data.draw(st.integers(0, 9)) if parts else data.draw(st.integers(1, 9))
    qty, filled = sum(parts) + rest, sum(parts)
    link = data.draw(st.sampled_from([ID, ""]))
    messages: list[tuple[str, object]] = [
        ("execution", execution(f"x{n}", link=link, qty=str(part))) for n, part in enumerate(parts)
    ]
    cums = [sum(parts[:n]) for n in range(1, len(parts) + 1)]
    messages += [("order", order_row("PartiallyFilled", qty=str(qty), cum=str(cum))) for cum in cums]
    status = "Filled" if filled == qty else data.draw(st.sampled_from(["Cancelled", "Deactivated"]))
    messages += [
        ("order", order_row(status, qty=str(qty), cum=str(filled))),
        ("order", order_row("New", qty=str(qty))),
    ]
    messages += data.draw(st.lists(st.sampled_from(messages), max_size=4))
    messages.append(data.draw(st.sampled_from([("answer", None), ("lost", None)])))
    orders = table(sent=intent(qty=str(qty)))
    check_story(play(orders, data.draw(st.permutations(messages))), Decimal(qty), Decimal(filled))
    assert orders.positions.get("BTCUSDT", Decimal(0)) == filled
    assert orders._strays == {}


def test_a_price_that_the_venue_moved_is_told_once_and_kept() -> None:
    orders = table(sent=intent(order_type="Limit", price=Decimal(105)))
    assert orders.accepted(ID, "v1", NOW) == [OrderAccepted(NOW, ID)]
    moved = order_row(orderType="Limit", price="101.00")
    assert orders.on_order(moved, NOW) == [OrderRepriced(NOW, ID, Decimal("101.00"))]
    assert orders.on_order(moved, NOW) == []
    assert (orders.live[ID].price, orders.prices_moved) == (Decimal(101), 1)


def test_an_order_that_somebody_made_larger_is_followed_to_its_new_end() -> None:
    orders = table(sent=intent(qty="1"))
    orders.accepted(ID, "v1", NOW)
    larger = order_row(qty="5")
    assert orders.on_order(larger, NOW) == [OrderResized(NOW, ID, Decimal(5))]
    assert orders.on_order(larger, NOW) == []
    assert names(orders.on_execution(execution(qty="1"))) == ["Filled"]
    assert (orders.live[ID].state, orders.sizes_moved) == (OrderState.PARTIAL, 1)  # 4 may still fill
    assert names(orders.on_execution(execution("x2", qty="4"))) == ["Filled"]
    assert orders.live == {}


@pytest.mark.parametrize("told", ["5", ""])
def test_an_execution_beyond_the_quantity_says_so_first(told: str) -> None:
    orders = table(sent=intent(qty="1"))
    resized, filled = orders.on_execution(execution(qty="5", orderQty=told))
    assert (resized, names([filled])) == (OrderResized(NOW, ID, Decimal(5)), ["Filled"])
    assert orders.live == {}


def test_a_row_that_comes_late_does_not_undo_an_amended_quantity() -> None:
    orders = table(sent=intent(qty="2"))
    now, before = order_row(qty="5"), order_row(qty="2")
    now.updatedTime, before.updatedTime = str(NOW + 5), str(NOW)
    orders.on_order(now, NOW)
    orders.on_execution(execution(qty="2", time=NOW + 6))
    assert orders.on_order(before, NOW) == []
    assert orders.live[ID].qty == 5


def test_an_order_that_somebody_made_smaller_ends_where_it_is_filled() -> None:
    orders = table(sent=intent(qty="5"))
    assert OrderResized(NOW, ID, Decimal(2)) in orders.on_order(order_row(qty="2"), NOW)
    assert names(orders.on_execution(execution(qty="2"))) == ["Filled"]
    assert orders.live == {}


@pytest.mark.parametrize(
    ("sent", "row"),
    [
        ({"order_type": "Limit", "price": Decimal(105)}, {"orderType": "Limit", "price": "105.0"}),
        ({"order_type": "Limit", "price": Decimal(105)}, {"orderType": "Limit", "price": ""}),
        ({}, {"orderType": "Market", "price": "110"}),  # the protective price of a market order
    ],
)
def test_a_price_that_is_ours_or_unknown_is_no_move(sent: dict[str, object], row: dict[str, str]) -> None:
    orders = table(sent=intent(**sent))
    assert names(orders.on_order(order_row(**row), NOW)) == ["OrderAccepted"]
