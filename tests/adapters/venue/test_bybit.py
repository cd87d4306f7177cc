"""The venue adapter at the local exchange, when all is well and when messages are merely odd."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bot.adapters.venue.kill import clear_orders
from bot.bybit.hosts import local_urls
from bot.domain.messages import (
    CancelOrder,
    Candle,
    Filled,
    InstrumentChanged,
    LinkDown,
    LinkUp,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    Quote,
    RejectCause,
    SetStops,
    SetTrailing,
    StopsChanged,
    StopsRejected,
    Synced,
)
from bot.simulator.faults.hooks import FaultAction
from tests.adapters.venue.live import Mischief, Trader, exchange_with, kinds, venue_at


async def test_the_account_comes_first_then_the_line_is_up(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        await trader.until(lambda: trader.told(LinkUp))
        assert kinds(trader.events) == [
            "LinkDown", "InstrumentChanged", "InstrumentChanged", "Synced", "LinkUp",
        ]  # fmt: skip
        (synced,) = trader.told(Synced)
        assert synced.first
        assert synced.account.wallet_quote == 100_000
        assert synced.account.holdings == synced.account.orders == ()
        symbols = {event.instrument.symbol for event in trader.told(InstrumentChanged)}
        assert symbols == {"BTCUSDT", "ETHUSDT"}


@pytest.mark.parametrize("socket", [True, False])
async def test_a_market_order_is_accepted_and_filled(tmp_path: Path, socket: bool) -> None:
    async with exchange_with() as exchange:
        urls = local_urls(exchange.http_url)
        if not socket:
            urls = msgspec.structs.replace(urls, trade_ws=None)
        async with venue_at(exchange, tmp_path, urls=urls) as trader:
            if socket:
                await trader.until(lambda: trader.venue.facts()["venue_trade_socket"])
            order_id = trader.place(trader.intent("0.02"))
            await trader.until(lambda: trader.filled(order_id) == Decimal("0.02"))
            assert {event.fill.cause for event in trader.told(Filled)} == {"order"}
            assert trader.venue.table.live == {}
            assert trader.of(order_id).count("OrderAccepted") <= 1
            assert trader.held() == Decimal("0.02")
            assert trader.venue.counts["sent" if socket else "sent_by_rest"] == 1


async def test_a_resting_order_is_taken_back(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        order_id = trader.place(trader.limit())
        await trader.until(lambda: trader.of(order_id) == ["OrderAccepted"])
        trader.venue.submit(CancelOrder(order_id, "BTCUSDT"))
        await trader.until(lambda: len(trader.of(order_id)) == 2)
        (event,) = trader.told(OrderCancelled)
        assert event.reason == "CancelByUser"
        assert trader.desk.engine.open_orders("BTCUSDT") == []


async def test_an_order_leaves_before_its_submission_returns(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        await trader.until(lambda: trader.venue.facts()["venue_trade_socket"])
        order_id = trader.place(trader.limit())
        assert trader.venue.counts["sent"] == 1
        await trader.until(lambda: trader.of(order_id) == ["OrderAccepted"])


async def test_an_order_that_has_not_left_is_taken_back_without_leaving(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        trader.rest.budget.limited("create", asyncio.get_running_loop().time() * 1000.0 + 1_000.0)
        order_id = trader.place(trader.limit())
        trader.venue.submit(CancelOrder(order_id, "BTCUSDT"))
        await trader.until(lambda: trader.of(order_id))
        await asyncio.sleep(0.05)
        assert trader.of(order_id) == ["OrderCancelled"]
        assert trader.venue.counts["sent"] + trader.venue.counts["sent_by_rest"] == 0


async def test_orders_leave_in_the_order_they_came(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        ids = [trader.place(trader.limit("0.01", f"0.{80 + n}")) for n in range(10)]
        await trader.until(lambda: len(trader.told(OrderAccepted)) == 10)
        rows = sorted(trader.desk.engine.open_orders("BTCUSDT"), key=lambda each: each.created_ms)
        assert [row.link_id for row in rows] == ids


async def test_an_entry_whose_stop_the_price_has_passed_is_told_as_missed(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        stop = (trader.price() * Decimal("1.01")).quantize(Decimal("0.1"))
        trader.place(trader.intent("0.01", stop_loss=stop))
        await trader.until(lambda: trader.told(OrderRejected))
        (event,) = trader.told(OrderRejected)
        assert (event.code, event.cause) == (10001, RejectCause.MISSED)


@pytest.mark.fault(59)
async def test_the_exchange_takes_the_bound_of_a_market_order(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        order_id = trader.place(trader.intent("0.02"), max_slippage_bps=40)
        await trader.until(lambda: trader.filled(order_id) == Decimal("0.02"))
        (order,) = [o.order for o in trader.desk.ledger.orders._all.values() if o.order.link_id == order_id]
        assert (order.slippage_type, order.slippage) == ("Percent", Decimal("0.4"))


async def test_an_exit_of_a_position_that_is_gone_has_the_account_read_at_once(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        readings = trader.venue.counts["syncs"]
        trader.place(trader.intent("0.01", side="Sell", reduce_only=True))
        await trader.until(lambda: trader.told(OrderRejected))
        assert trader.told(OrderRejected)[0].cause is RejectCause.MISSED
        await trader.until(lambda: trader.venue.counts["syncs"] > readings)


async def test_a_refusal_is_told_with_its_code(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        order_id = trader.place(trader.limit("400"))
        await trader.until(lambda: trader.of(order_id) == ["OrderRejected"])
        (event,) = trader.told(OrderRejected)
        assert event.code == 110007
        assert trader.venue.table.live == {}


async def test_a_post_only_order_that_would_take_is_told_as_that(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        trader.place(trader.limit("0.01", "1.01", time_in_force="PostOnly"))
        await trader.until(lambda: trader.told(OrderCancelled))
        assert trader.told(OrderCancelled)[0].reason == "EC_PostOnlyWillTakeLiquidity"


@pytest.mark.invariant(27)
async def test_an_entry_has_its_stop_at_the_venue_within_a_second(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        stop = (trader.price() * Decimal("0.9")).quantize(Decimal("0.1"))
        trader.place(trader.intent(stop_loss=stop))
        await trader.until(lambda: trader.told(Filled))
        assert await trader.until(lambda: trader.told(StopsChanged)) < 1.0
        assert trader.told(StopsChanged)[0].stop_loss == stop
        trader.trade_through(stop - 1)
        await trader.until(lambda: trader.filled() == Decimal("0.02"))
        fill = trader.told(Filled)[-1].fill
        assert (fill.side, fill.cause) == ("Sell", "stop_loss")
        assert trader.venue.table.positions["BTCUSDT"] == trader.held() == 0
        assert trader.venue.counts["naked"] == 0


@pytest.mark.invariant(27)
async def test_a_position_without_a_stop_is_reported_until_it_has_one(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        trader.place(trader.intent())
        await trader.until(lambda: trader.told(StopsChanged))
        assert trader.told(StopsChanged)[0].stop_loss is None
        stop = (trader.price() * Decimal("0.9")).quantize(Decimal("0.1"))
        trader.venue.submit(SetStops("BTCUSDT", stop, None))
        await trader.until(lambda: trader.told(StopsChanged)[-1].stop_loss == stop)
        assert trader.desk.engine.position("BTCUSDT", 0).stop_loss == stop
        await asyncio.sleep(0.05)  # the position's own push says the same, once
        assert len(trader.told(StopsChanged)) == 2


async def test_a_trailing_stop_follows_at_the_venue_and_every_reading_shows_it(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        start = trader.price()
        stop, distance = ((start * Decimal(part)).quantize(Decimal("0.1")) for part in ("0.9", "0.02"))
        trader.place(trader.intent(stop_loss=stop))
        await trader.until(lambda: trader.told(StopsChanged))
        trader.venue.submit(SetTrailing("BTCUSDT", distance))
        await trader.until(lambda: trader.told(StopsChanged)[-1].trailing_stop == distance)
        assert trader.told(StopsChanged)[-1].stop_loss == stop
        trader.venue._sync_wanted.set()
        await trader.until(lambda: len(trader.told(Synced)) > 1)
        (held,) = trader.told(Synced)[-1].account.holdings
        assert (held.stop_loss, held.trailing_stop) == (stop, distance)
        trader.trade_through(start * Decimal("1.05"))
        trader.trade_through(start * Decimal("1.02"))
        await trader.until(lambda: trader.filled() == Decimal("0.02"))
        assert trader.told(Filled)[-1].fill.cause == "stop_loss"
        assert trader.held() == 0


async def test_a_trailing_stop_that_finds_its_position_closed_is_no_refusal(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        trader.venue.submit(SetTrailing("BTCUSDT", Decimal(100)))
        await trader.until(lambda: trader.venue.counts["stops_refused"])
        assert not trader.told(StopsRejected)


async def test_stops_for_no_position_are_refused_under_their_own_name(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        trader.venue.submit(SetStops("BTCUSDT", Decimal(1000), None))
        await trader.until(lambda: trader.told(StopsRejected))
        assert trader.told(StopsRejected)[0].symbol == "BTCUSDT"


async def test_a_fill_of_somebody_else_moves_the_position_and_is_counted(tmp_path: Path) -> None:
    async with (
        exchange_with() as exchange,
        venue_at(exchange, tmp_path / "a", prefix="other", run="other1") as stranger,
        venue_at(exchange, tmp_path / "b") as trader,
    ):
        stranger.place(stranger.intent("0.03"))
        await trader.until(lambda: trader.filled("other1-1-0") == Decimal("0.03"))
        assert trader.venue.table.positions == {"BTCUSDT": Decimal("0.03")}
        assert trader.venue.facts()["venue_foreign_fills"]


@pytest.mark.fault(34)
async def test_every_message_three_times_is_every_fill_once(tmp_path: Path) -> None:
    faults = Mischief()
    faults.on_out = lambda _, topic, text: None if topic.startswith("op:") else [(0.0, text)] * 3
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        for _ in range(5):
            trader.place(trader.intent())
        await trader.until(lambda: trader.filled() == Decimal("0.05"))
        await asyncio.sleep(0.05)
        assert trader.filled() == trader.held() == Decimal("0.05")
        assert trader.venue.facts()["venue_duplicates"] == 2 * len(trader.told(Filled))


async def test_a_position_that_no_execution_explains_is_told_by_the_reading(tmp_path: Path) -> None:
    faults = Mischief()
    hidden = {"execution"}
    faults.on_out = lambda _, topic, text: [] if topic in hidden else None
    faults.on_answered = lambda request, body: (
        b'{"retCode":0,"retMsg":"OK","result":{"category":"linear","nextPageCursor":"","list":[]}}'
        if request.path == "/v5/execution/list"
        else body
    )
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path, reconcile_ms=100) as trader:
        trader.place(trader.intent("0.05"))
        await trader.until(lambda: trader.venue.counts["adrift"], within_s=8)
        await trader.until(lambda: len(trader.told(Synced)) > 1)
        assert trader.told(Filled) == []
        assert [each.qty for each in trader.told(Synced)[-1].account.holdings] == [Decimal("0.05")]


async def test_a_message_that_cannot_be_read_has_the_account_read(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        faults.on_out = lambda _, topic, text: (
            [(0.0, text.replace('"execQty":"', '"execQty":"x'))] if topic == "execution" else None
        )
        trader.place(trader.intent())
        await trader.until(lambda: trader.told(Filled))
        assert trader.venue.counts["private_bad"] >= 1


async def test_funding_is_no_fill(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        trader.place(trader.intent("0.1"))
        await trader.until(lambda: trader.filled() == Decimal("0.1"))
        exchange.accounts.on_funding("BTCUSDT", exchange.market.now_ms(), Decimal("0.001"))
        await trader.until(lambda: "FundingPaid" in kinds(trader.events))
        paid = next(event for event in trader.events if type(event).__name__ == "FundingPaid")
        assert paid.amount_quote < 0  # type: ignore[union-attr]
        assert trader.filled() == Decimal("0.1")


@pytest.mark.fault(38)
async def test_new_rules_are_told_when_the_venue_speaks_of_them(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path, instruments_ms=50) as trader:
        rules = trader.venue.rules["BTCUSDT"]
        changed = msgspec.structs.replace(rules, qty_step=Decimal("0.01"))
        exchange.market.set_instrument(changed)
        await trader.until(lambda: len(trader.told(InstrumentChanged)) == 3)
        assert trader.told(InstrumentChanged)[-1].instrument.qty_step == Decimal("0.01")


# Rules that change while the bot runs


def change_rules(trader: Trader, **changes: str) -> None:
    there = trader.exchange.market.instrument("BTCUSDT")
    values = {name: Decimal(value) for name, value in changes.items()}
    trader.exchange.market.set_instrument(msgspec.structs.replace(there, **values))


@pytest.mark.fault(38)
async def test_an_order_that_does_not_fit_new_rules_is_rounded_to_them_and_sent_again(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        change_rules(trader, qty_step="0.1", min_qty="0.1")
        order_id = trader.place(trader.intent("0.25"))
        await trader.until(lambda: trader.told(OrderCancelled))
        assert trader.filled(order_id) == Decimal("0.2")
        assert trader.told(OrderRejected) == []
        assert trader.told(InstrumentChanged)[-1].instrument.qty_step == Decimal("0.1")
        assert trader.venue.counts["fitted"] == 1


@pytest.mark.fault(38)
async def test_a_limit_off_a_new_grid_is_moved_to_our_side_of_it(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        change_rules(trader, tick_size="50")
        limit = trader.limit("0.01", "0.99", price=Decimal("95010"))
        order_id = trader.place(limit)
        await trader.until(lambda: trader.of(order_id) == ["OrderAccepted"])
        (order,) = trader.desk.engine.open_orders(None)
        assert order.price == Decimal("95000")


@pytest.mark.fault(38)
async def test_what_no_rounding_makes_fit_is_refused_once_and_the_rules_are_known(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        change_rules(trader, qty_step="0.1", min_qty="0.1")
        for _ in range(3):
            trader.place(trader.intent("0.05"))
        await trader.until(lambda: len(trader.told(OrderRejected)) == 3)
        assert {event.code for event in trader.told(OrderRejected)} == {10001}
        assert trader.told(InstrumentChanged)[-1].instrument.min_qty == Decimal("0.1")
        asked = [
            path for _, path in faults.requests if "instruments-info" in path and "symbol=BTCUSDT" in path
        ]
        assert len(asked) == 1  # however many orders are refused
        assert trader.venue.counts["fitted"] == 0


@pytest.mark.fault(38)
async def test_a_refusal_that_the_rules_do_not_explain_stands_after_one_look(tmp_path: Path) -> None:
    faults = Mischief()
    body = b'{"retCode":10001,"retMsg":"params error: side invalid","result":{},"retExtInfo":{},"time":0}'
    tries: list[str] = []

    def refuse(request: Any) -> FaultAction | None:
        if request.path.endswith("order/create"):
            tries.append(request.path)
            return FaultAction(body=body)
        return None

    async with exchange_with(faults) as exchange:
        faults.barred.add("trade")
        async with venue_at(exchange, tmp_path) as trader:
            faults.on_rest = refuse
            order_id = trader.place(trader.intent("0.05"))
            await trader.until(lambda: trader.of(order_id) == ["OrderRejected"])
            assert len(tries) == 1


@pytest.mark.fault(45)
async def test_a_kill_takes_back_entries_and_leaves_what_protects(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        stop = (trader.price() * Decimal("0.9")).quantize(Decimal("0.1"))
        trader.place(trader.intent("0.05", stop_loss=stop))
        await trader.until(lambda: trader.told(StopsChanged))
        exit_id = trader.place(trader.limit("0.01", "1.05", side="Sell", reduce_only=True))
        entries = [trader.place(trader.limit("0.01", f"0.{90 + n}")) for n in range(5)]
        await trader.until(lambda: len(trader.told(OrderAccepted)) >= 6)
        assert await trader.venue.clear() == []
        left = trader.desk.engine.open_orders(None)
        assert not {order.link_id for order in left} & set(entries)
        assert exit_id in {order.link_id for order in left}
        assert "StopLoss" in {order.stop_order_type for order in left}


@pytest.mark.fault(45)
async def test_a_kill_names_what_it_could_not_take_back(tmp_path: Path) -> None:
    faults = Mischief()
    async with exchange_with(faults) as exchange, venue_at(exchange, tmp_path) as trader:
        order_id = trader.place(trader.limit())
        await trader.until(lambda: trader.told(OrderAccepted))
        faults.on_rest = lambda request: FaultAction(status=502) if request.path.endswith("cancel") else None
        assert await clear_orders(trader.rest, "bot", within_s=0.5) == [order_id]


@pytest.mark.fault(13)
async def test_beside_a_feed_of_another_market_the_venues_own_prices_are_told(tmp_path: Path) -> None:
    changes = {"feed_is_venue": False, "quotes_ms": 20}
    async with exchange_with() as exchange, venue_at(exchange, tmp_path, **changes) as trader:
        await trader.until(lambda: {"Quote", "MarkPrice"} <= set(kinds(trader.events)))
        quotes = trader.told(Quote)
        assert all(0.0 < quote.bid <= quote.ask for quote in quotes)
        assert {quote.symbol for quote in quotes} <= {"BTCUSDT", "ETHUSDT"}
        feed = float(trader.price()) * 2
        trader.venue.advance(Candle(0, "BTCUSDT", 60_000, 0, feed, feed, feed, feed, 1.0))
        await asyncio.sleep(0.1)
        assert [event for event in trader.told(LinkDown) if event.what == "divergence"] == []
        trader.venue.advance(Candle(0, "BTCUSDT", 60_000, 0, feed, feed * 1.1, feed, feed * 1.1, 1.0))
        await trader.until(lambda: [e for e in trader.told(LinkDown) if e.what == "divergence"])
        trader.venue.advance(Candle(0, "BTCUSDT", 60_000, 0, feed, feed, feed, feed, 1.0))
        await trader.until(lambda: [e for e in trader.told(LinkUp) if e.what == "divergence"])
