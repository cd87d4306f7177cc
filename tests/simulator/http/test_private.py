"""Signed REST over a real connection: headers, quotas, shapes."""

import json

import pytest

from bot.simulator.account.access import Key
from bot.simulator.config import AccessRules
from tests.simulator.client import BITCOIN, exchange


async def test_every_private_answer_carries_the_quota() -> None:
    async with exchange() as wire:
        answer, response = await wire.call("GET", "/v5/order/realtime", "category=linear&symbol=BTCUSDT")
        assert answer["retCode"] == 0
        assert (response.headers["X-Bapi-Limit"], response.headers["X-Bapi-Limit-Status"]) == ("50", "49")
        assert response.headers["X-Bapi-Limit-Reset-Timestamp"].isdigit()


async def test_too_many_orders_in_a_second_are_turned_away_with_the_time_to_come_back() -> None:
    async with exchange(rules=AccessRules(order_quota=3)) as wire:
        codes = [(await wire.order())["retCode"] for _ in range(4)]
        assert codes == [0, 0, 0, 10006]
        body = json.dumps({**BITCOIN, "orderId": "x"})
        answer, response = await wire.call("POST", "/v5/order/cancel", body)
        assert answer["retCode"] == 110001
        assert response.headers["X-Bapi-Limit-Status"] == "2"


async def test_a_batch_beyond_the_quota_goes_through_in_part() -> None:
    async with exchange(rules=AccessRules(order_quota=2)) as wire:
        order = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": wire.far()}
        answer = await wire.post("/v5/order/create-batch", {"category": "linear", "request": [order] * 3})
        assert [each["code"] for each in answer["retExtInfo"]["list"]] == [0, 0, 10006]


async def test_json_is_compact_and_the_body_may_be_spaced_as_the_client_likes() -> None:
    async with exchange() as wire:
        order = {**BITCOIN, "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": wire.far()}
        for separators in ((",", ":"), (" , ", " : ")):
            _, response = await wire.call(
                "POST", "/v5/order/create", json.dumps(order, separators=separators)
            )
            assert response.status == 200
        _, response = await wire.call("GET", "/v5/account/info", "")
        assert response.headers["Content-Type"].startswith("application/json")
        assert response.headers["X-Clock-Speed"] == "1.0"


@pytest.mark.parametrize(
    "body", ["", "[]", "{", '"text"', '{"category":{}}', '{"category":"linear","symbol":7}']
)
async def test_a_body_that_is_no_order_is_a_parameter_error(body: str) -> None:
    async with exchange() as wire:
        answer, response = await wire.call("POST", "/v5/order/create", body)
        assert (answer["retCode"], response.status) == (10001, 200)


async def test_a_key_that_may_only_read_cannot_trade() -> None:
    async with exchange() as wire:
        accounts = wire.server.accounts
        key = Key("test-key", "test-secret", 100_000_001, read_only=True)
        accounts.keys["test-key"] = accounts.by_key["test-key"].key = key
        assert (await wire.order())["retCode"] == 10005
        assert (await wire.get("/v5/user/query-api"))["result"]["readOnly"] == 1
        for path in ("/v5/position/set-leverage", "/v5/order/cancel-all"):
            assert (await wire.post(path, BITCOIN))["retCode"] == 10005


async def test_other_categories_exist_and_are_empty() -> None:
    async with exchange() as wire:
        for category in ("spot", "inverse", "option"):
            found = await wire.get("/v5/position/list", f"category={category}")
            assert (found["retCode"], found["result"]["list"]) == (0, [])
            assert (await wire.order(category=category))["retCode"] == 10001


async def test_an_order_fills_when_the_market_comes_to_it() -> None:
    async with exchange(speed=600.0, ticks_per_s=50.0) as wire, wire.socket("/v5/private") as socket:
        await socket.subscribe("execution")
        depth = wire.server.market.depth("BTCUSDT")
        for side, price in (("Buy", depth.bids[0][0]), ("Sell", depth.asks[0][0])):
            made = await wire.order(side=side, price=str(price), qty="0.001", timeInForce="PostOnly")
            assert made["retCode"] == 0
        execution = (await socket.push("execution"))["data"][0]
        assert (execution["isMaker"], execution["feeRate"]) == (True, "0.0002")
        assert execution["execPrice"] in {f"{p[0].normalize():f}" for p in (depth.bids[0], depth.asks[0])}
