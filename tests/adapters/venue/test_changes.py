"""The venue adapter at a local exchange that behaves as Bybit does since its changes of 2025-26."""

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from bot.bybit.hosts import local_urls
from bot.domain.messages import Filled, InstrumentChanged, LinkUp, OrderRejected, OrderRepriced, Synced
from bot.simulator.config import AccessRules
from bot.simulator.faults.plan import Fault
from bot.simulator.server import ExchangeServer
from tests.adapters.venue.live import config_for, exchange_with, venue_at

D = Decimal


def strike(exchange: ExchangeServer, **fault: object) -> None:
    made = Fault(**fault)  # type: ignore[arg-type]
    exchange.world.check(made)
    exchange.planned.post(made)
    exchange.planned.step()


@pytest.mark.parametrize("by", ["default", "fault"])
async def test_a_fee_in_another_coin_is_booked_at_its_worth(tmp_path: Path, by: str) -> None:
    rules = AccessRules(fee_coin="MNT" if by == "default" else "")
    async with exchange_with(rules=rules) as exchange, venue_at(exchange, tmp_path) as trader:
        if by == "fault":
            strike(exchange, kind="account", changes={"fee_coin": "MNT"})
        order_id = trader.place(trader.intent("0.02"))
        await trader.until(lambda: trader.filled(order_id) == D("0.02"))
        fills = [event.fill for event in trader.told(Filled)]
        for fill in fills:
            assert abs(fill.fee_quote - fill.qty * fill.price * D("0.00055")) < D("1e-11")
            assert fill.fee_known
        assert trader.venue.facts()["venue_fees_in_other_coins"] == len(fills)
        assert trader.venue.facts()["venue_amounts_unknown"] == 0


async def test_taxes_are_part_of_the_cost(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        tax = '[{"feeCoin":"USDT","feeType":"GST","feeRate":"0.000099","fee":"0.25"}]'
        strike(exchange, kind="fields", match="execution", changes={"extraFees": tax})
        order_id = trader.place(trader.intent("0.02"))
        await trader.until(lambda: trader.filled(order_id) == D("0.02"))
        (fill,) = [event.fill for event in trader.told(Filled)]
        assert fill.fee_quote == (fill.qty * fill.price * D("0.00055")).quantize(D("1e-8")) + D("0.25")


async def test_a_fee_that_is_not_told_is_marked_and_counted_and_nothing_stops(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        strike(exchange, kind="fields", changes={"execFee": "", "feeRate": "gone"})
        order_id = trader.place(trader.intent("0.02"))
        await trader.until(lambda: trader.filled(order_id) == D("0.02"))
        (fill,) = [event.fill for event in trader.told(Filled)]
        assert (fill.fee_quote, fill.fee_known) == (0, False)
        assert trader.venue.facts()["venue_amounts_unknown"] == 1


async def test_a_limit_price_that_was_moved_is_noticed(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        exchange.market.thin = D("0.001")
        wanted = trader.limit("0.05", frac="1.05")
        order_id = trader.place(wanted)
        await trader.until(lambda: trader.told(OrderRepriced))
        (told,) = trader.told(OrderRepriced)
        (row,) = trader.desk.engine.open_orders("BTCUSDT")
        assert wanted.price is not None
        assert (told.order_id, told.price) == (order_id, row.price)
        assert told.price < wanted.price
        assert trader.venue.table.live[order_id].price == row.price
        assert trader.venue.facts()["venue_prices_moved"] == 1


@pytest.mark.parametrize("code", [110123, 110124, 110125, 110100, 110017, 30208])
async def test_a_refusal_of_any_kind_is_told_with_its_code(tmp_path: Path, code: int) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        strike(exchange, kind="reject", match="order.create", code=code, words="orderQty will be truncated")
        trader.place(trader.intent("0.02"))
        await trader.until(lambda: trader.told(OrderRejected))
        assert [event.code for event in trader.told(OrderRejected)] == [code]


@pytest.mark.parametrize("field", ["walletBalance", "size", "avgPrice"])
async def test_a_blank_number_of_the_account_is_waited_for_and_never_0(tmp_path: Path, field: str) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path, reconcile_ms=100) as trader:
        order_id = trader.place(trader.intent("0.02"))
        await trader.until(lambda: trader.filled(order_id) == D("0.02"))
        changes = {field: ""} | ({"positionValue": ""} if field == "avgPrice" else {})
        strike(exchange, kind="fields", on="rest", changes=changes)
        await trader.until(lambda: trader.venue.counts["sync_failed"])
        syncs = len(trader.told(Synced))
        exchange.planned.clear()
        await trader.until(lambda: len(trader.told(Synced)) > syncs + 1)
        for event in trader.told(Synced)[1:]:
            assert event.account.wallet_quote > 90_000
            assert [held.qty for held in event.account.holdings] in ([], [D("0.02")])
        assert trader.told(Synced)[-1].account.holdings[0].entry_price > 0
        assert trader.told(LinkUp)


async def test_blank_and_new_fields_where_nobody_needs_them_change_nothing(tmp_path: Path) -> None:
    blank = ("availableToWithdraw", "unrealisedPnl", "liqPrice", "avgPrice", "cumExecFee", "createType")
    changes = {**dict.fromkeys(blank, ""), "symbolType": "commodity", "rejectReason": "EC_New2027"}
    async with exchange_with() as exchange:
        strike(exchange, kind="fields", match="order", changes=changes)
        strike(exchange, kind="fields", match="wallet", changes=changes)
        strike(exchange, kind="fields", match="/v5/account/*", changes=changes)
        async with venue_at(exchange, tmp_path) as trader:
            order_id = trader.place(trader.intent("0.02"))
            await trader.until(lambda: trader.filled(order_id) == D("0.02"))
            assert trader.venue.counts["private_bad"] == 0


async def test_a_corporate_action_moves_the_position_and_is_nobodys_order(tmp_path: Path) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        order_id = trader.place(trader.intent("0.02"))
        await trader.until(lambda: trader.filled(order_id) == D("0.02"))
        changes = {"execType": "CorporateAction", "createType": "CreateByNew"}
        strike(exchange, kind="fields", match="execution", changes=changes)
        strike(exchange, kind="adl", symbol="BTCUSDT", qty="0.005")
        await trader.until(lambda: trader.venue.table.positions["BTCUSDT"] == D("0.015"))
        assert trader.told(Filled)[-1].fill.cause == "order"
        assert trader.venue.table.foreign_fills == 1


async def test_an_order_that_closed_before_a_restart_of_the_venue_is_found_in_the_history(
    tmp_path: Path,
) -> None:
    async with exchange_with() as exchange, venue_at(exchange, tmp_path) as trader:
        strike(exchange, kind="drop", on="private")
        strike(exchange, kind="drop", on="trade", match="op:order*")
        order_id = trader.place(trader.intent("0.02"))
        await trader.until(lambda: trader.held() == D("0.02"))
        trader.desk.ledger.orders.restarted()
        await trader.until(lambda: trader.filled(order_id) == D("0.02"), within_s=6.0)
        assert order_id not in trader.venue.table.live


async def test_demo_trading_works_without_the_trade_stream_and_the_paths_it_lacks(tmp_path: Path) -> None:
    async with exchange_with(rules=AccessRules(demo=True)) as exchange:
        urls = local_urls(exchange.http_url)
        assert config_for(exchange).urls.trade_ws is not None
        urls = msgspec.structs.replace(urls, trade_ws=None)
        async with venue_at(exchange, tmp_path, kind="demo", urls=urls) as trader:
            order_id = trader.place(trader.intent("0.02"))
            await trader.until(lambda: trader.filled(order_id) == D("0.02"))
            assert trader.venue.counts["sent_by_rest"] == 1


async def test_a_contract_with_a_date_of_delisting_takes_exits_only_and_its_end_is_booked(
    tmp_path: Path,
) -> None:
    async with (
        exchange_with(speed=60.0) as exchange,
        venue_at(exchange, tmp_path, instruments_ms=50, max_clock_offset_ms=10**9) as trader,
    ):
        order_id = trader.place(trader.intent("0.02"))
        await trader.until(lambda: trader.filled(order_id) == D("0.02"))
        ends = str(exchange.market.now_ms() + 120_000)
        strike(exchange, kind="rules", symbol="BTCUSDT", changes={"delivery_ms": ends})
        await trader.until(lambda: trader.told(InstrumentChanged)[-1].instrument.status == "Delivering")
        await trader.until(lambda: trader.told(Filled)[-1].fill.cause == "settle", within_s=6.0)
        last = trader.told(Filled)[-1].fill
        assert (last.qty, last.fee_quote) == (D("0.02"), 0)
        assert trader.venue.table.positions["BTCUSDT"] == 0
