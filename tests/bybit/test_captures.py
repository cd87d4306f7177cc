"""Recorded messages of the venue, from a folder named by ``TEST_CAPTURES``.

We must read every message. Our own message in its place must have the same keys and types, except for the
differences listed here. The folder contains ``index.json`` (entries with ``file``, ``source``, ``category``)
and the messages.
"""

import json
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bot.bybit import orders, rest, serve, wire
from bot.bybit.decode import rows
from bot.bybit.private import (
    ExecutionUpdates,
    OrderUpdates,
    PositionUpdates,
    PrivateSession,
    Ready,
    WalletUpdates,
)
from bot.bybit.public import PublicSession, Subscribed, SubscribeFailed
from bot.bybit.session import BadMessage, Patience
from bot.bybit.trade import TradeResponse, TradeSession
from tests.payloads.bybit import text

FOLDER = os.environ.get("TEST_CAPTURES")
PATIENCE = Patience(1e12, 1e12, 1e12)


def recorded(*, source: str) -> list[str]:
    """Return the names of the recorded messages, without other markets and messages that we never send."""
    if FOLDER is None:
        return []
    entries = json.loads((Path(FOLDER) / "index.json").read_text())["entries"]
    return sorted(entry["file"] for entry in entries if entry["source"] == source)


def load(name: str) -> Any:
    assert FOLDER is not None
    return json.loads((Path(FOLDER) / name).read_text())


REAL = recorded(source="real_capture")
needs_captures = pytest.mark.skipif(
    FOLDER is None, reason="TEST_CAPTURES names no folder of recorded messages"
)

SPOT = {"real_rest_order_amend_spot_ok.json", "real_rest_order_create_spot_auto_link_id.json"}
"""Answers about spot orders: the same shape, an order id of another kind."""

LATER_FIELDS = {
    "order": {
        "parentOrderLinkId": "since 2026-01",
        "rpiTakerAccess": "since 2026-05",
        "rpiMatchedQty": "since 2026-05",
        "cumFeeDetail": "since 2025-09",
        "slippageTolerance": "in messages of 2025-10, not of 2025-01",
        "slippageToleranceType": "in messages of 2025-10, not of 2025-01",
        "closedPnl": "not in every message of 2024-09",
    },
    "execution": {
        "extraFees": "in messages of 2025-10, not of 2025-01",
        "feeCurrency": "in messages of 2025-10, not of 2025-01",
    },
    "position": {
        "breakEvenPrice": "since 2026-01",
        "openTime": "since 2026-04",
        "positionIMByMp": "in messages of 2025-10, not of 2025-01",
        "positionMMByMp": "in messages of 2025-10, not of 2025-01",
    },
    "wallet": {
        "accountIMRateByMp": "in messages of 2025-10, not of 2025-01",
        "accountMMRateByMp": "in messages of 2025-10, not of 2025-01",
        "totalInitialMarginByMp": "in messages of 2025-10, not of 2025-01",
        "totalMaintenanceMarginByMp": "in messages of 2025-10, not of 2025-01",
    },
    "coin": {"spotBorrow": "since 2025-09", "colRes": "since 2026-05"},
    "publicTrade": {"RPI": "since 2025, not in March", "seq": "since 2025-08"},
}
"""Fields that we send and that an older message cannot have, with what is known of when they came."""


class Kind(msgspec.Struct):
    """How a recorded message is read and written again."""

    name: str
    row: Any
    write: Callable[[dict[str, Any], list[Any]], str]


def _private(message: dict[str, Any], data: list[Any]) -> str:
    return serve.private_push(message["topic"], data, message["id"], message["creationTime"])


def _public(message: dict[str, Any], data: Any) -> str:
    return serve.push(
        message["topic"],
        data,
        message["ts"],
        kind=message["type"],
        cts_ms=message.get("cts"),
        cs=message.get("cs"),
    )


KINDS = {
    "order": Kind("order", wire.OrderPush, _private),
    "execution": Kind("execution", wire.ExecutionPush, _private),
    "position": Kind("position", wire.PositionPush, _private),
    "wallet": Kind("wallet", wire.WalletRow, _private),
    "kline": Kind("kline", wire.KlineRow, _public),
    "publicTrade": Kind("publicTrade", wire.TradeRow, _public),
    "tickers": Kind("tickers", wire.TickerRow, _public),
    "orderbook": Kind("orderbook", wire.BookRow, _public),
}


def pushes() -> list[str]:
    return [name for name in REAL if "topic" in load(name)]


def differences(ours: Any, theirs: Any, where: str = "") -> dict[str, str]:
    """Return path → difference for the keys and types of two values."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        found = {}
        for key in ours.keys() | theirs.keys():
            path = f"{where}.{key}" if where else key
            if key not in theirs:
                found[path] = "we add it"
            elif key not in ours:
                found[path] = "we lack it"
            else:
                found |= differences(ours[key], theirs[key], path)
        return found
    if isinstance(theirs, list) and isinstance(ours, list):
        if len(ours) != len(theirs):
            return {where: f"{len(ours)} items, not {len(theirs)}"}
        found = {}
        for one, other in zip(ours, theirs, strict=True):
            found |= differences(one, other, where)
        return found
    if type(ours) is not type(theirs):
        return {where: f"{type(ours).__name__}, not {type(theirs).__name__}"}
    return {} if ours == theirs else {where: f"{ours!r}, not {theirs!r}"}


@needs_captures
@pytest.mark.parametrize("name", pushes())
def test_a_recorded_push_is_read_and_written_again_as_it_was(name: str) -> None:
    message = load(name)
    kind = KINDS[message["topic"].partition(".")[0]]
    listed = message["data"] if isinstance(message["data"], list) else [message["data"]]
    found = rows(msgspec.Raw(text(listed).encode()), kind.row)
    assert not found.bad
    data = found.good if isinstance(message["data"], list) else found.good[0]
    again = json.loads(kind.write(message, data))
    later = LATER_FIELDS.get(kind.name, {})
    coins = LATER_FIELDS["coin"] if kind.name == "wallet" else {}
    left = {
        path: what
        for path, what in differences(again, message).items()
        if not (what == "we add it" and path.rpartition(".")[2] in {**later, **coins})
    }
    assert left == {}


@needs_captures
@pytest.mark.parametrize("name", pushes())
def test_a_recorded_push_goes_through_its_session(name: str) -> None:
    message = load(name)
    topic = message["topic"]
    if topic.startswith("publicTrade"):
        pytest.skip("the bot does not read trades")
    ids = (str(number) for number in count())
    if "creationTime" in message:
        private = PrivateSession("k", "s", [topic], ids=ids, patience=PATIENCE)
        (told,) = private.receive(text(message), 1)
        assert isinstance(told, OrderUpdates | ExecutionUpdates | PositionUpdates | WalletUpdates)
        assert len(told.rows) == len(message["data"])
    else:
        public = PublicSession([topic], ids=ids, patience=PATIENCE)
        (value,) = public.receive(text(message), 1)
        assert not isinstance(value, BadMessage)
        assert value.symbol == topic.rpartition(".")[2]
        assert value.ts_ms == message["ts"]


def _answers(prefix: str) -> list[str]:
    return [name for name in REAL if name.startswith(prefix) and "topic" not in load(name)]


@needs_captures
@pytest.mark.parametrize("name", _answers("real_ws_trade_"))
def test_a_recorded_answer_of_the_trade_stream_is_read_and_written_again(name: str) -> None:
    message = load(name)
    session = TradeSession("k", "s", ids=iter(()), patience=PATIENCE)
    (answer,) = session.receive(text(message), 1)
    assert isinstance(answer, TradeResponse)
    assert (answer.req_id, answer.code) == (message["reqId"], message["retCode"])
    assert (answer.order_id, answer.link_id) == tuple(
        message.get("data", {}).get(name, "") for name in ("orderId", "orderLinkId")
    )
    header = message.get("header")
    again = serve.trade_reply(
        message["op"],
        message["reqId"],
        message["connId"],
        code=message["retCode"],
        text=message["retMsg"],
        data=message.get("data"),
        limit=header
        and serve.RateLimitHeaders(
            int(header["X-Bapi-Limit"]),
            int(header["X-Bapi-Limit-Status"]),
            int(header["X-Bapi-Limit-Reset-Timestamp"]),
        ),
        trace_id=header["Traceid"] if header else "",
        now_ms=int(header["Timenow"]) if header else 0,
    )
    assert differences(json.loads(again), message) == {}


@needs_captures
@pytest.mark.parametrize("name", [n for n in _answers("real_ws_") if not n.startswith("real_ws_trade_")])
def test_a_recorded_pong_or_acknowledgement_is_written_again(name: str) -> None:
    message = load(name)
    stream: Any = "private" if "private" in name else "public"
    req_id, conn_id = message.get("req_id"), message["conn_id"]
    match message["op"]:
        case "ping" | "pong":
            ours = serve.pong(stream, req_id, conn_id, int(message.get("args", ["0"])[0]))
        case "auth":
            ours = serve.auth_reply(stream, message["success"], req_id, conn_id)
        case op:
            ours = serve.ack(stream, op, message["success"], message["ret_msg"], req_id, conn_id)
    assert differences(json.loads(ours), message) == {}
    assert list(json.loads(ours)) == list(message)


@needs_captures
@pytest.mark.parametrize("name", [n for n in _answers("real_ws_") if "subscribe" in n])
def test_a_recorded_acknowledgement_is_understood(name: str) -> None:
    message = load(name)
    ids = iter([str(message["req_id"])] * 2)
    if "private" in name:
        private = PrivateSession("k", "s", ["order"], ids=ids, patience=PATIENCE)
        private.opened(0, 0)
        private.receive(serve.auth_reply("private", True, None, "c"), 0)
        assert private.receive(text(message), 1) == (Ready(),)
        return
    topic = "kline.1.BTCUSDT"
    public = PublicSession([topic], ids=ids, patience=PATIENCE)
    public.opened(0)
    first = public.receive(text(message), 1)
    if message["success"]:
        assert first == (Subscribed((topic,)),)
    else:
        assert public.receive(text(message), 2) == (SubscribeFailed((topic,), message["ret_msg"]),)


@needs_captures
@pytest.mark.parametrize("name", [n for n in REAL if n.startswith("real_rest_")])
def test_a_recorded_answer_is_read(name: str) -> None:
    message = load(name)
    body = text(message).encode()
    if "kline" in name:
        result = message["result"]
        klines = rest.parse_klines(body, result["symbol"], 60_000)
        assert [str(bar.start_ms) for bar in klines.bars] == [row[0] for row in reversed(result["list"])]
    elif "history" in name:
        page = orders.parse_orders(body)
        again = serve.envelope(
            serve.listing(page.rows, page.cursor, message["result"]["category"]), time_ms=message["time"]
        )
        left = differences(json.loads(again), message)
        assert {path.rpartition(".")[2] for path, what in left.items() if what == "we add it"} <= set(
            LATER_FIELDS["order"]
        )
        assert all(what == "we add it" for what in left.values())
    else:
        assert name in SPOT
        answer = orders.parse_answer(body)
        assert (answer.code, answer.order_id) == (0, message["result"]["orderId"])


@needs_captures
def test_documented_and_reported_messages_are_read_too() -> None:
    read = 0
    for name in recorded(source="doc_example") + recorded(source="reported"):
        message = load(name)
        parse = DOCUMENTED.get(name)
        if parse is not None:
            parse(text(message).encode())
            read += 1
        elif name.startswith("reported_err_"):
            answer = orders.parse_answer(text(message).encode())
            assert answer.code == message["retCode"]
            read += 1
    assert read > len(DOCUMENTED) + 10


DOCUMENTED: dict[str, Callable[[bytes], object]] = {
    "doc_rest_order_realtime.json": orders.parse_orders,
    "doc_rest_order_history.json": orders.parse_orders,
    "doc_rest_execution_list.json": orders.parse_executions,
    "doc_rest_position_list.json": orders.parse_positions,
    "doc_rest_wallet_balance.json": orders.parse_wallet,
    "doc_rest_account_info.json": orders.parse_account_info,
    "doc_rest_user_query_api.json": orders.parse_query_api,
    "doc_rest_instruments_linear_1.json": orders.parse_instruments,
    "doc_rest_instruments_linear_2.json": orders.parse_instruments,
    "doc_rest_risk_limit.json": orders.parse_risk_limits,
    "doc_rest_tickers_inverse.json": orders.parse_tickers,
    "doc_rest_time.json": orders.parse_time,
    "doc_rest_order_create.json": orders.parse_answer,
}
