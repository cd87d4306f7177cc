from decimal import Decimal as D

import msgspec
import pytest

from bot.bybit import orders
from bot.bybit.codes import RateLimited
from bot.bybit.trade import TradeResponse
from bot.domain.errors import BadInput, Rejected
from bot.domain.messages import PlaceOrder, SetStops, SetTrailing
from bot.domain.orders import Approved, Intent
from tests.payloads import bybit as payloads
from tests.payloads.bybit import T0, answer, listed


def place(**fields: object) -> PlaceOrder:
    sound = {"symbol": "BTCUSDT", "side": "Buy", "qty": D("0.010"), "ref_price": D(100), "decided_ms": T0}
    return PlaceOrder("bot7-12-e", Approved(Intent(**{**sound, **fields})))


def body(request: orders.Request) -> dict[str, object]:
    assert request.method == "POST"
    assert request.query == ""
    return msgspec.json.decode(request.body)


def test_a_market_order_goes_out_with_its_stops() -> None:
    request = orders.create_order(place(stop_loss=D("95.5"), take_profit=D("1E+2")))
    assert (request.path, request.cost, request.op) == ("/v5/order/create", "create", "order.create")
    assert (
        body(request)
        == request.arg
        == {
            "category": "linear",
            "symbol": "BTCUSDT",
            "side": "Buy",
            "orderType": "Market",
            "qty": "0.010",
            "timeInForce": "IOC",
            "positionIdx": 0,
            "orderLinkId": "bot7-12-e",
            "reduceOnly": False,
            "stopLoss": "95.5",
            "takeProfit": "100",
            "tpslMode": "Full",
        }
    )


@pytest.mark.parametrize(("bps", "per_cent"), [(1, "0.01"), (40, "0.4"), (100, "1"), (1000, "10")])
def test_a_market_order_carries_the_bound_of_its_price(bps: int, per_cent: str) -> None:
    entry = place()
    bounded = msgspec.structs.replace(entry.approved, max_slippage_bps=bps)
    sent = body(orders.create_order(PlaceOrder(entry.order_id, bounded)))
    assert (sent["slippageToleranceType"], D(str(sent["slippageTolerance"]))) == ("Percent", D(per_cent))
    assert "E" not in str(sent["slippageTolerance"])


def test_a_limit_order_carries_its_price_and_a_reduction_no_stops() -> None:
    limit = orders.create_order(
        place(
            order_type="Limit", price=D("99.5"), time_in_force="PostOnly", reduce_only=True, stop_loss=D(95)
        )
    )
    sent = body(limit)
    assert (sent["price"], sent["timeInForce"], sent["reduceOnly"]) == ("99.5", "PostOnly", True)
    assert "stopLoss" not in sent
    assert "tpslMode" not in sent


def test_changes_name_one_order_and_only_what_changes() -> None:
    cancel = orders.cancel_order("BTCUSDT", "bot7-12-e")
    assert body(cancel) == {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "bot7-12-e"}
    assert (cancel.op, cancel.urgent) == ("order.cancel", True)
    assert body(orders.cancel_order("BTCUSDT", order_id="u-1"))["orderId"] == "u-1"
    amend = orders.amend_order("BTCUSDT", "bot7-12-e", price=D("99"))
    assert body(amend) == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "orderLinkId": "bot7-12-e",
        "price": "99",
    }
    for wrong in ({}, {"link_id": "a", "order_id": "b"}):
        with pytest.raises(ValueError, match="one id"):
            orders.cancel_order("BTCUSDT", **wrong)


def test_stops_are_set_for_the_whole_position_and_removed_by_zero() -> None:
    request = orders.trading_stop(SetStops("BTCUSDT", D("95"), None))
    assert body(request) == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "positionIdx": 0,
        "tpslMode": "Full",
        "stopLoss": "95",
        "takeProfit": "0",
    }
    other = body(orders.trading_stop(SetStops("BTCUSDT", None, D("105.5"))))
    assert (other["stopLoss"], other["takeProfit"]) == ("0", "105.5")
    assert request.op is None  # the trade stream has no such op


def test_a_trailing_stop_leaves_the_fixed_ones_alone_and_is_removed_by_zero() -> None:
    usual = {"category": "linear", "symbol": "BTCUSDT", "positionIdx": 0, "tpslMode": "Full"}
    begun = orders.trailing_stop(SetTrailing("BTCUSDT", D("2.50"), D("105")))
    assert body(begun) == {**usual, "trailingStop": "2.50", "activePrice": "105"}
    assert body(orders.trailing_stop(SetTrailing("BTCUSDT", D(0)))) == {**usual, "trailingStop": "0"}


def test_leverage_and_mode() -> None:
    assert body(orders.set_leverage("BTCUSDT", D("2.50"))) == {
        "category": "linear",
        "symbol": "BTCUSDT",
        "buyLeverage": "2.50",
        "sellLeverage": "2.50",
    }
    assert body(orders.switch_mode("BTCUSDT"))["mode"] == 0
    assert body(orders.switch_mode("BTCUSDT", hedge=True))["mode"] == 3


@pytest.mark.parametrize(
    ("request_", "target"),
    [
        (orders.open_orders(), "/v5/order/realtime?category=linear&settleCoin=USDT&openOnly=0&limit=50"),
        (
            orders.open_orders("BTCUSDT", "a%3A1%2Cb", "StopOrder"),
            "/v5/order/realtime?category=linear&symbol=BTCUSDT&orderFilter=StopOrder&openOnly=0&limit=50&cursor=a%3A1%2Cb",
        ),
        (orders.order_by_link("X", "l"), "/v5/order/realtime?category=linear&symbol=X&orderLinkId=l"),
        (orders.history_by_link("X", order_id="u"), "/v5/order/history?category=linear&symbol=X&orderId=u"),
        (orders.executions(5), "/v5/execution/list?category=linear&startTime=5&limit=100"),
        (
            orders.executions(5, "c", end_ms=9),
            "/v5/execution/list?category=linear&startTime=5&endTime=9&limit=100&cursor=c",
        ),
        (
            orders.executions_by_link("X", "l"),
            "/v5/execution/list?category=linear&symbol=X&orderLinkId=l&limit=100",
        ),
        (orders.positions(), "/v5/position/list?category=linear&settleCoin=USDT&limit=200"),
        (orders.position_of("X"), "/v5/position/list?category=linear&symbol=X"),
        (orders.wallet(), "/v5/account/wallet-balance?accountType=UNIFIED"),
        (orders.account_info(), "/v5/account/info"),
        (orders.query_api(), "/v5/user/query-api"),
        (orders.server_time(), "/v5/market/time"),
        (orders.instruments("n%3D1"), "/v5/market/instruments-info?category=linear&limit=1000&cursor=n%3D1"),
        (orders.risk_limits(symbol="X"), "/v5/market/risk-limit?category=linear&symbol=X"),
        (orders.tickers("X"), "/v5/market/tickers?category=linear&symbol=X"),
    ],
)
def test_queries_are_the_documented_ones(request_: orders.Request, target: str) -> None:
    assert (request_.method, request_.target, request_.body) == ("GET", target, b"")
    assert request_.signed is not request_.path.startswith("/v5/market/")


@pytest.mark.parametrize("cursor", ["a b", "a&symbol=X", "a#b", "a\nb", "ä"])
def test_a_cursor_cannot_change_the_query(cursor: str) -> None:
    query = orders.positions(cursor).query
    assert query.isascii()
    assert query.count("&") == 3
    assert not {" ", "#", "\n"} & set(query)


def test_orders_are_paged_with_their_cursor() -> None:
    page = orders.parse_orders(listed(payloads.ORDER, payloads.ORDER, cursor="a%3A1"))
    assert (len(page.rows), page.cursor) == (2, "a%3A1")
    assert page.rows[0].orderLinkId == "bot7-12-e"
    assert orders.parse_orders(answer({"list": []})).cursor == ""


def test_an_account_page_with_an_unreadable_row_is_refused() -> None:
    lacking = {name: value for name, value in payloads.EXECUTION.items() if name != "execPrice"}
    with pytest.raises(BadInput, match="execPrice"):
        orders.parse_executions(listed(payloads.EXECUTION, lacking))
    with pytest.raises(BadInput, match="contained 0"):
        orders.parse_wallet(listed())


def test_a_contract_that_cannot_be_read_does_not_hide_the_others() -> None:
    odd = {**payloads.INSTRUMENT, "priceFilter": {"tickSize": "1"}}
    page = orders.parse_instruments(listed(payloads.INSTRUMENT, odd))
    assert [row.symbol for row in page.rows] == ["BTCUSDT"]
    assert len(page.bad) == 1


def test_rest_positions_have_an_average_price() -> None:
    row = {name: value for name, value in payloads.POSITION.items() if name != "entryPrice"}
    (position,) = orders.parse_positions(listed({**row, "avgPrice": "100.5"})).rows
    assert (position.avgPrice, position.size, position.stopLoss) == ("100.5", "0.005", "95")


def test_the_wallet_and_the_clock_are_values() -> None:
    assert orders.parse_wallet(listed(payloads.WALLET)).coin[0].coin == "USDT"
    assert orders.parse_time(answer({"timeSecond": "1688639403", "timeNano": "1688639403423213947"})) == (
        1_688_639_403_423
    )
    info = orders.parse_account_info(answer({"marginMode": "REGULAR_MARGIN", "unifiedMarginStatus": 5}))
    assert (info.margin_mode, info.unified_margin_status) == ("REGULAR_MARGIN", 5)


@pytest.mark.parametrize(
    ("read_only", "permissions", "trades", "withdraws"),
    [
        (0, {"ContractTrade": ["Order", "Position"], "Wallet": ["AccountTransfer"]}, True, False),
        (1, {"ContractTrade": ["Order", "Position"]}, False, False),
        (0, {"ContractTrade": ["Position"], "Wallet": ["Withdraw"]}, False, True),
        (0, {}, False, False),
    ],
)
def test_the_permissions_of_a_key_are_read(
    read_only: int, permissions: dict[str, list[str]], trades: bool, withdraws: bool
) -> None:
    key = orders.parse_query_api(answer({"readOnly": read_only, "permissions": permissions}))
    assert (key.can_trade, key.can_withdraw) == (trades, withdraws)


def test_the_answer_to_a_write_is_a_value_whatever_its_code() -> None:
    ids = {"orderId": "u-1", "orderLinkId": "l-1"}
    assert orders.parse_answer(answer(ids), "order.create") == TradeResponse(
        "", "order.create", 0, "OK", "u-1", "l-1"
    )
    assert orders.parse_answer(answer(None, 110072, "duplicate\n")) == TradeResponse(
        "", "", 110072, "duplicate "
    )
    assert "canary" not in repr(orders.parse_answer(answer({}, 10004, "origin_string[canary]")))
    for nothing in (b"", b"<html>", b"[]", b'{"retCode":', b"{}"):
        with pytest.raises(BadInput):
            orders.parse_answer(nothing)


def test_a_refused_query_raises_the_error_of_its_code() -> None:
    with pytest.raises(RateLimited):
        orders.parse_orders(answer({}, 10006, "Too many visits"))
    with pytest.raises(Rejected, match="10003"):
        orders.parse_wallet(answer(None, 10003, "API key is invalid."))
