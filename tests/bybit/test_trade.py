from itertools import count

import pytest

from bot.bybit.serve import Auth, Ping, TradeRequest, auth_reply, parse_client, pong
from bot.bybit.session import Patience
from bot.bybit.sign import ws_signature
from bot.bybit.trade import AuthFailed, BadMessage, LinkLost, Ready, TradeResponse, TradeSession
from tests.payloads import bybit as payloads
from tests.payloads.bybit import T0, text


def session() -> TradeSession:
    return TradeSession(
        "key",
        "secret",
        ids=(f"id{number}" for number in count()),
        patience=Patience(15_000, 8_000, 10_000),
    )


def ready() -> TradeSession:
    one = session()
    (sent,) = one.opened(0, T0)
    assert parse_client(sent) == Auth("key", str(T0 + 10_000), ws_signature("secret", T0 + 10_000))
    assert one.receive(auth_reply("trade", True, None, "c"), 1) == (Ready(),)
    return one


def test_a_request_goes_out_as_documented_and_its_answer_comes_back() -> None:
    one = ready()
    sent = one.request("order.create", payloads.TRADE_REQUEST["args"][0], "r-1", T0, 5000)
    assert sent == text(payloads.TRADE_REQUEST)
    assert parse_client(sent) == TradeRequest(
        "order.create", tuple(payloads.TRADE_REQUEST["args"]), T0, 5000, "r-1"
    )
    assert one.receive(text(payloads.TRADE_CREATED), 2) == (
        TradeResponse("r-1", "order.create", 0, "OK", payloads.ORDER["orderId"], "bot7-12-e", T0 + 7),
    )


@pytest.mark.parametrize("data", [{}, None, [], "x", {"list": []}])
def test_a_refusal_is_an_answer_whatever_its_data(data: object) -> None:
    refusal = {**payloads.TRADE_CREATED, "retCode": 110007, "retMsg": "ab not enough\n", "data": data}
    assert ready().receive(text(refusal), 2) == (
        TradeResponse("r-1", "order.create", 110007, "ab not enough ", reset_ms=T0 + 7),
    )


@pytest.mark.fault(44)
def test_a_refusal_before_counting_has_no_header_and_may_lack_the_request_id() -> None:
    one = ready()
    (answer,) = one.receive(text(payloads.TRADE_REFUSED_BY_GATE), 2)
    assert answer == TradeResponse("r-2", "order.create", 10005, "Permission denied for current apikey")
    nameless = {name: v for name, v in payloads.TRADE_REFUSED_BY_GATE.items() if name != "reqId"}
    (answer,) = one.receive(text(nameless), 2)
    assert isinstance(answer, TradeResponse)
    assert answer.req_id == ""


def test_a_wrong_signature_is_told_without_what_was_signed() -> None:
    one = session()
    one.opened(0, T0)
    reply = auth_reply("trade", False, None, "c", text="error sign! origin_string[canary]")
    assert one.receive(reply, 1) == (AuthFailed("", 10004),)
    echoed = {**payloads.TRADE_REFUSED_BY_GATE, "retCode": 10004, "retMsg": "origin_string[canary]"}
    (answer,) = one.receive(text(echoed), 2)
    assert "canary" not in repr(answer)


def test_an_unanswered_ping_is_a_lost_link() -> None:
    one = ready()
    one.on_time(15_000)
    (sent,) = one.texts()
    assert isinstance(parse_client(sent), Ping)
    assert one.receive(pong("trade", None, "c", T0), 15_100) == ()
    one.on_time(30_000)
    with pytest.raises(LinkLost, match="no pong"):
        one.on_time(38_000)


def test_a_sign_in_without_an_answer_is_a_lost_link() -> None:
    one = session()
    one.opened(0, T0)
    with pytest.raises(LinkLost, match="no answer to auth"):
        one.on_time(10_000)


@pytest.mark.parametrize(
    "message", [{"op": "order.create"}, {"op": "x", "retCode": 0}, [], payloads.AUTH_OK, "x" * 300_000]
)
def test_what_cannot_be_read_is_counted_and_dropped(message: object) -> None:
    (bad,) = ready().receive(text(message), 2)
    assert isinstance(bad, BadMessage)
