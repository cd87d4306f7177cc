"""The private stream over a real socket: logins, topics, and who is told what."""

import asyncio

import pytest

from tests.simulator.client import exchange


async def test_a_login_answers_with_the_streams_own_words() -> None:
    async with exchange() as wire, wire.socket("/v5/private", login=False) as socket:
        refused = await socket.subscribe("order")
        assert (refused["success"], refused["ret_msg"]) == (False, "Request not authorized")
        for wrong in ({"secret": "wrong"}, {"expires_ms": wire.now_ms() - 1}):
            answer = await socket.login(**wrong)  # type: ignore[arg-type]
            assert (answer["success"], answer["ret_msg"]) == (False, "Params Error")
        assert (await socket.login())["success"] is True
        assert (await socket.subscribe("order"))["success"] is True
        await socket.say({"op": "ping", "req_id": "p"})
        pong = await socket.wait(lambda m: m.get("op") == "pong")
        assert (pong["req_id"], pong["args"][0].isdigit()) == ("p", True)


async def test_a_login_does_not_help_the_subscription_before_it() -> None:
    async with exchange() as wire, wire.socket("/v5/private", login=False) as socket:
        await socket.say({"op": "subscribe", "req_id": "early", "args": ["order"]})
        assert (await socket.login())["success"]
        assert not (await socket.wait(lambda m: m.get("req_id") == "early"))["success"]
        for number, op in enumerate(("subscribe", "unsubscribe", "subscribe")):
            await socket.say({"op": op, "req_id": str(number), "args": ["order"]})
        assert all(
            [(await socket.wait(lambda m, n=n: m.get("req_id") == str(n)))["success"] for n in range(3)]
        )


@pytest.mark.parametrize("args", [[], ["test-key", 1.5, "x"], ["a", "b", "c", "d"], "x", None])
async def test_a_login_of_the_wrong_form_is_answered_as_a_login(args: object) -> None:
    async with exchange() as wire:
        async with wire.socket("/v5/private", login=False) as socket:
            await socket.say({"op": "auth", "args": args})
            answer = await socket.wait(lambda m: m.get("op") == "auth")
            assert (answer["success"], answer["ret_msg"]) == (False, "Params Error")
        async with wire.socket("/v5/trade", login=False) as socket:
            await socket.say({"op": "auth", "args": args})
            assert (await socket.wait(lambda m: m.get("op") == "auth"))["retCode"] == 10001


@pytest.mark.parametrize(
    ("topics", "words"),
    [
        (("order", "nothing"), "handler not found"),
        (("order", "order.linear"), "cannot be in the same request"),
        (("wallet.linear",), "handler not found"),
        (("order", "order"), ""),
    ],
)
async def test_one_bad_topic_refuses_the_request(topics: tuple[str, ...], words: str) -> None:
    async with exchange() as wire, wire.socket("/v5/private") as socket:
        answer = await socket.subscribe(*topics)
        assert answer["success"] is (not words)
        assert words in answer["ret_msg"]
        again = await socket.subscribe("order", req_id="again")
        assert again["success"] is bool(words)


async def test_a_fill_is_told_in_bybits_order_with_shared_ids() -> None:
    async with exchange() as wire, wire.socket("/v5/private") as socket:
        await socket.subscribe("order", "execution", "position", "wallet")
        made = await wire.order(orderType="Market")
        pushes = [await socket.wait(lambda m: "topic" in m) for _ in range(4)]
        assert [push["topic"] for push in pushes] == ["order", "execution", "position", "wallet"]
        assert pushes[0]["id"] == pushes[1]["id"]
        assert pushes[0]["data"][0]["orderId"] == made["result"]["orderId"]
        assert pushes[2]["data"][0]["entryPrice"] == pushes[1]["data"][0]["execPrice"]


async def test_each_follower_gets_the_topic_it_asked_for() -> None:
    async with exchange() as wire, wire.socket("/v5/private") as one, wire.socket("/v5/private") as other:
        await one.subscribe("order.linear", "order.spot")
        await other.subscribe("execution.fast")
        await wire.order(orderType="Market", orderLinkId="mine")
        assert (await one.push("order.linear"))["data"][0]["orderLinkId"] == "mine"
        fast = await other.push("execution.fast")
        assert "id" not in fast
        assert set(fast["data"][0]) == {
            *("category", "symbol", "execId", "execPrice", "execQty", "orderId"),
            *("isMaker", "orderLinkId", "side", "execTime", "seq"),
        }


async def test_the_position_is_told_on_every_order_though_it_did_not_change() -> None:
    async with exchange() as wire, wire.socket("/v5/private") as socket:
        await socket.subscribe("position")
        made = await wire.order()
        first = await socket.push("position")
        await wire.post(
            "/v5/order/cancel",
            {"category": "linear", "symbol": "BTCUSDT", "orderId": made["result"]["orderId"]},
        )
        assert (await socket.push("position"))["data"][0]["size"] == first["data"][0]["size"] == "0"


async def test_the_answer_leaves_before_what_came_of_it() -> None:
    async with exchange(ack_delay_ms=20.0) as wire, wire.socket("/v5/private") as socket:
        await socket.subscribe("order")
        before = asyncio.get_running_loop().time()
        await wire.order()
        answered = asyncio.get_running_loop().time()
        await socket.push("order")
        assert asyncio.get_running_loop().time() > answered
        assert asyncio.get_running_loop().time() - before >= 0.02


async def test_another_account_hears_nothing_of_it() -> None:
    async with (
        exchange(more_keys={"other-key": "other-secret"}) as wire,
        wire.socket("/v5/private") as socket,
    ):
        await socket.subscribe("order")
        await wire.post(
            "/v5/order/create",
            {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "0.01"},
            key="other-key",
            secret="other-secret",
        )
        mine = await wire.order(orderLinkId="mine")
        assert (await socket.push("order"))["data"][0]["orderId"] == mine["result"]["orderId"]


async def test_nonsense_is_answered_and_survived() -> None:
    async with exchange() as wire, wire.socket("/v5/private") as socket:
        for text in (
            "",
            "[]",
            "{",
            '{"op":"subscribe","args":[1,{}]}',
            '{"op":"order.create"}',
            '{"op":null}',
        ):
            await socket._socket.send_str(text)
            assert (await socket.wait(lambda m: "success" in m))["success"] is False
        assert (await socket.subscribe("order"))["success"] is True
