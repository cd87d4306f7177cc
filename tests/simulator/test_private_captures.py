"""Our private messages and answers beside recorded ones: the same keys, JSON types and forms of numbers.

The recordings are a folder named by TEST_CAPTURES. What differs on purpose stands in the lists below,
each with its reason.
"""

import json
import os
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bot.bybit.serve import RateLimitHeaders, trade_reply
from bot.bybit.wire import OrderIds
from tests.simulator.stage import KEY, Json, Stage

FOLDER = os.environ.get("TEST_CAPTURES", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="TEST_CAPTURES names no folder of recorded messages")

NEWER = {
    "parentOrderLinkId": "since 2026-01",
    "rpiTakerAccess": "since 2026-05",
    "rpiMatchedQty": "since 2026-05",
    "cumFeeDetail": "since 2025-09",
    "slippageTolerance": "since 2025",
    "slippageToleranceType": "since 2025",
    "breakEvenPrice": "since 2026-01",
    "openTime": "since 2026-04",
    "positionIMByMp": "since 2025",
    "positionMMByMp": "since 2025",
    "accountIMRateByMp": "since 2025",
    "accountMMRateByMp": "since 2025",
    "totalInitialMarginByMp": "since 2025",
    "totalMaintenanceMarginByMp": "since 2025",
    "spotBorrow": "since 2025-09",
    "colRes": "since 2026-05",
    "extraFees": "empty where no tax applies; older messages leave it out",
    "feeCurrency": "of derivatives since 2025-09",
    "openFee": "since 2025",
    "closeFee": "since 2025",
    "closedPnl": "of orders since 2025",
    "retExtInfo": "an example of the documentation leaves the envelope's tail out",
    "time": "an example of the documentation leaves the envelope's tail out",
    "mmrSysUpdatedTime": "spelled so on the wire and in the table; the example has mmrSysUpdateTime",
    "createType": "of executions since 2025",
}
"""Fields that we send and an older or shorter recording lacks."""
LEFT_OUT = {
    "mmrSysUpdateTime": "a misspelling of the documentation's example",
    "MNT": "fees are paid in USDT here",
}
"""Fields of a recording that we do not send."""
OTHER_FORM = {
    ("extraFees", "list", "empty"): "there is no local tax here",
    ("orderId", "number", "word"): "spot orders have numbers, derivatives UUIDs",
    ("liqPrice", "number", "empty"): "an account with much more money than position has none",
}
_TEXT = re.compile(r"-?\d+(\.\d+)?")


def recorded(name: str) -> Json:
    found: Json = json.loads((Path(FOLDER) / f"{name}.json").read_text())
    return found


def form(value: Any) -> str:
    """What kind of JSON value it is; of text whether a number, nothing, or a word."""
    if isinstance(value, str):
        return "empty" if value == "" else "number" if _TEXT.fullmatch(value) else "word"
    return "list" if isinstance(value, list) else type(value).__name__


def differences(theirs: Any, ours: Any, at: str = "") -> Iterator[str]:
    """Keys that one side lacks, and values of another type or form."""
    name = at.rpartition(".")[2].partition("[")[0]
    if isinstance(theirs, dict) and isinstance(ours, dict):
        yield from (f"{at}: lacks {key}" for key in theirs if key not in ours and key not in LEFT_OUT)
        yield from (f"{at}: more {key}" for key in ours if key not in theirs and key not in NEWER)
        for key in theirs.keys() & ours.keys():
            yield from differences(theirs[key], ours[key], f"{at}.{key}")
    elif isinstance(theirs, list) and isinstance(ours, list):
        if theirs and not ours and ".permissions." not in at:  # each key has its own rights
            yield f"{at}: is empty"
        for number, (left, right) in enumerate(zip(theirs, ours, strict=False)):
            yield from differences(left, right, f"{at}[{number}]")
    elif form(theirs) != form(ours) and (name, form(theirs), form(ours)) not in OTHER_FORM:
        yield f"{at}: {form(theirs)} {theirs!r} here {form(ours)} {ours!r}"
    elif form(theirs) == "number" and _is_amount(ours) and not _looks_alike(theirs, ours):
        yield f"{at}: {theirs!r} here {ours!r}"


def _is_amount(text: str) -> bool:
    return "." in text


def _looks_alike(theirs: str, ours: str) -> bool:
    """No more than 8 decimals, and no zeros at the end."""
    return len(ours.partition(".")[2]) <= 8 and not ours.endswith("0") and Decimal(ours).is_finite()


def assert_alike(name: str, ours: Any) -> None:
    assert list(differences(recorded(name), ours)) == []


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.price("64617.3")
    made.pushes()
    return made


def filled(stage: Stage, **params: Any) -> list[Json]:
    stage.buy("0.002", **params)
    return stage.pushes()


@pytest.mark.parametrize("name", ["real_ws_order_linear_new", "real_ws_order_linear_new_2025_12"])
def test_a_resting_order(stage: Stage, name: str) -> None:
    stage.rest(orderLinkId="BOT-1")
    push = stage.pushes("order")[0]
    if not recorded(name)["data"][0]["orderLinkId"]:
        push["data"][0]["orderLinkId"] = ""
    assert_alike(name, push)


def test_a_cancelled_order(stage: Stage) -> None:
    made = stage.rest()["result"]
    stage.pushes()
    stage.order("cancel", orderId=made["orderId"])
    push = stage.pushes("order")[0]
    assert_alike("real_ws_order_linear_cancelled", {**push, "topic": "order.linear"})
    theirs = recorded("real_ws_order_linear_cancelled")["data"][0]
    for field in ("cancelType", "rejectReason", "leavesQty", "leavesValue", "orderStatus"):
        assert push["data"][0][field] == theirs[field]


def test_a_filled_limit_order_and_its_execution(stage: Stage) -> None:
    stage.rest("0.002", "65000", timeInForce="FOK", orderLinkId="1759432560816495533")
    order, execution, position, wallet = stage.pushes()
    assert order["id"] == execution["id"]
    assert_alike("real_ws_order_linear_filled", order)
    assert_alike("real_ws_execution_linear_taker_fill", execution)
    assert_alike("real_ws_position_linear_after_fill", position)
    assert_alike("real_ws_wallet_after_fill", wallet)
    assert_alike("real_ws_wallet_2025_12", wallet)


def test_a_market_order_shows_its_protective_price(stage: Stage) -> None:
    assert_alike(
        "real_ws_order_market_filled_protective_price", filled(stage, orderLinkId="client-open-1")[0]
    )


def test_two_fills_of_one_order_share_a_message(stage: Stage) -> None:
    stage.price("64617.3", asks=[(Decimal("64617.4"), Decimal(1)), (Decimal("64618"), Decimal(9))])
    pushes = filled(stage)
    stage.buy("3")
    order, execution = stage.pushes()[:2]
    assert len(execution["data"]) == 2
    assert len({row["seq"] for row in execution["data"]}) == 1
    assert order["id"] == execution["id"]
    assert pushes[0]["data"][0]["orderStatus"] == "Filled"
    assert_alike("real_ws_execution_two_fills_one_message", execution)


def test_a_position_beside_a_new_order(stage: Stage) -> None:
    filled(stage)
    stage.rest()
    _, position, wallet = stage.pushes()
    assert_alike("real_ws_position_after_order", position)
    assert_alike("real_ws_wallet_after_order", wallet)


def test_both_sides_of_hedge_mode_in_one_message(stage: Stage) -> None:
    assert stage.ask("/position/switch-mode", category="linear", symbol="BTCUSDT", mode=3)["retCode"] == 0
    position = next(push for push in filled(stage, positionIdx=1) if push["topic"] == "position")
    assert_alike("real_ws_position_hedge_mode_two_rows", position)
    assert [row["side"] for row in position["data"]] == ["Buy", ""]


def test_a_trailing_stop_moves_and_ends_with_the_closing_fill(stage: Stage) -> None:
    filled(stage)
    stage.ask(
        "/position/trading-stop", category="linear", symbol="BTCUSDT", positionIdx=0, trailingStop="300"
    )
    stage.pushes()
    stage.price("64700")
    moved = stage.pushes("order")[0]
    assert_alike("real_ws_order_trailing_stop_moved", moved)
    stage.order(side="Sell", orderType="Market", qty="0.002", orderLinkId="client-close-1")
    ended = stage.pushes("order")[0]
    ended["data"].sort(key=lambda row: row["orderStatus"])
    assert_alike("real_ws_order_deactivated_with_closing_fill", ended)
    assert ended["data"][0]["cancelType"] == "CancelByTpSlTsClear"


def test_answers_of_the_trade_socket() -> None:
    limit = RateLimitHeaders(10, 9, 1)
    ids = OrderIds("373b6927-71ff-4bde-a8a6-c3de21838f20", "1759432560816495533")
    for name, text in (
        (
            "real_ws_trade_order_create_ok",
            trade_reply("order.create", "1", "c", data=ids, limit=limit, trace_id="x"),
        ),
        (
            "real_ws_trade_cancel_not_found",
            trade_reply("order.cancel", "a", "c", code=110001, text="x", limit=limit, trace_id="x"),
        ),
        (
            "real_ws_trade_create_insufficient",
            trade_reply("order.create", "a", "c", code=110007, text="x", limit=limit, trace_id="x"),
        ),
        (
            "real_ws_trade_create_permission_denied",
            trade_reply("order.create", "a", "c", code=10005, text="x"),
        ),
    ):
        assert_alike(name, json.loads(text))


def test_order_answers_and_history(stage: Stage) -> None:
    answer = stage.rest(orderLinkId="own")
    assert_alike("doc_rest_order_create", answer)
    amended = stage.order("amend", orderLinkId="own", price="50001")
    assert_alike("doc_rest_order_amend", amended)
    assert_alike("doc_rest_order_cancel", stage.order("cancel", orderLinkId="own"))
    filled(stage)
    stage.order(side="Sell", orderType="Market", qty="0.002", reduceOnly=True)
    history = stage.ask("/order/history", category="linear", symbol="BTCUSDT", limit="2")
    assert_alike("real_rest_order_history_market_filled", history)


REFUSALS: dict[str, Any] = {
    "reported_err_10001_min_qty": lambda s: s.buy("0.0001"),
    "reported_err_10001_position_idx": lambda s: s.buy(positionIdx=1),
    "reported_err_10001_side_invalid": lambda s: s.order(side="buy", orderType="Market", qty="0.01"),
    "reported_err_110001_cancel": lambda s: s.order("cancel", orderId="gone"),
    "reported_err_110003_price_range": lambda s: s.rest(price="9999999"),
    "reported_err_110007_insufficient": lambda s: s.rest("100", "64000"),
    "reported_err_110017_reduce_only_zero": lambda s: s.buy(reduceOnly=True),
    "reported_err_110043_leverage": lambda s: s.ask(
        "/position/set-leverage", category="linear", symbol="BTCUSDT", buyLeverage="10", sellLeverage="10"
    ),
    "reported_err_110092_trigger_direction": lambda s: s.buy(triggerPrice="60000", triggerDirection=1),
    "reported_err_110093_trigger_direction": lambda s: s.buy(triggerPrice="70000", triggerDirection=2),
    "reported_err_110094_min_notional": lambda s: s.rest("0.001", "1000"),
    "reported_err_10001_max_qty": lambda s: s.rest("5797"),
}
OWN_WORDS = {
    "reported_err_110003_price_range": "two wordings are known; ours is the documentation's",
    "reported_err_110092_trigger_direction": "ours has prices, not prices ×1e4",
    "reported_err_110093_trigger_direction": "ours has prices, not prices ×1e4",
    "reported_err_10001_max_qty": "ours has quantities, not quantities ×1e8",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_has_the_recorded_code_and_words(stage: Stage, name: str) -> None:
    theirs, ours = recorded(name), REFUSALS[name](stage)
    assert list(differences(theirs, ours)) == []
    assert ours["retCode"] == theirs["retCode"]
    assert name in OWN_WORDS or ours["retMsg"] == theirs["retMsg"]


def documented(stage: Stage) -> Iterator[tuple[str, Json]]:
    linear = {"category": "linear", "symbol": "BTCUSDT"}
    filled(stage)
    stage.engine.settle_funding("BTCUSDT", stage.now_ms, Decimal("0.0001"))
    stage.desk.settle()
    yield "doc_rest_position_list", stage.ask("/position/list", **linear)
    yield "doc_rest_execution_list", stage.ask("/execution/list", **linear, execType="Trade")
    yield "doc_rest_transaction_log", stage.ask("/account/transaction-log")
    stage.order(side="Sell", orderType="Market", qty="0.002")
    yield "doc_rest_closed_pnl", stage.ask("/position/closed-pnl", **linear)
    stage.rest(takeProfit="52000", stopLoss="49000", orderLinkId="with-stops")
    yield "doc_rest_order_realtime", stage.ask("/order/realtime", **linear)
    yield "doc_rest_wallet_balance", stage.ask("/account/wallet-balance", accountType="UNIFIED")
    yield "doc_rest_account_info", stage.ask("/account/info")
    yield "doc_rest_fee_rate", stage.ask("/account/fee-rate", **linear)
    yield "doc_rest_user_query_api", stage.ask("/user/query-api")
    yield "doc_rest_coin_info", stage.ask("/asset/coin/query-info")
    yield "doc_rest_collateral_info", stage.ask("/account/collateral-info")
    yield "doc_rest_smp_group", stage.ask("/account/smp-group")
    yield "doc_rest_user_setting_config", stage.ask("/account/user-setting-config")
    yield "doc_rest_symbol_info_leverage", stage.ask("/position/symbol-info", **linear)
    wish = {**linear, "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "50000"}
    yield "doc_rest_order_precheck", stage.ask("/order/pre-check", **wish, orderLinkId="test129")
    yield "doc_rest_order_cancel_all", stage.ask("/order/cancel-all", **linear)
    pair = [{"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "50000"}] * 2
    made = stage.order("create-batch", request=[{**w, "orderLinkId": f"b{n}"} for n, w in enumerate(pair)])
    yield "doc_rest_order_create_batch", made
    both = [{"symbol": "BTCUSDT", "orderLinkId": f"b{n}"} for n in (0, 1)]
    amended = stage.order("amend-batch", request=[{**w, "price": "50001"} for w in both])
    yield "doc_rest_order_amend_batch", amended
    ended = stage.order("cancel-batch", request=[both[0], {"symbol": "BTCUSDT", "orderLinkId": "none"}])
    yield "doc_rest_order_cancel_batch", ended


DOC_FORM = {
    "takeProfit": "examples have 0.00, an unset price is empty or 0",
    "stopLoss": "the same",
    "triggerPrice": "the same",
    "avgPrice": "examples have 0, messages are empty",
    "stopOrderType": "examples have UNKNOWN, messages are empty",
    "triggerBy": "the same",
    "bustPrice": "deprecated, empty in messages",
    "closedSize": "examples are empty, messages have 0",
    "feeCurrency": "examples are empty, the coin since 2025-09",
    "orderLinkId": "as the client chose",
    "availableToBorrow": "deprecated",
    "availableToWithdraw": "deprecated, empty in messages",
    "tpLimitPrice": "examples are empty, messages have 0",
    "slLimitPrice": "the same",
    "lastPriceOnCreated": "examples are of an older time",
    "funding": "by the kind of movement",
    "side": "by the position",
    "contractAddress": "of a chain that is not there",
    "kycRegion": "not asked",
}
"""Fields whose examples in the documentation show another form than recorded messages do, or another case."""


def test_answers_have_the_documented_fields(stage: Stage) -> None:
    for name, ours in documented(stage):
        found = [
            line
            for line in differences(recorded(name), ours)
            if line.partition(": ")[0].rpartition(".")[2] not in DOC_FORM
        ]
        assert (name, found) == (name, [])


def test_the_key_of_ids_is_the_account(stage: Stage) -> None:
    order, _, position, wallet = filled(stage)
    assert order["id"].startswith(f"{KEY.uid}_BTCUSDT_")
    assert position["id"].startswith(f"{KEY.uid}_position_")
    assert wallet["id"].startswith(f"{KEY.uid}_wallet_")
