from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.venue.order_table import OrderTable
from bot.adapters.venue.reconcile import (
    ABSENT_ROUNDS,
    Absence,
    Reading,
    adopt,
    by_time,
    is_as_meant,
    reconcile,
    take_over,
)
from bot.bybit import wire
from bot.domain.account import Holding, OpenOrder
from bot.domain.messages import Filled, OrderCancelled, StopsChanged
from bot.domain.orders import Order
from tests.adapters.venue.rows import ID, NOW, execution, intent, order_row


def position(size: str = "1", symbol: str = "BTCUSDT", side: str = "Buy", **fields: Any) -> wire.PositionRow:
    return wire.PositionRow(symbol=symbol, side=side, size=size, avgPrice="100", **fields)


def reading(*, at: int = NOW + 10, **parts: Any) -> Reading:
    return Reading(
        at,
        Decimal(parts.get("wallet", 1000)),
        tuple(parts.get("positions", ())),
        tuple(parts.get("orders", ())),
        tuple(parts.get("executions", ())),
    )


def books(*sent: str) -> OrderTable:
    table = OrderTable("bot", ["BTCUSDT", "ETHUSDT"])
    table.adopted = True
    for order_id in sent:
        table.send(order_id, intent(qty="1"), NOW)
        table.accepted(order_id, f"v-{order_id}", NOW)
    return table


def test_a_fill_that_the_stream_lost_is_told_from_the_reading() -> None:
    table = books(ID)
    seen = reading(positions=[position("1")], executions=[execution(order=f"v-{ID}", qty="1")])
    plan = reconcile(table, seen, {}, NOW)
    assert [type(event) for event in plan.events] == [Filled]
    assert plan.ask == ()
    assert plan.adrift == {}
    assert table.live == {}
    assert reconcile(table, seen, {}, NOW).events == []


def test_an_order_missing_from_the_reading_is_a_question_not_an_end() -> None:
    table = books(ID)
    plan = reconcile(table, reading(), {}, NOW)
    assert plan.events == []
    assert plan.ask == (ID,)
    assert ID in table.live


def test_an_order_younger_than_the_reading_or_under_way_is_no_question() -> None:
    table = books(ID)
    assert reconcile(table, reading(at=NOW), {}, NOW).ask == ()
    table = books()
    table.send(ID, intent(), NOW)
    assert reconcile(table, reading(), {}, NOW).ask == ()
    table.lost(ID, NOW)
    assert reconcile(table, reading(), {}, NOW).ask == (ID,)


def test_an_end_whose_executions_are_missing_stays_a_question() -> None:
    table = books(ID)
    table.on_order(order_row("Cancelled", order=f"v-{ID}", cum="0.5", cancel="CancelByUser"), NOW)
    plan = reconcile(table, reading(positions=[position("0.5")]), {}, NOW)
    assert plan.ask == (ID,)
    assert plan.adrift == {"BTCUSDT": (Decimal(0), Decimal("0.5"))}
    again = reconcile(
        table,
        reading(positions=[position("0.5")], executions=[execution(order=f"v-{ID}", qty="0.5")]),
        {},
        NOW,
    )
    assert [type(event) for event in again.events] == [Filled, OrderCancelled]
    assert again.adrift == {}


def test_a_position_that_no_execution_explains_is_named() -> None:
    plan = reconcile(books(), reading(positions=[position("2", side="Sell")]), {}, NOW)
    assert plan.adrift == {"BTCUSDT": (Decimal(0), Decimal(-2))}


def test_positions_elsewhere_are_held_but_not_compared() -> None:
    plan = reconcile(books(), reading(positions=[position("2", "XRPUSDT")]), {}, NOW)
    assert plan.adrift == {}
    assert plan.account.holdings == (Holding("XRPUSDT", Decimal(2), Decimal(100)),)


def test_stops_are_told_when_they_change_and_only_then() -> None:
    told: dict[str, Any] = {}
    table = books()
    table.positions["BTCUSDT"] = Decimal(1)
    seen = reading(positions=[position("1", stopLoss="90.5", takeProfit="0")])
    assert reconcile(table, seen, told, NOW).events == [StopsChanged(NOW, "BTCUSDT", Decimal("90.5"), None)]
    assert reconcile(table, seen, told, NOW).events == []
    lost = reading(positions=[position("1", stopLoss="", takeProfit="")])
    assert reconcile(table, lost, told, NOW).events == [StopsChanged(NOW, "BTCUSDT", None, None)]


def test_the_account_in_our_words() -> None:
    rows = [
        order_row("New", "bot1-1-0", orderType="Limit", price="99", qty="2"),
        order_row("PartiallyFilled", "bot1-2-0", order="v2", qty="2", cum="0.5", price="105"),
        order_row("New", "mine-by-hand", order="v3"),
        order_row("Untriggered", "", order="v4", stopOrderType="StopLoss", reduceOnly=True),
        order_row("New", "bot2x-1-0", order="v5"),
    ]
    account = reconcile(books(), reading(orders=rows), {}, NOW).account
    assert account.wallet_quote == 1000
    assert account.orders == (
        OpenOrder("bot1-1-0", "BTCUSDT", "Buy", "Limit", Decimal(2), Decimal(0), Decimal(99), False),
        OpenOrder("bot1-2-0", "BTCUSDT", "Buy", "Market", Decimal(2), Decimal("0.5"), None, False),
    )
    assert account.foreign_orders == 2


def test_an_order_of_an_earlier_process_that_shows_late_is_taken_over() -> None:
    table = books()
    reconcile(table, reading(orders=[order_row("New", "bot1-1-0", qty="1")]), {}, NOW)
    assert "bot1-1-0" in table.live
    assert [type(e) for e in table.on_execution(execution("x", "bot1-1-0", qty="1"))] == [Filled]


def test_a_start_takes_over_positions_orders_and_what_was_filled() -> None:
    table = OrderTable("bot", ["BTCUSDT"])
    table.recall(Order("bot1-1-0", intent(qty="2")), NOW)
    told: dict[str, Any] = {}
    seen = reading(
        positions=[position("0.5", stopLoss="90")],
        orders=[order_row("PartiallyFilled", "bot1-1-0", qty="2", cum="0.5")],
        executions=[execution(link="bot1-1-0", qty="0.5")],
    )
    assert adopt(table, seen) == ()
    account = take_over(table, seen, told)
    assert account.holdings == (Holding("BTCUSDT", Decimal("0.5"), Decimal(100), Decimal(90)),)
    assert table.positions == {"BTCUSDT": Decimal("0.5")}
    plan = reconcile(table, seen, told, NOW)
    assert (plan.events, plan.ask, plan.adrift) == ([], (), {})


def test_a_start_asks_about_every_order_the_store_remembers_and_the_venue_does_not_show() -> None:
    table = OrderTable("bot", ["BTCUSDT"])
    for n in range(3):
        table.recall(Order(f"bot1-{n}-0", intent()), NOW)
    assert adopt(table, reading(orders=[order_row("New", "bot1-1-0")])) == ("bot1-0-0", "bot1-2-0")


@pytest.mark.parametrize(
    ("changes", "equal"),
    [
        ({}, True),
        ({"qty": "1.000"}, True),
        ({"qty": "2"}, False),
        ({"side": "Sell"}, False),
        ({"symbol": "ETHUSDT"}, False),
        ({"price": "99.0"}, True),
        ({"price": "98"}, False),
        ({"orderType": "Market"}, False),
        ({"reduceOnly": True}, False),
    ],
)
def test_a_duplicate_id_is_ours_only_if_the_order_is_as_meant(changes: dict[str, Any], equal: bool) -> None:
    row = order_row("New", **({"price": "99", "orderType": "Limit"} | changes))
    assert is_as_meant(row, intent(order_type="Limit", price=Decimal(99))) is equal


def test_absence_takes_spaced_empty_rounds_after_the_last_chance() -> None:
    proof = Absence(not_before_ms=100, spacing_ms=10)
    verdicts = [proof.empty(now, position_agrees=True) for now in (50, 99, 100, 105, 110, 119, 120)]
    assert verdicts == [False, False, False, False, False, False, True]


@pytest.mark.parametrize("spoil", ["failed", "position"])
def test_absence_is_proven_anew_after_a_round_that_failed_or_a_position_that_differs(spoil: str) -> None:
    proof = Absence(not_before_ms=0, spacing_ms=1)
    for now in range(1, ABSENT_ROUNDS):
        assert not proof.empty(now, position_agrees=True)
    if spoil == "failed":
        proof.failed()
    else:
        assert not proof.empty(50, position_agrees=False)
    assert not proof.empty(60, position_agrees=True)


def test_rows_of_one_instant_keep_the_venues_order() -> None:
    newest_first = [execution("c", time=NOW + 1), execution("b", time=NOW), execution("a", time=NOW)]
    assert [row.execId for row in by_time(newest_first)] == ["a", "b", "c"]


@given(st.data())
def test_whatever_the_stream_lost_the_reading_makes_the_books_agree(data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    sides = [data.draw(st.sampled_from(["Buy", "Sell"])) for _ in parts]
    rows = [
        execution(f"x{n}", "", order=f"o{n}", qty=str(part), side=side, time=NOW + n)
        for n, (part, side) in enumerate(zip(parts, sides, strict=True))
    ]
    table = books()
    for row in data.draw(st.lists(st.sampled_from(rows), max_size=8)):
        table.on_execution(row)
    total = sum(part if side == "Buy" else -part for part, side in zip(parts, sides, strict=True))
    held = [position(str(abs(total)), side="Buy" if total > 0 else "Sell")] if total else []
    plan = reconcile(table, reading(positions=held, executions=rows[::-1]), {}, NOW)
    assert plan.adrift == {}
    assert table.positions.get("BTCUSDT", Decimal(0)) == total
