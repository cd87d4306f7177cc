"""The trade socket over a real connection: its dialect, its rules, and that it trades."""

from typing import Any

import pytest

from tests.simulator.client import BITCOIN, Json, Socket, Wire, exchange


async def ask(socket: Socket, wire: Wire, op: str, *args: Json, req_id: str = "1", **header: Any) -> Json:
    stamp = {"X-BAPI-TIMESTAMP": wire.now_ms(), "X-BAPI-RECV-WINDOW": 5000, **header}
    await socket.say({"op": op, "reqId": req_id, "header": stamp, "args": list(args)})
    return await socket.wait(lambda m: m.get("reqId") == req_id)


def limit(wire: Wire, **params: Any) -> Json:
    usual = {"side": "Buy", "orderType": "Limit", "qty": "0.01", "price": wire.far()}
    return {**BITCOIN, **usual, **params}


async def test_orders_are_made_changed_and_cancelled() -> None:
    async with exchange() as wire, wire.socket("/v5/trade") as socket:
        made = await ask(socket, wire, "order.create", limit(wire, orderLinkId="mine"))
        assert (made["retCode"], made["data"]["orderLinkId"]) == (0, "mine")
        assert {"X-Bapi-Limit", "X-Bapi-Limit-Status", "Traceid", "Timenow"} < set(made["header"])
        changed = {**BITCOIN, "orderLinkId": "mine", "qty": "0.02"}
        assert (await ask(socket, wire, "order.amend", changed, req_id="2"))["retCode"] == 0
        gone = {**BITCOIN, "orderLinkId": "mine"}
        assert (await ask(socket, wire, "order.cancel", gone, req_id="3"))["data"] == made["data"]
        again = await ask(socket, wire, "order.cancel", gone, req_id="4")
        assert (again["retCode"], again["data"]) == (110001, {})


async def test_a_batch_tells_of_each_order() -> None:
    async with exchange() as wire, wire.socket("/v5/trade") as socket:
        pair = [limit(wire), limit(wire, qty="0.0001")]
        answer = await ask(socket, wire, "order.create-batch", {"category": "linear", "request": pair})
        assert answer["retCode"] == 0
        assert [row["code"] for row in answer["retExtInfo"]["list"]] == [0, 10001]
        assert [bool(row["orderId"]) for row in answer["data"]["list"]] == [True, False]


@pytest.mark.parametrize(
    ("op", "header", "args", "code"),
    [
        ("order.fly", {}, [{}], 10404),
        ("order.cancel", {"X-BAPI-TIMESTAMP": 1}, [BITCOIN], 10002),
        ("order.cancel", {"X-BAPI-TIMESTAMP": None}, [BITCOIN], 10001),
        ("order.cancel", {}, [], 10001),
        ("order.cancel", {}, [BITCOIN, BITCOIN], 10001),
        ("order.create", {}, [{**BITCOIN, "side": "up"}], 10001),
    ],
)
async def test_what_is_wrong_has_its_code(op: str, header: Json, args: list[Json], code: int) -> None:
    async with exchange() as wire, wire.socket("/v5/trade") as socket:
        assert (await ask(socket, wire, op, *args, **header))["retCode"] == code


async def test_a_request_id_is_used_once() -> None:
    async with exchange() as wire, wire.socket("/v5/trade") as socket:
        codes = [
            (await ask(socket, wire, "order.cancel", {**BITCOIN, "orderId": "x"}))["retCode"] for _ in "ab"
        ]
        assert codes == [110001, 20006]
        long = await ask(socket, wire, "order.cancel", BITCOIN, req_id="x" * 37)
        assert long["retCode"] == 10001


async def test_the_door_is_shut_until_the_login() -> None:
    async with exchange() as wire, wire.socket("/v5/trade", login=False) as socket:
        refused = await ask(socket, wire, "order.create", limit(wire))
        assert (refused["retCode"], "data" in refused, "header" in refused) == (10003, False, False)
        assert (await socket.login(secret="wrong"))["retCode"] == 10004
        assert (await socket.login())["retCode"] == 0
        assert (await socket.login())["retCode"] == 20001
        await socket.say({"op": "ping"})
        pong = await socket.wait(lambda m: m.get("op") == "pong")
        assert (pong["retCode"], pong["data"][0].isdigit()) == (0, True)
