"""What Bybit changed in 2025-26, shown by the local exchange: by default, or behind a switch or a fault."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from bot.domain.errors import BadInput
from bot.simulator.config import AccessRules, ExchangeConfig
from bot.simulator.faults.plan import Fault
from bot.simulator.faults.planned import reshaped
from bot.simulator.server import ExchangeServer, running
from tests.simulator.stage import SYMBOL, Stage

D = Decimal


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.price("64000")
    return made


# Fees in another coin


def test_fees_taken_in_another_coin_are_shown_in_it_everywhere_and_usdt_pays_none(stage: Stage) -> None:
    stage.desk.set_rules(fee_coin="MNT")
    before = stage.ask("/account/wallet-balance", accountType="UNIFIED")["result"]["list"][0]
    stage.buy("0.01")
    # 0.01 x 64000.1 x 0.00055 = 0.35200055 USDT = 0.28160044 MNT at 1.25
    (execution,) = stage.pushes("execution")[0]["data"]
    assert (execution["feeCurrency"], execution["execFee"]) == ("MNT", "0.28160044")
    (listed,) = stage.rows("/execution/list")
    assert (listed["feeCurrency"], listed["execFee"], listed["feeRate"]) == ("MNT", "0.28160044", "0.00055")
    (order,) = stage.rows("/order/history")
    assert (order["cumFeeDetail"], order["cumExecFee"]) == ({"MNT": "0.28160044"}, "")
    after = stage.ask("/account/wallet-balance", accountType="UNIFIED")["result"]["list"][0]
    coins = {coin["coin"]: D(coin["walletBalance"]) for coin in after["coin"]}
    assert coins["USDT"] == 100_000
    assert abs(coins["MNT"] - (10_000 - D("0.28160044"))) < D("1e-8")
    assert abs(D(before["totalWalletBalance"]) - D(after["totalWalletBalance"]) - D("0.35200055")) < D("1e-7")
    assert stage.ask("/account/user-setting-config")["result"]["fmsef"] is True


# Limit prices beyond the band


def test_a_limit_price_beyond_the_band_is_moved_by_default_and_refused_if_the_account_says_so(
    stage: Stage,
) -> None:
    stage.price("64000", qty="0.001")
    stage.rest("0.01", "80000")
    (row,) = stage.rows("/order/realtime")
    assert D(row["price"]) < 80_000
    assert stage.ask("/account/user-setting-config")["result"]["lpaPerp"] is False
    answer = stage.ask("/account/set-limit-px-action", category="linear", modifyEnable=False)
    assert answer["retCode"] == 0
    assert stage.ask("/account/user-setting-config")["result"]["lpaPerp"] is True
    assert stage.rest("0.01", "80000")["retCode"] == 30208
    assert stage.rest("0.01", "50000", side="Sell")["retCode"] == 30209
    moved = stage.order("amend", orderId=row["orderId"], price="81000")
    assert moved["retCode"] == 30208


@pytest.mark.parametrize(
    ("kind", "much", "code"),
    [
        ("TickSize", "1", 0),
        ("TickSize", "10000", 0),
        ("TickSize", "10001", 10001),
        ("TickSize", "0", 10001),
        ("TickSize", "1.5", 10001),
        ("Percent", "0.01", 0),
        ("Percent", "10", 0),
        ("Percent", "10.01", 10001),
    ],
)
def test_the_slippage_tolerance_has_limits(stage: Stage, kind: str, much: str, code: int) -> None:
    assert stage.buy("0.01", slippageToleranceType=kind, slippageTolerance=much)["retCode"] == code


# Orders


def test_cancel_all_takes_500_of_more_orders_and_not_the_oldest(stage: Stage) -> None:
    for symbol, price in (("BTCUSDT", "50000"), ("ETHUSDT", "1000")):
        stage.price("64000" if symbol == "BTCUSDT" else "3000", symbol=symbol)
        for _ in range(300):
            assert stage.rest("0.01", price, symbol=symbol)["retCode"] == 0

    def cancelled() -> list[str]:
        answer = stage.ask("/order/cancel-all", category="linear", settleCoin="USDT")
        return [row["orderId"] for row in answer["result"]["list"]]

    made = [row.order_id for row in stage.engine.open_orders(None)]
    first = cancelled()
    assert len(first) == 500
    assert set(first) not in (set(made[:500]), set(made[100:]))  # picked at random
    assert sorted(first + cancelled()) == sorted(made)
    assert cancelled() == []


def test_a_symbol_holds_ten_conditional_orders(stage: Stage) -> None:
    codes = [
        stage.rest("0.01", "50000", triggerPrice="60000", triggerDirection=2)["retCode"] for _ in range(11)
    ]
    assert codes == [0] * 10 + [110009]


def test_closed_orders_are_only_in_the_history_after_a_restart(stage: Stage) -> None:
    closed = stage.buy("0.01", orderLinkId="closed")["result"]["orderId"]
    open_id = stage.rest(orderLinkId="open")["result"]["orderId"]
    stage.desk.ledger.orders.restarted()
    assert stage.rows("/order/realtime", orderLinkId="closed") == []
    assert [row["orderId"] for row in stage.rows("/order/realtime", openOnly="1")] == []
    assert [row["orderId"] for row in stage.rows("/order/realtime")] == [open_id]
    assert [row["orderId"] for row in stage.rows("/order/history", orderLinkId="closed")] == [closed]
    after = stage.buy("0.01", orderLinkId="after")["result"]["orderId"]
    assert [row["orderId"] for row in stage.rows("/order/realtime", orderLinkId="after")] == [after]


def test_a_cancelled_order_leaves_the_history_after_a_day_also_by_its_id(stage: Stage) -> None:
    stage.rest(orderLinkId="mine")
    stage.order("cancel", orderLinkId="mine")
    assert len(stage.rows("/order/history", orderLinkId="mine")) == 1
    stage.now_ms += 86_400_000 + 10
    assert stage.rows("/order/history", orderLinkId="mine") == []


def test_the_margin_mode_that_is_set_already_is_accepted_without_reasons(stage: Stage) -> None:
    answer = stage.ask("/account/set-margin-mode", setMarginMode="REGULAR_MARGIN")
    assert (answer["retCode"], answer["retMsg"], answer["result"]) == (0, "Request accepted", {"reasons": []})


# Demo trading


def test_demo_trading_knows_no_contract_before_its_launch(stage: Stage) -> None:
    stage.rules_of[SYMBOL] = msgspec.structs.replace(stage.rules_of[SYMBOL], status="PreLaunch")
    stage.engine.change(stage.rules_of[SYMBOL], stage.now_ms)
    assert stage.buy()["retCode"] == 110074
    stage.desk.set_rules(demo=True)
    assert stage.buy()["retCode"] == 110100


# Over sockets


@asynccontextmanager
async def exchange(**changes: Any) -> AsyncIterator[ExchangeServer]:
    fields = {"port": 0, "symbols": ("BTCUSDT", "ETHUSDT"), "ticks_per_s": 20.0} | changes
    async with running(ExchangeConfig(**fields)) as made:
        yield made


async def get(made: ExchangeServer, path: str) -> Any:
    async with aiohttp.ClientSession() as http, http.get(f"{made.http_url}/v5/{path}") as answer:
        return await answer.json()


class Listener:
    """A public websocket and what it said."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def until(self, wanted: Callable[[Any], object]) -> Any:
        async with asyncio.timeout(5):
            while True:
                message = json.loads((await self._socket.receive()).data)
                if wanted(message):
                    return message

    async def subscribe(self, *topics: str) -> Any:
        await self._socket.send_str(json.dumps({"op": "subscribe", "args": topics, "req_id": "1"}))
        return await self.until(lambda message: message.get("op") == "subscribe")


@asynccontextmanager
async def listening(made: ExchangeServer, path: str) -> AsyncIterator[Listener]:
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{made.ws_url}/v5/{path}") as socket:
        yield Listener(socket)


async def test_price_limits_are_a_topic_without_a_type_and_agree_with_rest() -> None:
    async with exchange() as made, listening(made, "public/linear") as client:
        assert (await client.subscribe("priceLimit.BTCUSDT"))["success"]
        push = await client.until(lambda message: message.get("topic") == "priceLimit.BTCUSDT")
        assert set(push) == {"topic", "data", "ts"}
        assert set(push["data"]) == {"symbol", "buyLmt", "sellLmt"}
        result = (await get(made, "market/price-limit?category=linear&symbol=BTCUSDT"))["result"]
        last = float(made.market.last("BTCUSDT"))
        assert float(result["sellLmt"]) < last < float(result["buyLmt"])
        assert abs(float(result["buyLmt"]) / float(push["data"]["buyLmt"]) - 1) < 0.01


@pytest.mark.parametrize("topic", ["orderbook.500.BTCUSDT", "liquidation.BTCUSDT"])
async def test_topics_that_bybit_removed_are_refused(topic: str) -> None:
    async with exchange() as made, listening(made, "public/linear") as client:
        ack = await client.subscribe(topic)
        assert (ack["success"], ack["ret_msg"]) == (False, f"error:handler not found,topic:{topic}")


async def test_the_first_level_of_the_book_comes_as_snapshots_only() -> None:
    async with exchange() as made, listening(made, "public/linear") as client:
        await client.subscribe("orderbook.1.BTCUSDT")
        kinds = {(await client.until(lambda message: message.get("topic")))["type"] for _ in range(8)}
        assert kinds == {"snapshot"}


async def test_a_contract_before_its_launch_shows_its_phase_and_has_no_book() -> None:
    async with exchange() as made, listening(made, "public/linear") as client:
        rules = made.market.instrument("BTCUSDT")
        made.market.set_instrument(msgspec.structs.replace(rules, status="PreLaunch"))
        assert (await client.subscribe("orderbook.1.BTCUSDT", "orderbook.1.ETHUSDT"))["success"]
        for _ in range(5):
            push = await client.until(lambda message: message.get("topic"))
            assert push["topic"] == "orderbook.1.ETHUSDT"
        listed = (await get(made, "market/instruments-info?category=linear"))["result"]["list"]
        assert [row["symbol"] for row in listed] == ["ETHUSDT"]  # only contracts that trade, unless asked for
        found = await get(made, "market/instruments-info?category=linear&status=PreLaunch")
        (row,) = found["result"]["list"]
        assert row["isPreListing"] is True
        assert row["preListingInfo"]["curAuctionPhase"] == "CallAuction"
        ticker = (await get(made, "market/tickers?category=linear&symbol=BTCUSDT"))["result"]["list"][0]
        assert ticker["curPreListingPhase"] == "CallAuction"


async def test_contracts_come_in_pages_of_at_most_500_unless_more_are_asked_for() -> None:
    names = tuple(f"C{n}USDT" for n in range(620))
    async with exchange(symbols=names, ticks_per_s=0.1) as made:
        first = (await get(made, "market/instruments-info?category=linear"))["result"]
        assert len(first["list"]) == 500
        cursor = first["nextPageCursor"]
        rest = (await get(made, f"market/instruments-info?category=linear&cursor={cursor}"))["result"]
        assert (len(rest["list"]), rest["nextPageCursor"]) == (120, "")
        whole = (await get(made, "market/instruments-info?category=linear&limit=1000"))["result"]
        assert len(whole["list"]) == 620


async def test_maintenance_is_announced_on_its_stream_and_over_rest_unless_it_is_short() -> None:
    async with exchange() as made, listening(made, "public/misc/status") as client:
        assert not (await client.subscribe("system.other"))["success"]
        assert (await client.subscribe("system.status"))["success"]
        made.world.begin(Fault(kind="maintenance", for_s=5.0))
        assert (await get(made, "system/status"))["result"]["list"] == []
        made.world.begin(Fault(kind="maintenance", for_s=60.0))
        push = await client.until(lambda message: message.get("topic") == "system.status")
        assert [row["state"] for row in push["data"]] == ["ongoing"]
        made.world.end(Fault(kind="maintenance", for_s=60.0))
        push = await client.until(lambda message: message.get("topic") == "system.status")
        (row,) = push["data"]
        assert (row["state"], row["env"], set(row["serviceTypes"])) == ("completed", 1, {1, 2, 3, 4, 5})
        listed = (await get(made, "system/status"))["result"]["list"]
        assert [each["id"] for each in listed] == [row["id"]]


async def test_a_restart_begins_the_numbers_of_books_anew() -> None:
    async with exchange() as made:
        made.world.begin(Fault(kind="restart", for_s=1.0))
        made.world.end(Fault(kind="restart", for_s=1.0))
        async with listening(made, "public/linear") as client:
            await client.subscribe("orderbook.50.BTCUSDT")
            push = await client.until(lambda message: message.get("topic"))
            assert (push["type"], push["data"]["u"]) == ("snapshot", 1)


async def test_demo_trading_has_no_trade_stream() -> None:
    async with exchange(rules=AccessRules(demo=True)) as made, aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{made.ws_url}/v5/trade")
        assert refused.value.status == 404


async def test_a_contract_is_delisted_at_its_delivery_time_with_what_is_open(tmp_path: Path) -> None:
    async with exchange(speed=600.0) as made:
        desk = made.accounts.by_key["test-key"]
        order = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "qty": "0.01"}
        desk.create({**order, "orderType": "Market"})
        price = str((made.market.last("BTCUSDT") * D("0.8")).quantize(D("0.1")))
        desk.create({**order, "orderType": "Limit", "price": price})
        soon_ms = made.market.now_ms() + 180_000
        rules = made.market.instrument("BTCUSDT")
        made.market.set_instrument(msgspec.structs.replace(rules, delivery_ms=soon_ms))
        listed = (await get(made, "market/instruments-info?category=linear&symbol=BTCUSDT"))["result"]["list"]
        assert listed[0]["deliveryTime"] == str(soon_ms)
        async with asyncio.timeout(5):
            while made.market.instrument("BTCUSDT").status == "Trading":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert desk.engine.position("BTCUSDT", 0).size == 0
        last = list(desk.ledger.executions)[-1]
        assert (last.execType, last.createType, last.execFee) == ("Settle", "CreateBySettle", "0")
        assert desk.engine.open_orders("BTCUSDT") == []
        assert made.market.instrument("ETHUSDT").status == "Trading"


# Faults that change shapes


def test_fields_are_blanked_left_out_and_nothing_else() -> None:
    body = b'{"retCode":0,"result":{"list":[{"a":"1","b":{"a":"2"},"c":[1]}]}}'
    assert json.loads(reshaped(body, {"a": "", "c": "gone", "z": "x"})) == {
        "retCode": 0,
        "result": {"list": [{"a": "", "b": {"a": ""}}]},
    }
    assert reshaped(b"not json", {"a": ""}) == b"not json"


async def test_a_plan_may_refuse_orders_with_any_code() -> None:
    async with exchange() as made:
        made.planned.post(Fault(kind="reject", match="order.create", code=110125, words="sign", count=1))
        assert made.accounts.by_key["test-key"].refuses("order.create") == (110125, "sign")
        assert made.accounts.by_key["test-key"].refuses("order.create") is None


async def test_switches_of_the_accounts_change_and_go_back() -> None:
    async with exchange() as made:
        desk = made.accounts.by_key["test-key"]
        fault = Fault(kind="account", changes={"fee_coin": "MNT", "limit_price_action": "reject"})
        made.world.check(fault)
        made.world.begin(fault)
        assert (desk.rules.fee_coin, desk.rules.limit_price_action) == ("MNT", "reject")
        made.world.end(fault)
        assert desk.rules == AccessRules()
        for wrong in ({"nosuch": "1"}, {"fee_coin": "DOGE"}):
            with pytest.raises(BadInput, match="fault account"):
                made.world.check(Fault(kind="account", changes=wrong))


def test_taxes_are_blank_and_by_a_fault_a_list(stage: Stage) -> None:
    stage.buy("0.01")
    (row,) = stage.rows("/execution/list")
    assert row["extraFees"] == ""
    tax = '[{"feeCoin":"USDT","feeType":"GST","feeRate":"0.000099","fee":"0.06"}]'
    assert json.loads(reshaped(json.dumps(row).encode(), {"extraFees": tax}))["extraFees"][0]["fee"] == "0.06"
