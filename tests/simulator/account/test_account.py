"""What an account does with requests, and what it tells and shows of them."""

from decimal import Decimal

import pytest

from bot.exchange.quotes.depth import Depth
from bot.simulator.account.messages import topic_kind
from bot.simulator.account.paging import DAY_MS
from bot.simulator.account.rows import rate
from bot.simulator.config import AccessRules
from bot.simulator.ws.private import _text
from tests.simulator.client import exchange
from tests.simulator.stage import SYMBOL, Stage

LINEAR = {"category": "linear", "symbol": SYMBOL}


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.price("64000")
    made.pushes()
    return made


def test_a_cancelled_order_that_had_filled_in_part_stays_in_the_history(stage: Stage) -> None:
    stage.price("64000", asks=[(Decimal("64000.1"), Decimal("0.004"))])
    made = stage.rest("0.01", "64000.1")["result"]
    stage.order("cancel", orderId=made["orderId"])
    stage.now_ms += DAY_MS + 1
    (row,) = stage.rows("/order/history")
    assert (row["orderStatus"], row["cumExecQty"], row["leavesQty"]) == ("Cancelled", "0.004", "0")


@pytest.mark.parametrize("name", ["cancel", "amend"])
def test_an_order_is_found_under_its_own_symbol_only(stage: Stage, name: str) -> None:
    made = stage.rest()["result"]["orderId"]
    assert stage.order(name, symbol="ETHUSDT", orderId=made, price="49999")["retCode"] == 110001
    assert stage.order(name, orderId=made, price="49999")["retCode"] == 0


def test_a_quantity_of_zero_closes_only_where_it_says_so(stage: Stage) -> None:
    stage.buy("0.3")
    close = {"side": "Sell", "orderType": "Market", "qty": "0"}
    assert stage.order(**close)["retCode"] == 10001
    assert stage.order(**close, reduceOnly=True)["retCode"] == 10001
    assert stage.order(**close, reduceOnly=True, closeOnTrigger=True)["retCode"] == 0
    assert stage.rows("/position/list")[0]["size"] == "0"
    assert stage.rows("/order/history")[0]["closeOnTrigger"] is True


@pytest.mark.parametrize(
    "wrong",
    [
        {"qty": "1e3"},
        {"qty": "ten"},
        {"qty": True},
        {"qty": None},
        {"qty": "-1"},
        {"orderType": "Stop"},
        {"orderType": "Limit", "price": ""},
        {"timeInForce": "RPI"},
        {"positionIdx": 3},
        {"orderLinkId": "no spaces"},
        {"orderLinkId": "x" * 37},
        {"triggerPrice": "65000"},
        {"reduceOnly": "maybe"},
        {"reduceOnly": True, "stopLoss": "60000"},
        {"stopLoss": "60000", "slOrderType": "Limit", "slLimitPrice": "59000"},
        {"symbol": "NOSUCHUSDT"},
        {"bboSideType": "Queue"},
        {"bboSideType": "Queue", "bboLevel": "6"},
        {"bboLevel": "1"},
        {"bboSideType": "Queue", "bboLevel": "1", "orderType": "Market"},
        {
            "slippageToleranceType": "Percent",
            "slippageTolerance": "1",
            "orderType": "Limit",
            "price": "60000",
        },
        {"slippageTolerance": "5"},
        {"bboSideType": "Queue", "bboLevel": "5", "orderType": "Limit"},
        {"slippageToleranceType": "Percent", "slippageTolerance": "11", "orderType": "Market"},
        {"slippageToleranceType": "TickSize", "slippageTolerance": "0", "orderType": "Market"},
        {"category": "spot"},
    ],
)
def test_a_malformed_order_is_a_parameter_error_and_leaves_nothing(
    stage: Stage, wrong: dict[str, object]
) -> None:
    good = {"side": "Buy", "orderType": "Market", "qty": "0.01"}
    assert stage.order(**{**good, **wrong})["retCode"] == 10001
    assert (stage.pushes(), stage.rows("/order/history")) == ([], [])


@pytest.mark.parametrize(
    ("side", "offer", "price"),
    [
        ("Buy", "Queue", "63999.9"),
        ("Buy", "Counterparty", "64000.1"),
        ("Sell", "Queue", "64000.1"),
        ("Sell", "Counterparty", "63999.9"),
    ],
)
def test_an_order_may_take_its_price_from_the_book(stage: Stage, side: str, offer: str, price: str) -> None:
    wish = {"side": side, "orderType": "Limit", "qty": "0.01", "bboSideType": offer, "bboLevel": 1}
    made = stage.order(**wish)["result"]["orderId"]
    (order,) = stage.rows("/order/realtime", orderId=made)
    filled = offer == "Counterparty"
    assert (order["price"], order["orderStatus"]) == (price, "Filled" if filled else "New")
    assert order["createType"] == "CreateByBboOrder"


def test_a_market_order_goes_no_further_than_it_tolerates(stage: Stage) -> None:
    asks = [(Decimal("64000.1"), Decimal("0.004")), (Decimal("64064.2"), Decimal("1"))]
    for kind, much, price in (("TickSize", "640", "64064.1"), ("Percent", "0.1", "64064.1")):
        stage.price("64000", asks=asks)
        made = stage.buy("0.01", slippageToleranceType=kind, slippageTolerance=much)["result"]["orderId"]
        (order,) = stage.rows("/order/realtime", orderId=made)
        assert (order["price"], order["cumExecQty"], order["orderStatus"]) == (price, "0.004", "Cancelled")
        assert (order["slippageToleranceType"], order["slippageTolerance"]) == (kind, much)


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        ({"timeWindow": 10, "product": "DERIVATIVES"}, 10005),
        ({"timeWindow": 2}, 10001),
        ({"timeWindow": "3.5"}, 10001),
        ({}, 10001),
        ({"timeWindow": 10, "product": "FUTURES"}, 10001),
    ],
)
def test_disconnection_protection_is_not_for_ordinary_accounts(
    stage: Stage, wish: dict[str, object], code: int
) -> None:
    assert stage.ask("/order/disconnected-cancel-all", **wish)["retCode"] == code


def test_rates_are_cut_to_four_decimals(stage: Stage) -> None:
    assert rate(Decimal("1.99999"), Decimal(10)) == "0.1999"
    assert (rate(Decimal(1), Decimal(0)), rate(Decimal(1), Decimal(4))) == ("0", "0.25")
    stage.buy("1")
    wallet = stage.ask("/account/wallet-balance", accountType="UNIFIED")["result"]["list"][0]
    # (64000 / 10 + 0.00055 × 57600.09) / (100000 − 35.200055 − 0.1)
    assert wallet["accountIMRate"] == "0.0643"


def test_a_coin_that_is_not_held_has_a_row_when_asked_for(stage: Stage) -> None:
    wallet = stage.ask("/account/wallet-balance", accountType="UNIFIED", coin="BTC,USDT")["result"]["list"][0]
    assert [(c["coin"], c["walletBalance"]) for c in wallet["coin"]] == [("BTC", "0"), ("USDT", "100000")]


def test_the_fast_topic_tells_trades_and_hides_a_makers_name(stage: Stage) -> None:
    stage.rest("0.01", "63000", orderLinkId="mine")
    stage.price("62000")
    stage.engine.settle_funding(SYMBOL, stage.now_ms + 1, Decimal("0.0001"))
    stage.desk.settle()
    funding, maker = (m for m in reversed(stage.told) if m.kind == "execution")
    assert '"orderLinkId":""' in _text("execution.fast", "execution.fast", maker)
    assert '"orderLinkId":"mine"' in _text("execution", "execution", maker)
    assert _text("execution.fast", "execution.fast", funding) == ""


def test_topics_of_other_categories_exist() -> None:
    assert topic_kind("order.inverse") == ("order", "inverse")
    assert topic_kind("execution.fast.linear") == ("execution.fast", "linear")
    assert [topic_kind(t) for t in ("wallet.linear", "order.moon", "kline.1.BTCUSDT", "")] == [None] * 4


async def test_a_topic_of_another_category_stays_silent() -> None:
    async with exchange() as wire, wire.socket("/v5/private") as socket:
        await socket.subscribe("order.inverse", "position.linear")
        await wire.order()
        assert (await socket.wait(lambda m: "topic" in m))["topic"] == "position.linear"


async def test_an_order_sees_the_price_of_its_moment_though_nobody_followed() -> None:
    async with exchange() as wire:
        await wire.order(orderLinkId="mine")
        query = "category=linear&symbol=BTCUSDT&orderLinkId=mine"
        (row,) = (await wire.get("/v5/order/realtime", query))["result"]["list"]
        market = wire.server.market
        trades = [str(t.price) for t in market.symbols["BTCUSDT"].recent_trades(market.now_ms(), 5)]
        assert row["lastPriceOnCreated"] in [text.removesuffix(".0") for text in trades]


async def test_a_trade_before_an_order_does_not_fill_it() -> None:
    async with exchange() as wire:
        made = (await wire.order())["result"]["orderId"]
        accounts, now_ms = wire.server.accounts, wire.server.market.now_ms()
        low, much = Decimal(wire.far()) - 100, Decimal(100)
        book = Depth.touch(low - 1, low + 1)
        accounts.on_trade("BTCUSDT", now_ms - 10_000, low, much, book)
        assert accounts.by_key["test-key"].engine.open_orders("BTCUSDT")
        accounts.on_trade("BTCUSDT", now_ms + 1, low, much, book)
        assert not accounts.by_key["test-key"].engine.open_orders("BTCUSDT")
        accounts.by_key["test-key"].settle()
        query = f"category=linear&symbol=BTCUSDT&orderId={made}"
        assert (await wire.get("/v5/execution/list", query))["result"]["list"][0]["isMaker"] is True


def test_switches_decide_what_is_not_documented() -> None:
    stage = Stage(rules=AccessRules(post_only_refused="Rejected", position_before_wallet=False))
    stage.price("64000")
    stage.pushes()
    stage.rest("0.01", "65000", timeInForce="PostOnly")
    assert [m.kind for m in stage.told] == ["order", "wallet", "position"]
    row = stage.told_orders()[0]
    assert (row["orderStatus"], row["rejectReason"]) == ("Rejected", "EC_PostOnlyWillTakeLiquidity")
    assert stage.rows("/order/history")[0]["orderStatus"] == "Rejected"


def test_a_trailing_distance_is_cut_to_the_price_grid(stage: Stage) -> None:
    stage.buy()
    stage.ask("/position/trading-stop", **LINEAR, positionIdx=0, trailingStop="300.057")
    assert stage.rows("/position/list")[0]["trailingStop"] == "300"
    assert stage.rows("/order/realtime")[0]["triggerPrice"] == "63700"


@pytest.mark.parametrize("mode", ["REGULAR_MARGIN", "ISOLATED_MARGIN"])
def test_the_margin_mode_that_is_set_already_is_accepted_again(stage: Stage, mode: str) -> None:
    for _ in range(2):
        answer = stage.ask("/account/set-margin-mode", setMarginMode=mode)
        told = (answer["retCode"], answer["retMsg"], answer["result"])
        assert told == (0, "Request accepted", {"reasons": []})


def test_fee_rates_without_a_category_are_those_of_futures(stage: Stage) -> None:
    named = stage.ask("/account/fee-rate", category="linear")["result"]
    assert stage.ask("/account/fee-rate")["result"] == named
    assert {row["symbol"] for row in named["list"]} == set(stage.rules_of)
    assert stage.ask("/account/fee-rate", category="spot")["result"]["list"] == []
    assert stage.ask("/account/fee-rate", category="none")["retCode"] == 10001


def test_settings_answer_already_so(stage: Stage) -> None:
    lever = {"buyLeverage": "7", "sellLeverage": "7"}
    codes = [stage.ask("/position/set-leverage", **LINEAR, **lever)["retCode"] for _ in range(2)]
    codes += [stage.ask("/position/switch-mode", **LINEAR, mode=0)["retCode"]]
    codes += [stage.ask("/position/switch-mode", category="linear", coin="USDT", mode=3)["retCode"]]
    assert codes == [0, 110043, 110025, 0]
    stage.buy(positionIdx=1)
    assert stage.ask("/position/switch-mode", **LINEAR, mode=0)["retCode"] == 110024


def test_tpsl_kinds_travel_from_the_wire_to_the_order(stage: Stage) -> None:
    stage.buy("0.02")
    pair = {
        "tpslMode": "Partial",
        "stopLoss": "60000",
        "takeProfit": "68000",
        "slSize": "0.01",
        "tpSize": "0.01",
    }
    limit = {"tpOrderType": "Limit", "tpLimitPrice": "68100"}
    answer = stage.ask("/position/trading-stop", **LINEAR, positionIdx=0, **pair, **limit)
    assert answer["retCode"] == 0
    rows = {row["stopOrderType"]: row for row in stage.rows("/order/realtime")}
    assert (rows["PartialTakeProfit"]["orderType"], rows["PartialTakeProfit"]["price"]) == ("Limit", "68100")
    assert rows["PartialStopLoss"]["orderType"] == "Market"


@pytest.mark.parametrize("name", ["tp", "sl"])
def test_a_limit_kind_needs_partial_mode_and_a_price(stage: Stage, name: str) -> None:
    stops = {"stopLoss": "60000", "takeProfit": "68000", f"{name}OrderType": "Limit"}
    priced = {f"{name}LimitPrice": "64000"}
    assert stage.buy("0.01", **stops, **priced)["retCode"] == 10001
    assert stage.buy("0.01", **stops, tpslMode="Partial")["retCode"] == 10001
    assert stage.buy("0.01", **stops, **priced, tpslMode="Partial")["retCode"] == 0


def test_a_limit_price_without_its_kind_counts_for_nothing(stage: Stage) -> None:
    assert stage.buy("0.01", takeProfit="68000", tpLimitPrice="68100")["retCode"] == 0
    (row,) = stage.rows("/order/realtime")
    assert (row["orderType"], row["price"]) == ("Market", "0")
