"""The account is read and compared without a socket: rows go in, steps and events come out."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.bybit import wire
from bot.bybit.account.order_table import OrderTable
from bot.bybit.account.reading import AccountReading, AccountRows, OrderTrace, by_time
from bot.bybit.account.sync import (
    COMPARE_TRIES,
    READ_TRIES,
    AccountSync,
    AskOnce,
    AwaitFates,
    KeepAsking,
    ReadAccount,
    ReadExecutions,
    ReadMoney,
    SyncAnswer,
    SyncStep,
    Wait,
)
from bot.domain.account import AccountSnapshot, Holding, KnownAccount, OpenOrder
from bot.domain.errors import BadInput, Rejected, Retryable
from bot.domain.messages import (
    Filled,
    OrderCancelled,
    OrderRejected,
    StopsChanged,
    Synced,
    Transferred,
    VenueEvent,
)
from bot.domain.orders import Order
from tests.bybit.account.rows import ID, NOW, execution, intent, order_row

LATER = NOW + 10


def position(size: str = "1", symbol: str = "BTCUSDT", side: str = "Buy", **fields: Any) -> wire.PositionRow:
    return wire.PositionRow(symbol=symbol, side=side, size=size, avgPrice="100", **fields)


class Venue:
    """An account at the venue as the queries show it; ``on_step`` may change it in between."""

    def __init__(
        self,
        positions: Iterable[wire.PositionFields] = (),
        orders: Iterable[wire.OrderFields] = (),
        executions: Iterable[wire.ExecutionFields] = (),
        wallet: str = "1000",
    ) -> None:
        self.positions, self.orders, self.executions = list(positions), list(orders), list(executions)
        self.wallet = Decimal(wallet)
        self.money: list[wire.TransactionRow] = []
        self.steps: list[SyncStep] = []
        self.on_step: Callable[[SyncStep], None] = lambda _: None

    def answer(self, step: SyncStep, at_ms: int) -> SyncAnswer:
        self.steps.append(step)
        self.on_step(step)
        match step:
            case ReadExecutions():
                return SyncAnswer(NOW, at_ms, executions=tuple(self.executions))
            case ReadAccount():
                rows = AccountRows(self.wallet, tuple(self.positions), tuple(self.orders))
                return SyncAnswer(NOW, at_ms, rows=rows)
            case ReadMoney(since_ms):
                there = tuple(row for row in self.money if int(row.transactionTime) >= since_ms)
                return SyncAnswer(NOW, at_ms, money=there)
            case _:
                return SyncAnswer(NOW, at_ms)

    def asked(self, kind: type[AskOnce | KeepAsking]) -> list[str]:
        return [step.order_id for step in self.steps if isinstance(step, kind)]


class Sync(AccountSync):
    """An account in sync that keeps what it emits."""

    def __init__(
        self, *sent: str, adopted: bool = True, symbols: Sequence[str] = ("BTCUSDT", "ETHUSDT"), **config: Any
    ) -> None:
        self.events: list[VenueEvent] = []
        super().__init__(OrderTable("bot", symbols), self.events.extend, Counter(), overlap_ms=100, **config)
        self.table.adopted = adopted
        for order_id in sent:
            self.table.send(order_id, intent(qty="1"), NOW)
            self.table.accepted(order_id, f"v-{order_id}", NOW)

    def with_(self, venue: Venue, at_ms: int = LATER) -> AccountReading:
        """One whole reading."""
        steps = self.read(NOW, at_ms)
        step = next(steps)
        try:
            while True:
                step = steps.send(venue.answer(step, at_ms))
        except StopIteration as ended:
            reading: AccountReading = ended.value
            self.confirm(reading)
            return reading

    @property
    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]

    @property
    def account(self) -> AccountSnapshot:
        """As last emitted."""
        return next(event.account for event in reversed(self.events) if isinstance(event, Synced))


# Comparing


def test_a_fill_that_the_stream_lost_comes_from_the_reading_once() -> None:
    sync = Sync(ID)
    venue = Venue([position("1")], executions=[execution(order=f"v-{ID}", qty="1")])
    sync.with_(venue)
    assert sync.kinds == ["Filled", "Synced"]
    assert sync.table.live == {}
    sync.with_(venue)
    assert sync.kinds == ["Filled", "Synced", "Synced"]


ODD_ROWS = {
    "no price": {"price": ""},
    "no quantity": {"qty": "0", "execType": "SessionSettlePnL"},
    "no side": {"side": "None"},
    "no time": {"time": ""},
    "an odd fee": {"fee": "free"},
}


@pytest.mark.parametrize("odd", ODD_ROWS.values(), ids=ODD_ROWS)
def test_what_a_contract_shows_that_is_not_traded_here_never_holds_a_reading_up(odd: dict[str, str]) -> None:
    sync = Sync(ID)
    venue = Venue([position()], [], [execution("x9", "", symbol="BTCPERP", **odd), execution(qty="1")])
    sync.with_(venue)
    sync.with_(venue)
    assert sync.kinds == ["Filled", "Synced", "Synced"]
    assert sync.table.foreign_fills == 1


@pytest.mark.parametrize("kind", ["Settle", "Delivery"])
def test_a_position_that_is_settled_at_a_price_of_0_is_gone(kind: str) -> None:
    sync = Sync()
    sync.table.positions = {"BTCUSDT": Decimal(1)}
    sync.with_(Venue([], [], [execution("s1", "", price="0", fee="0", side="Sell", execType=kind)]))
    (filled,) = (event.fill for event in sync.events if isinstance(event, Filled))
    assert (filled.price, filled.cause, sync.table.positions) == (0, "settle", {"BTCUSDT": Decimal(0)})


def test_a_trade_at_a_price_of_0_is_none() -> None:
    with pytest.raises(BadInput):
        Sync().on_execution(execution(price="0"))


def test_an_order_missing_from_the_reading_is_asked_about_and_not_ended() -> None:
    sync, venue = Sync(ID), Venue()
    sync.with_(venue)
    assert sync.kinds == ["Synced"]
    assert (venue.asked(AskOnce), venue.asked(KeepAsking)) == ([ID], [ID])
    assert ID in sync.table.live


def test_an_order_whose_answer_settles_it_is_not_asked_about_again() -> None:
    sync, venue = Sync(ID), Venue()

    def answer(step: SyncStep) -> None:
        if isinstance(step, AskOnce):
            sync.on_trace(ID, OrderTrace(order_row("Cancelled", order=f"v-{ID}")), None, NOW)

    venue.on_step = answer
    sync.with_(venue)
    assert sync.kinds == ["OrderCancelled", "Synced"]
    assert venue.asked(KeepAsking) == []


def test_an_order_that_falls_behind_during_the_questions_is_left_to_the_next_reading() -> None:
    sync, other = Sync(ID, "bot1-8-0"), "bot1-8-0"
    venue = Venue(orders=[order_row("New", other, order=f"v-{other}")])

    def cancel(step: SyncStep) -> None:
        if isinstance(step, AskOnce):
            sync.on_order(order_row("Cancelled", other, order=f"v-{other}", cum="0.5"), NOW)

    venue.on_step = cancel
    sync.with_(venue)
    assert set(venue.asked(KeepAsking)) == {ID}


def test_the_reading_shows_that_the_venue_has_an_order() -> None:
    sync = Sync()
    sync.table.send(ID, intent(qty="1"), NOW)
    sync.with_(Venue(orders=[order_row("New")]))
    assert sync.kinds == ["OrderAccepted", "Synced"]


def test_an_order_younger_than_the_reading_or_under_way_is_not_asked_about() -> None:
    sync, venue = Sync(ID), Venue()
    sync.with_(venue, at_ms=NOW)
    assert venue.asked(AskOnce) == []
    sync, venue = Sync(), Venue()
    sync.table.send(ID, intent(), NOW)
    sync.with_(venue)
    assert venue.asked(AskOnce) == []
    sync.table.lost(ID, NOW)
    sync.with_(venue)
    assert venue.asked(AskOnce) == [ID]


def test_an_end_whose_executions_are_missing_waits_for_them() -> None:
    sync = Sync(ID)
    sync.on_order(order_row("Cancelled", order=f"v-{ID}", cum="0.5", cancel="CancelByUser"), NOW)
    venue = Venue([position("0.5")])

    def appear(step: SyncStep) -> None:
        if isinstance(step, Wait):
            venue.executions = [execution(order=f"v-{ID}", qty="0.5")]

    venue.on_step = appear
    sync.with_(venue)
    assert venue.asked(AskOnce) == [ID]
    assert [type(event) for event in sync.events] == [Filled, OrderCancelled, Synced]
    assert sync.counts["adrift"] == 0


def test_a_position_that_no_execution_explains_is_believed_after_several_readings() -> None:
    sync, venue = Sync(), Venue([position("2", side="Sell")])
    sync.with_(venue)
    assert sync.table.positions == {"BTCUSDT": Decimal(-2)}
    assert sync.counts["adrift"] == 1
    assert sum(isinstance(step, Wait) for step in venue.steps) == COMPARE_TRIES - 1


def test_positions_of_other_symbols_are_held_but_not_compared() -> None:
    sync = Sync()
    sync.with_(Venue([position("2", "XRPUSDT")]))
    assert sync.counts["adrift"] == 0
    assert sync.account.holdings == (Holding("XRPUSDT", Decimal(2), Decimal(100)),)


def test_stops_are_emitted_when_they_change_and_only_then() -> None:
    sync = Sync()
    sync.table.positions["BTCUSDT"] = Decimal(1)
    venue = Venue([position("1", stopLoss="90.5", takeProfit="0")])
    for _ in range(2):
        sync.with_(venue)
    venue.positions = [position("1", stopLoss="", takeProfit="")]
    sync.with_(venue)
    assert [event for event in sync.events if isinstance(event, StopsChanged)] == [
        StopsChanged(NOW, "BTCUSDT", Decimal("90.5"), None),
        StopsChanged(NOW, "BTCUSDT", None, None),
    ]


def test_stops_end_with_their_position() -> None:
    sync = Sync()
    sync.stops_set(StopsChanged(NOW, "BTCUSDT", Decimal(90), None))
    sync.on_position(position("0", stopLoss="0"), NOW)
    assert sync.stops == {}
    sync.stops_set(StopsChanged(NOW, "BTCUSDT", Decimal(90), None))
    sync.with_(Venue())
    assert sync.stops == {}


def test_a_position_without_a_stop_is_naked() -> None:
    sync = Sync()
    assert not sync.is_naked("BTCUSDT")
    sync.on_execution(execution(qty="1"))
    assert sync.is_naked("BTCUSDT")
    sync.on_position(position("1", stopLoss="90"), NOW)
    assert not sync.is_naked("BTCUSDT")


def test_the_account_in_our_words() -> None:
    orders = [
        order_row("New", "bot1-1-0", orderType="Limit", price="99", qty="2"),
        order_row("PartiallyFilled", "bot1-2-0", order="v2", qty="2", cum="0.5", price="105"),
        order_row("New", "mine-by-hand", order="v3"),
        order_row("Untriggered", "", order="v4", stopOrderType="StopLoss", reduceOnly=True),
        order_row("New", "bot2x-1-0", order="v5"),
    ]
    sync = Sync()
    sync.with_(Venue(orders=orders))
    assert sync.account.wallet_quote == 1000
    assert sync.account.orders == (
        OpenOrder("bot1-1-0", "BTCUSDT", "Buy", "Limit", Decimal(2), Decimal(0), Decimal(99), False),
        OpenOrder("bot1-2-0", "BTCUSDT", "Buy", "Market", Decimal(2), Decimal("0.5"), None, False),
    )
    assert sync.account.foreign_orders == 2


def test_an_order_of_an_earlier_process_that_shows_late_is_taken_over() -> None:
    sync = Sync()
    sync.with_(Venue(orders=[order_row("New", "bot1-1-0", qty="1")]))
    assert "bot1-1-0" in sync.table.live
    sync.on_execution(execution("x", "bot1-1-0", qty="1"))
    assert sync.kinds == ["Synced", "Filled"]


def test_a_reading_during_which_something_was_executed_is_repeated() -> None:
    sync, venue = Sync(), Venue()

    def trade(step: SyncStep) -> None:
        if isinstance(step, ReadAccount) and not venue.executions:
            venue.executions = [execution("x", "", order="o", qty="1")]
            venue.positions = [position("1")]

    venue.on_step = trade
    sync.with_(venue)
    assert sync.counts == {"unsteady_readings": 1}
    assert sync.account.holdings == (Holding("BTCUSDT", Decimal(1), Decimal(100)),)


def test_an_account_that_never_holds_still_is_read_later() -> None:
    sync, venue = Sync(), Venue()
    venue.on_step = lambda step: venue.executions.append(
        execution(f"x{len(venue.executions)}", "", order="o", qty="1")
    )
    with pytest.raises(Retryable, match="hold still"):
        sync.with_(venue)
    assert sync.counts["unsteady_readings"] == READ_TRIES
    assert "Synced" not in sync.kinds


def test_executions_are_read_since_the_last_reading_that_was_confirmed() -> None:
    sync, venue = Sync(), Venue()
    sync.with_(venue, at_ms=LATER)
    venue.steps.clear()
    sync.with_(venue, at_ms=LATER + 5_000)
    assert [step.since_ms for step in venue.steps if isinstance(step, ReadExecutions)] == [LATER - 100] * 2


@given(st.data())
def test_whatever_the_stream_lost_the_reading_makes_the_table_agree(data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    sides = [data.draw(st.sampled_from(["Buy", "Sell"])) for _ in parts]
    rows = [
        execution(f"x{n}", "", order=f"o{n}", qty=str(part), side=side, time=NOW + n)
        for n, (part, side) in enumerate(zip(parts, sides, strict=True))
    ]
    sync = Sync()
    for row in data.draw(st.lists(st.sampled_from(rows), max_size=8)):
        sync.on_execution(row)
    total = sum(part if side == "Buy" else -part for part, side in zip(parts, sides, strict=True))
    held = [position(str(abs(total)), side="Buy" if total > 0 else "Sell")] if total else []
    sync.with_(Venue(held, executions=rows[::-1]))
    assert sync.counts["adrift"] == 0
    assert sync.table.positions.get("BTCUSDT", Decimal(0)) == total
    assert sync.kinds == ["Filled"] * len(rows) + ["Synced"]


# Taking over


def test_a_start_takes_over_positions_orders_and_what_was_filled() -> None:
    sync = Sync(adopted=False, symbols=["BTCUSDT"])
    sync.recall([Order("bot1-1-0", intent(qty="2"))], 0)
    venue = Venue(
        [position("0.5", stopLoss="90")],
        [order_row("PartiallyFilled", "bot1-1-0", qty="2", cum="0.5")],
        [execution(link="bot1-1-0", qty="0.5")],
    )
    sync.with_(venue)
    assert sync.events == [Synced(LATER, sync.account, first=True)]
    assert sync.table.adopted
    half = Decimal("0.5")
    assert sync.account.holdings == (
        Holding("BTCUSDT", half, Decimal(100), Decimal(90), own_qty=half),  # a row shows who opened it
    )
    assert sync.table.positions == {"BTCUSDT": Decimal("0.5")}
    sync.with_(venue)
    assert sync.kinds == ["Synced", "Synced"]
    assert not any(isinstance(step, AskOnce | Wait) for step in venue.steps)


def test_a_start_awaits_the_fate_of_every_order_that_the_store_knows_and_the_venue_does_not_show() -> None:
    sync = Sync(adopted=False)
    sync.recall([Order(f"bot1-{n}-0", intent()) for n in range(3)], 0)
    venue = Venue(orders=[order_row("New", "bot1-1-0")])

    def end(step: SyncStep) -> None:
        if isinstance(step, AwaitFates):
            assert not sync.table.adopted
            for order_id in step.order_ids:
                sync.on_trace(order_id, OrderTrace(order_row("Cancelled", order_id)), None, NOW)

    venue.on_step = end
    sync.with_(venue)
    assert [step for step in venue.steps if isinstance(step, AwaitFates)] == [
        AwaitFates(("bot1-0-0", "bot1-2-0"))
    ]
    assert set(sync.table.live) == {"bot1-1-0"}
    assert sync.kinds == ["Synced"]


def test_fills_since_the_last_process_are_emitted_before_the_account_and_not_booked() -> None:
    sync = Sync(adopted=False)
    sync.recall([], NOW)
    rows = [execution("new", "bot1-1-0", time=NOW + 1), execution("old", "bot1-1-0", order="v0", time=NOW)]
    sync.with_(Venue([position("1")], executions=rows))
    assert sync.kinds == ["Filled", "Synced"]
    assert sync.table.positions == {"BTCUSDT": Decimal(1)}


@pytest.mark.parametrize(
    "venue",
    [Venue(orders=[order_row("New", "by-hand")]), Venue([position("1", "XRPUSDT")])],
    ids=["order", "position"],
)
def test_a_start_refuses_what_is_not_ours_if_it_is_told_to(venue: Venue) -> None:
    with pytest.raises(Rejected, match="foreign"):
        Sync(adopted=False, foreign="refuse").with_(venue)
    counted = Sync(adopted=False)
    counted.with_(venue)
    assert counted.kinds == ["Synced"]


def moved(change: str, at_ms: int, kind: str = "TRADE") -> wire.TransactionRow:
    return wire.TransactionRow(
        id=f"{kind}-{at_ms}", change=change, transactionTime=str(at_ms), type=kind, cashBalance="0"
    )


def resumed(*money: wire.TransactionRow, wallet: str) -> Sync:
    """A process that goes on from an account whose wallet was 1000 at ``NOW``; it has read it once."""
    sync = Sync(adopted=False)
    sync.resume(KnownAccount(NOW, Decimal(1000), {}, (), ()), NOW)
    venue = Venue(wallet=wallet)
    venue.money = list(money)
    sync.with_(venue)
    return sync


def test_a_row_that_the_log_shows_late_is_no_reset_of_the_account() -> None:
    assert resumed(moved("-7", NOW - 50), wallet="993").account.replaced == ""
    assert "was reset" in resumed(wallet="993").account.replaced


def test_a_transfer_from_before_the_account_was_known_is_not_booked_again() -> None:
    before, after = moved("5", NOW - 50, "TRANSFER_IN"), moved("9", NOW + 1, "TRANSFER_IN")
    sync = resumed(before, after, wallet="1009")
    assert [each.amount_quote for each in sync.events if isinstance(each, Transferred)] == [9]


def test_a_reading_that_was_abandoned_begins_anew() -> None:
    sync = Sync(adopted=False)
    steps = sync.read(NOW, LATER)
    next(steps)
    steps.close()
    sync.with_(Venue())
    assert sync.kinds == ["Synced"]


# One order


def test_an_id_that_was_used_long_before_is_refused() -> None:
    sync = Sync()
    sync.table.send(ID, intent(), NOW + 1_000)
    sync.on_trace(ID, OrderTrace(order_row("Filled", cum="1")), None, NOW)
    assert [type(event) for event in sync.events] == [OrderRejected]


@pytest.mark.parametrize(("qty", "kind"), [("1", "OrderAccepted"), ("2", "OrderRejected")])
def test_a_used_id_is_ours_only_if_the_order_is_as_intended(qty: str, kind: str) -> None:
    sync = Sync()
    sync.table.send(ID, intent(qty="1"), NOW)
    sync.on_trace(ID, OrderTrace(order_row("New", qty=qty)), intent(qty="1"), NOW)
    assert sync.kinds == [kind]


def test_a_row_that_cannot_be_changes_nothing() -> None:
    sync = Sync(ID)
    with pytest.raises(BadInput):
        sync.on_trace(ID, OrderTrace(None, (execution(qty="x"),)), None, NOW)
    assert (sync.events, sync.table.positions) == ([], {})


def test_the_proof_of_an_absence_ends_the_order() -> None:
    sync = Sync(ID)
    assert sync.agrees("BTCUSDT", [position("0")])
    assert not sync.agrees("BTCUSDT", [position("1")])
    sync.never_existed(ID, NOW)
    assert sync.events == [OrderCancelled(NOW, ID, "NeverExisted")]


def test_rows_of_one_instant_keep_the_venues_order() -> None:
    newest_first = [execution("c", time=NOW + 1), execution("b", time=NOW), execution("a", time=NOW)]
    assert [row.execId for row in by_time(newest_first)] == ["a", "b", "c"]
