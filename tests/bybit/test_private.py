from itertools import count

import pytest

from bot.bybit.private import (
    AuthFailed,
    BadMessage,
    ExecutionUpdates,
    LinkLost,
    OrderUpdates,
    PositionUpdates,
    PrivateSession,
    Ready,
    SubscribeFailed,
    WalletUpdates,
)
from bot.bybit.serve import Auth, Subscribe, ack, auth_reply, parse_client
from bot.bybit.session import Patience
from bot.bybit.sign import ws_signature
from bot.domain.errors import BadInput
from tests.payloads import bybit as payloads
from tests.payloads.bybit import T0, text

SECRET = "canary-secret"


def session(*topics: str) -> PrivateSession:
    return PrivateSession(
        "key",
        SECRET,
        topics or ("order", "execution", "position", "wallet"),
        ids=(f"id{number}" for number in count()),
        patience=Patience(15_000, 8_000, 10_000),
    )


def signed_in(one: PrivateSession) -> Subscribe:
    one.opened(0, T0)
    assert one.receive(auth_reply("private", True, None, "c"), 1) == ()
    (sent,) = one.texts()
    request = parse_client(sent)
    assert isinstance(request, Subscribe)
    return request


def ready(*topics: str) -> PrivateSession:
    one = session(*topics)
    request = signed_in(one)
    assert one.receive(ack("private", "subscribe", True, "", request.req_id, "c"), 2) == (Ready(),)
    return one


def test_it_signs_in_subscribes_and_is_ready_once_all_topics_are_there() -> None:
    one = session()
    (sent,) = one.opened(0, T0)
    assert parse_client(sent) == Auth("key", str(T0 + 10_000), ws_signature(SECRET, T0 + 10_000))
    assert SECRET not in sent
    assert one.receive(auth_reply("private", True, None, "c"), 1) == ()
    (sent,) = one.texts()
    request = parse_client(sent)
    assert isinstance(request, Subscribe)
    assert request.topics == ("order", "execution", "position", "wallet")
    assert one.receive(ack("private", "subscribe", True, "", request.req_id, "c"), 2) == (Ready(),)
    assert one.deadline_ms() == 15_000


def test_a_refused_sign_in_is_told_and_nothing_is_asked() -> None:
    one = session()
    one.opened(0, T0)
    assert one.receive(auth_reply("private", False, None, "c"), 1) == (AuthFailed("Params Error"),)
    assert one.texts() == []


def test_an_answer_to_no_sign_in_changes_nothing() -> None:
    one = ready()
    for success in (True, False):
        (bad,) = one.receive(auth_reply("private", success, None, "c"), 3)
        assert isinstance(bad, BadMessage)
    assert one.texts() == []


def test_it_is_not_ready_while_a_topic_is_missing() -> None:
    one = session("order", "wallet")
    request = signed_in(one)
    assert one.receive(ack("private", "subscribe", False, "error:no", request.req_id, "c"), 2) == ()
    order, wallet = (parse_client(sent) for sent in one.texts())
    assert one.receive(ack("private", "subscribe", True, "", order.req_id, "c"), 3) == ()
    failed = one.receive(ack("private", "subscribe", False, "error:no", wallet.req_id, "c"), 3)
    assert failed == (SubscribeFailed(("wallet",), "error:no"),)


@pytest.mark.parametrize("said", [[], [auth_reply("private", True, None, "c")]], ids=["auth", "subscribe"])
def test_a_server_that_does_not_answer_is_a_lost_link(said: list[str]) -> None:
    one = session()
    one.opened(0, T0)
    for reply in said:
        one.receive(reply, 500)
    one.on_time(9_999)
    with pytest.raises(LinkLost, match="no answer"):
        one.on_time(10_500)


def test_orders_executions_positions_and_wallets_are_told_with_their_time() -> None:
    one = ready()
    both = text(payloads.private("order", payloads.ORDER, {**payloads.ORDER, "orderStatus": "Deactivated"}))
    (orders,) = one.receive(both, 3)
    assert isinstance(orders, OrderUpdates)
    assert orders.ts_ms == T0 + 6
    assert [row.orderStatus for row in orders.rows] == ["PartiallyFilled", "Deactivated"]
    assert orders.rows[0].cumFeeDetail == {"USDT": "0.0001005"}
    (executions,) = one.receive(text(payloads.private("execution", payloads.EXECUTION)), 3)
    assert isinstance(executions, ExecutionUpdates)
    assert executions.rows[0].execId == payloads.EXECUTION["execId"]
    assert executions.rows[0].extraFees[0].fee == "0.00001"
    (positions,) = one.receive(text(payloads.private("position", payloads.POSITION)), 3)
    assert isinstance(positions, PositionUpdates)
    assert (positions.rows[0].entryPrice, positions.rows[0].stopLoss) == ("100.5", "95")
    (wallets,) = one.receive(text(payloads.private("wallet", payloads.WALLET)), 3)
    assert isinstance(wallets, WalletUpdates)
    assert wallets.rows[0].coin[0].walletBalance == "10000.6"


def test_topics_of_a_category_are_told_like_plain_ones() -> None:
    one = ready("order.linear")
    (orders,) = one.receive(text(payloads.private("order.linear", payloads.ORDER)), 3)
    assert isinstance(orders, OrderUpdates)
    (bad,) = one.receive(text(payloads.private("order", payloads.ORDER)), 3)
    assert isinstance(bad, BadMessage)


def test_a_row_that_cannot_be_read_does_not_take_its_neighbours_with_it() -> None:
    one = ready()
    lacking = {name: value for name, value in payloads.EXECUTION.items() if name != "execQty"}
    good, bad = one.receive(text(payloads.private("execution", payloads.EXECUTION, lacking)), 3)
    assert isinstance(good, ExecutionUpdates)
    assert len(good.rows) == 1
    assert bad == BadMessage("ExecutionPush: Object missing required field `execQty`")


@pytest.mark.fault(10)
def test_minor_fields_may_be_missing_new_or_of_another_type() -> None:
    one = ready()
    odd = {**payloads.ORDER, "blockTradeId": None, "smpGroup": "0", "avgPrice": None, "brandNew": {"a": [1]}}
    del odd["lastPriceOnCreated"]
    (orders,) = one.receive(text(payloads.private("order", odd)), 3)
    assert isinstance(orders, OrderUpdates)
    (row,) = orders.rows
    assert (row.blockTradeId, row.avgPrice, row.smpGroup, row.cumExecQty) == ("", "", 0, "0.005")


def test_the_secret_is_in_no_text_about_the_session() -> None:
    one = ready()
    assert SECRET not in repr(one)


def test_a_topic_that_cannot_be_read_is_refused_at_once() -> None:
    with pytest.raises(BadInput, match="greeks"):
        session("order", "greeks")
