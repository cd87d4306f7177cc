import pytest

from bot.bybit import serve
from bot.bybit.serve import (
    Auth,
    BadClient,
    Ping,
    RateLimitHeaders,
    Subscribe,
    TradeRequest,
    Unsubscribe,
    parse_client,
)
from bot.bybit.wire import BookRow, KlineRow, OrderIds, TickerRow
from tests.payloads import bybit as payloads
from tests.payloads.bybit import T0, text


@pytest.mark.parametrize(
    ("said", "request_"),
    [
        ('{"op":"ping"}', Ping()),
        ('{"req_id": 7, "op": "ping"}', Ping("7")),
        ('{"reqId":"p","op":"ping"}', Ping("p")),
        ('{"op":"subscribe","args":["a","b"],"req_id":"x"}', Subscribe(("a", "b"), "x")),
        ('{"op":"unsubscribe","args":["a"]}', Unsubscribe(("a",))),
        ('{"op":"auth","args":["k",1700000010000,"s"]}', Auth("k", "1700000010000", "s")),
        ('{"op":"auth","args":["k","1700000010000","s"],"reqId":"a"}', Auth("k", "1700000010000", "s", "a")),
        (
            '{"reqId":"r","header":{"X-BAPI-TIMESTAMP":12,"X-BAPI-RECV-WINDOW":8000,"Referer":"b"},'
            '"op":"order.cancel","args":[{"symbol":"X"}]}',
            TradeRequest("order.cancel", ({"symbol": "X"},), 12, 8000, "r"),
        ),
        (
            '{"header":{"X-BAPI-TIMESTAMP":"soon","X-BAPI-RECV-WINDOW":true},"op":"order.fly"}',
            TradeRequest("order.fly", (), None, None),
        ),
    ],
)
def test_clients_are_understood_in_all_their_dialects(said: str, request_: object) -> None:
    assert parse_client(said) == request_
    assert parse_client(said.encode()) == request_


@pytest.mark.parametrize(
    ("said", "op", "req_id"),
    [
        ("not json", "", None),
        ("[]", "", None),
        ('{"op":"dance","req_id":"1"}', "dance", "1"),
        ('{"op":"subscribe","args":"kline","req_id":"1"}', "subscribe", "1"),
        ('{"op":"auth","args":["key"]}', "auth", None),
        ('{"op":"order.create","args":[1],"reqId":"2"}', "order.create", "2"),
        ('{"op":"ping","req_id":{}}', "", None),
        ("[" * 100_000, "", None),
        ('{"op":"' + "x" * 300_000 + '"}', "", None),
    ],
)
def test_an_unreadable_client_message_keeps_the_parts_that_could_be_read(
    said: str, op: str, req_id: str | None
) -> None:
    found = parse_client(said)
    assert isinstance(found, BadClient)
    assert (found.op, found.req_id) == (op, req_id)
    assert len(found.reason) < 300


@pytest.mark.parametrize(
    ("stream", "req_id", "reply"),
    [
        ("public", None, '{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"","op":"ping"}'),
        ("public", "7", '{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"7","op":"ping"}'),
        ("spot", None, '{"success":true,"ret_msg":"pong","conn_id":"c","op":"ping"}'),
        ("option", "7", '{"op":"pong","args":["5"]}'),
        ("private", "7", '{"req_id":"7","op":"pong","args":["5"],"conn_id":"c"}'),
        ("trade", None, '{"retCode":0,"retMsg":"OK","op":"pong","data":["5"],"connId":"c"}'),
    ],
)
def test_a_pong_speaks_its_streams_dialect(stream: serve.Stream, req_id: str | None, reply: str) -> None:
    assert serve.pong(stream, req_id, "c", 5) == reply


@pytest.mark.parametrize(
    ("stream", "success", "req_id", "reply"),
    [
        ("public", True, None, '{"success":true,"ret_msg":"","conn_id":"c","req_id":"","op":"subscribe"}'),
        (
            "spot",
            True,
            "1",
            '{"success":true,"ret_msg":"subscribe","conn_id":"c","req_id":"1","op":"subscribe"}',
        ),
        ("private", True, None, '{"success":true,"ret_msg":"","op":"subscribe","conn_id":"c"}'),
        ("private", True, "1", '{"req_id":"1","success":true,"ret_msg":"","op":"subscribe","conn_id":"c"}'),
        (
            "option",
            True,
            "1",
            '{"success":true,"conn_id":"c","data":{"failTopics":[],"successTopics":["a"]},"type":"COMMAND_RESP"}',
        ),
        (
            "public",
            False,
            "1",
            '{"success":false,"ret_msg":"error:handler not found,topic:a","conn_id":"c","req_id":"1",'
            '"op":"subscribe"}',
        ),
    ],
)
def test_an_acknowledgement_speaks_its_streams_dialect(
    stream: serve.Stream, success: bool, req_id: str | None, reply: str
) -> None:
    ret_msg = "" if success else serve.handler_not_found("a")
    assert serve.ack(stream, "subscribe", success, ret_msg, req_id, "c", topics=["a"]) == reply


def test_a_sign_in_is_answered_with_a_code_on_the_trade_stream_alone() -> None:
    assert (
        serve.auth_reply("private", True, None, "c")
        == '{"success":true,"ret_msg":"","op":"auth","conn_id":"c"}'
    )
    refused = '{"req_id":"1","success":false,"ret_msg":"Params Error","op":"auth","conn_id":"c"}'
    assert serve.auth_reply("private", False, "1", "c") == refused
    assert (
        serve.auth_reply("trade", True, None, "c") == '{"retCode":0,"retMsg":"OK","op":"auth","connId":"c"}'
    )
    assert '"retCode":10004' in serve.auth_reply("trade", False, None, "c")


def test_a_trade_request_is_answered_with_data_and_header_or_refused_at_the_gate() -> None:
    header = payloads.TRADE_CREATED["header"]
    limit = RateLimitHeaders(10, 9, T0 + 7)
    ids = OrderIds(payloads.ORDER["orderId"], "bot7-12-e")
    ids_and_time = {"trace_id": header["Traceid"], "now_ms": T0 + 7}
    created = serve.trade_reply("order.create", "r-1", "c-3", data=ids, limit=limit, **ids_and_time)
    assert created == text(payloads.TRADE_CREATED)
    refused = serve.trade_reply("order.create", "r", "c", code=110007, text="ab", limit=limit, **ids_and_time)
    assert refused == text(
        {
            "reqId": "r",
            "retCode": 110007,
            "retMsg": "ab",
            "op": "order.create",
            "data": {},
            "header": header,
            "connId": "c",
        }
    )
    gate = payloads.TRADE_REFUSED_BY_GATE
    assert serve.trade_reply("order.create", "r-2", "c-3", code=10005, text=gate["retMsg"]) == text(gate)
    batch = serve.trade_reply(
        "order.create-batch", None, "c", data={"list": []}, ext={"list": []}, limit=limit
    )
    assert batch.startswith(
        '{"retCode":0,"retMsg":"OK","op":"order.create-batch","data":{"list":[]},"retExtInfo":{"list":[]}'
    )


def test_pushes_are_compact_and_complete() -> None:
    row = KlineRow(
        T0, T0 + 59_999, "1", "100.5", "101", "102", "99.5", "7.316", "735.258", False, T0 + 31_500
    )
    assert serve.push("kline.1.BTCUSDT", [row], T0 + 31_500) == text(payloads.KLINE_OPEN)
    book = BookRow("BTCUSDT", [("100.4", "1.5")], [("100.5", "0.25")], 7, 99)
    assert serve.push("orderbook.1.BTCUSDT", book, T0 + 300, cts_ms=T0 + 298) == text(payloads.BOOK_TOP)
    delta = TickerRow(symbol="BTCUSDT", lastPrice="100.60")
    assert serve.push("tickers.BTCUSDT", delta, 5, kind="delta", cs=6) == (
        '{"topic":"tickers.BTCUSDT","type":"delta","ts":5,"data":{"symbol":"BTCUSDT","lastPrice":"100.60"},"cs":6}'
    )
    assert (
        serve.private_push("order", [], "id", 5) == '{"topic":"order","id":"id","creationTime":5,"data":[]}'
    )
    assert "id" not in serve.private_push("execution.fast", [], None, 5)


def test_answers_are_enveloped() -> None:
    assert serve.envelope(time_ms=5) == b'{"retCode":0,"retMsg":"OK","result":{},"retExtInfo":{},"time":5}'
    refused = serve.envelope(None, 10001, "params error", time_ms=5, ext={"a": 1})
    assert refused == b'{"retCode":10001,"retMsg":"params error","result":{},"retExtInfo":{"a":1},"time":5}'
    page = serve.envelope(serve.listing([1], "c%3A", "linear"), time_ms=5)
    assert b'"result":{"nextPageCursor":"c%3A","category":"linear","list":[1]}' in page
