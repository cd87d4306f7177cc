"""Every kind of fault on the wire: posted to a running exchange, seen by a client, ended, put right."""

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.bybit.sign import rest_signature, ws_signature
from bot.simulator.config import ExchangeConfig
from bot.simulator.faults.plan import parse_fault
from bot.simulator.server import ExchangeServer, running

CONFIG = ExchangeConfig(port=0, symbols=("BTCUSDT",), ack_delay_ms=0.0, history_bars=300, ticks_per_s=20)
KLINES = "/v5/market/kline?category=linear&symbol=BTCUSDT&interval=1&limit=200"


@pytest.fixture
async def exchange() -> AsyncIterator[ExchangeServer]:
    async with running(CONFIG) as server:
        yield server


@pytest.fixture
async def http(exchange: ExchangeServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(exchange.http_url) as session:
        yield session


def post(exchange: ExchangeServer, kind: str, **fields: object) -> None:
    fault = parse_fault({"kind": kind, **fields})
    exchange.world.check(fault)
    exchange.planned.post(fault)
    exchange.planned.step()


async def signed(
    http: aiohttp.ClientSession, exchange: ExchangeServer, method: str, path: str, payload: str = ""
) -> dict[str, Any]:
    ts_ms = exchange.clock.now_ms()
    headers = {
        "X-BAPI-API-KEY": CONFIG.key,
        "X-BAPI-TIMESTAMP": str(ts_ms),
        "X-BAPI-RECV-WINDOW": "5000",
        "X-BAPI-SIGN": rest_signature(CONFIG.secret, ts_ms, CONFIG.key, 5000, payload),
        "Content-Type": "application/json",
    }
    target = f"{path}?{payload}" if method == "GET" else path
    async with http.request(
        method, target, headers=headers, data=payload if method == "POST" else None
    ) as response:
        return json.loads(await response.read())


async def listen(
    exchange: ExchangeServer, http: aiohttp.ClientSession, topic: str
) -> aiohttp.ClientWebSocketResponse:
    socket = await http.ws_connect(f"{exchange.ws_url}/v5/public/linear")
    await socket.send_json({"op": "subscribe", "args": [topic]})
    assert (await socket.receive_json(timeout=5))["success"]
    return socket


async def silent(socket: aiohttp.ClientWebSocketResponse, for_s: float = 0.3) -> bool:
    try:
        await socket.receive(timeout=for_s)
    except TimeoutError:
        return True
    return False


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"kind": "error"}, 502, "Bad Gateway"),
        ({"kind": "error", "status": 503}, 503, ""),
        ({"kind": "html"}, 200, "<html>"),
        ({"kind": "forbidden"}, 403, "access too frequent"),
        ({"kind": "rate_limit"}, 200, '"retCode":10006'),
        ({"kind": "maintenance"}, 200, '"retCode":10016'),
    ],
)
async def test_rest_answers_what_the_fault_says_once(
    exchange: ExchangeServer, http: aiohttp.ClientSession, fields: dict[str, Any], status: int, text: str
) -> None:
    post(exchange, **fields, for_s=0.5)
    async with http.get("/v5/market/time") as response:
        assert response.status == status
        assert text in await response.text()
    exchange.planned.clear()
    async with http.get("/v5/market/time") as response:
        assert response.status == 200
        assert (await response.json())["retCode"] == 0


@pytest.mark.parametrize("kind", ["lost_request", "lost_answer"])
async def test_a_lost_request_or_answer_closes_the_connection(
    exchange: ExchangeServer, http: aiohttp.ClientSession, kind: str
) -> None:
    post(exchange, kind, on="rest")  # not once: the client asks again by itself
    with pytest.raises(aiohttp.ClientError):
        await http.get("/v5/market/time")
    assert exchange.planned.counts[kind]


@pytest.mark.parametrize(("kind", "orders"), [("lost_request", 0), ("lost_answer", 1)])
async def test_an_order_whose_answer_is_lost_exists_and_one_whose_request_is_lost_does_not(
    exchange: ExchangeServer, http: aiohttp.ClientSession, kind: str, orders: int
) -> None:
    price = exchange.market.last("BTCUSDT") * 9 // 10
    order = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01"}
    post(exchange, kind, on="rest", match="/v5/order/create", count=1)
    with pytest.raises(aiohttp.ClientError):
        await signed(http, exchange, "POST", "/v5/order/create", json.dumps({**order, "price": str(price)}))
    rows = await signed(http, exchange, "GET", "/v5/order/realtime", "category=linear&symbol=BTCUSDT")
    assert len(rows["result"]["list"]) == orders


async def test_a_truncated_answer_is_no_json(exchange: ExchangeServer, http: aiohttp.ClientSession) -> None:
    post(exchange, "truncate", on="rest", count=1)
    async with http.get("/v5/market/time") as response:
        with pytest.raises(ValueError):
            json.loads(await response.read())


async def test_rows_are_missing_from_rest_klines(
    exchange: ExchangeServer, http: aiohttp.ClientSession
) -> None:
    post(exchange, "missing_bars", match="*/kline")
    async with http.get(KLINES) as response:
        assert 50 < len((await response.json())["result"]["list"]) < 150


async def test_slow_answers_come_late(exchange: ExchangeServer, http: aiohttp.ClientSession) -> None:
    post(exchange, "slow", delay_ms=200.0, count=1)
    loop = asyncio.get_running_loop()
    asked_s = loop.time()
    async with http.get("/v5/market/time"):
        assert loop.time() - asked_s >= 0.2


async def test_a_reset_cuts_open_sockets(exchange: ExchangeServer, http: aiohttp.ClientSession) -> None:
    socket = await listen(exchange, http, "tickers.BTCUSDT")
    post(exchange, "reset", on="public")
    while (message := await socket.receive(timeout=5)).type is aiohttp.WSMsgType.TEXT:
        pass
    assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR, aiohttp.WSMsgType.CLOSE)


@pytest.mark.parametrize(("kind", "status"), [("refuse", 503), ("forbidden", 403), ("maintenance", 503)])
async def test_new_sockets_are_refused(
    exchange: ExchangeServer, http: aiohttp.ClientSession, kind: str, status: int
) -> None:
    post(exchange, kind, on="public")
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await http.ws_connect(f"{exchange.ws_url}/v5/public/linear")
    assert caught.value.status == status


@pytest.mark.parametrize("kind", ["mute", "stall"])
async def test_a_mute_server_keeps_the_connection_and_says_nothing(
    exchange: ExchangeServer, http: aiohttp.ClientSession, kind: str
) -> None:
    socket = await listen(exchange, http, "kline.1.BTCUSDT")
    post(exchange, kind, on="public", for_s=1.0)
    await asyncio.sleep(0.05)
    while not await silent(socket, 0.05):
        pass
    await socket.send_json({"op": "ping"})
    assert await silent(socket, 0.6)
    assert not socket.closed
    exchange.planned.clear()
    await socket.receive(timeout=5)
    await socket.close()


async def test_with_pongs_only_the_data_stop(exchange: ExchangeServer, http: aiohttp.ClientSession) -> None:
    socket = await listen(exchange, http, "tickers.BTCUSDT")
    post(exchange, "mute", on="public", pongs=True)
    await asyncio.sleep(0.05)
    while not await silent(socket, 0.1):
        pass
    await socket.send_json({"op": "ping"})
    assert (await socket.receive_json(timeout=2))["ret_msg"] == "pong"
    await socket.close()


async def test_dropped_and_doubled_messages(exchange: ExchangeServer, http: aiohttp.ClientSession) -> None:
    post(exchange, "drop", on="public", match="op:ping", count=1)
    post(exchange, "duplicate", on="public", match="op:ping", copies=2, delay_ms=1.0)
    socket = await http.ws_connect(f"{exchange.ws_url}/v5/public/linear")
    for number in range(2):
        await socket.send_json({"op": "ping", "req_id": str(number)})
    pongs = [(await socket.receive_json(timeout=2))["req_id"] for _ in range(3)]
    assert pongs == ["1", "1", "1"]
    await socket.close()


async def test_reordered_messages_overtake(exchange: ExchangeServer, http: aiohttp.ClientSession) -> None:
    post(exchange, "reorder", on="public", match="op:ping", delay_ms=100.0)
    socket = await http.ws_connect(f"{exchange.ws_url}/v5/public/linear")
    for number in range(20):
        await socket.send_json({"op": "ping", "req_id": str(number)})
    seen = [int((await socket.receive_json(timeout=2))["req_id"]) for _ in range(20)]
    assert sorted(seen) == list(range(20))
    assert seen != sorted(seen)
    await socket.close()


async def test_the_announced_clock_can_be_wrong_and_right_again(
    exchange: ExchangeServer, http: aiohttp.ClientSession
) -> None:
    async def told_ms() -> int:
        async with http.get("/v5/market/time") as response:
            return (await response.json())["time"]

    true_ms = exchange.clock.market_ms()
    post(exchange, "skew", skew_ms=60_000)
    assert await told_ms() - true_ms >= 60_000
    exchange.planned.clear()
    assert await told_ms() - true_ms < 10_000


async def test_a_symbol_changes_status_and_rules_and_back(
    exchange: ExchangeServer, http: aiohttp.ClientSession
) -> None:
    before = exchange.market.instrument("BTCUSDT")
    post(exchange, "status", symbol="BTCUSDT", status_text="Closed")
    post(exchange, "rules", symbol="BTCUSDT", changes={"qty_step": "0.5"})
    async with http.get("/v5/market/instruments-info?category=linear&symbol=BTCUSDT") as response:
        row = (await response.json())["result"]["list"][0]
    assert (row["status"], row["lotSizeFilter"]["qtyStep"]) == ("Closed", "0.5")
    exchange.planned.clear()
    assert exchange.market.instrument("BTCUSDT") == before


async def test_somebody_elses_order_appears(exchange: ExchangeServer, http: aiohttp.ClientSession) -> None:
    post(exchange, "foreign_order", symbol="BTCUSDT", qty="0.02", price_frac=0.9)
    rows = await signed(http, exchange, "GET", "/v5/order/realtime", "category=linear&symbol=BTCUSDT")
    assert [(row["qty"], row["orderLinkId"]) for row in rows["result"]["list"]] == [("0.02", "")]


async def test_a_spike_fills_the_orders_that_it_passes_and_no_others(
    exchange: ExchangeServer, http: aiohttp.ClientSession
) -> None:
    for frac in (0.97, 0.9):
        post(exchange, "foreign_order", symbol="BTCUSDT", qty="0.02", price_frac=frac)
    post(exchange, "spike", symbol="BTCUSDT", price_frac=0.95)
    rows = await signed(http, exchange, "GET", "/v5/order/realtime", "category=linear&symbol=BTCUSDT")
    (left,) = rows["result"]["list"]
    rows = await signed(http, exchange, "GET", "/v5/execution/list", "category=linear&symbol=BTCUSDT")
    (made,) = rows["result"]["list"]
    assert Decimal(left["price"]) < Decimal(made["execPrice"])
    assert (made["side"], made["execQty"], made["isMaker"]) == ("Buy", "0.02", True)


@pytest.mark.parametrize(("kind", "exec_type"), [("adl", "AdlTrade"), ("liquidation", "BustTrade")])
async def test_a_position_is_taken_away(
    exchange: ExchangeServer, http: aiohttp.ClientSession, kind: str, exec_type: str
) -> None:
    post(exchange, "foreign_order", symbol="BTCUSDT", qty="0.02", price_frac=0.0)
    await asyncio.sleep(0.1)
    post(exchange, kind, symbol="BTCUSDT")
    rows = await signed(http, exchange, "GET", "/v5/execution/list", "category=linear&symbol=BTCUSDT")
    taken, *opened = [(row["execType"], Decimal(row["execQty"])) for row in rows["result"]["list"]]
    assert taken == (exec_type, Decimal("0.02"))
    assert {each for each, _ in opened} == {"Trade"}  # the book may fill an order in parts
    assert sum(qty for _, qty in opened) == Decimal("0.02")


async def test_a_thin_book_fills_in_part(exchange: ExchangeServer, http: aiohttp.ClientSession) -> None:
    post(exchange, "thin", qty="0.01")
    post(exchange, "foreign_order", symbol="BTCUSDT", qty="0.05", price_frac=0.0)
    rows = await signed(http, exchange, "GET", "/v5/order/history", "category=linear&symbol=BTCUSDT")
    row = rows["result"]["list"][0]
    assert (row["orderStatus"], row["cumExecQty"]) == ("Cancelled", "0.01")


async def test_a_confirmed_candle_is_contradicted() -> None:
    fast = ExchangeConfig(port=0, symbols=("BTCUSDT",), speed=120.0, history_bars=300, ticks_per_s=20)
    async with running(fast) as exchange, aiohttp.ClientSession() as http:
        post(exchange, "conflict", on="public", match="kline.*", delay_ms=10.0)
        socket = await listen(exchange, http, "kline.1.BTCUSDT")
        closes: dict[int, set[str]] = {}
        async with asyncio.timeout(10):
            while not any(len(seen) == 2 for seen in closes.values()):
                for row in (await socket.receive_json())["data"]:
                    if row["confirm"]:
                        closes.setdefault(row["start"], set()).add(row["close"])
        await socket.close()


async def test_messages_from_clients_get_lost(exchange: ExchangeServer, http: aiohttp.ClientSession) -> None:
    post(exchange, "lost_request", on="private", count=1)
    socket = await http.ws_connect(f"{exchange.ws_url}/v5/private")
    expires_ms = exchange.clock.now_ms() + 10_000
    auth = {"op": "auth", "args": [CONFIG.key, expires_ms, ws_signature(CONFIG.secret, expires_ms)]}
    await socket.send_json(auth)
    assert await silent(socket, 0.2)
    await socket.close()


async def test_faults_are_posted_and_ended_over_the_control_socket(tmp_path: Path) -> None:
    path = tmp_path / "exchange.sock"
    config = ExchangeConfig(port=0, symbols=("BTCUSDT",), history_bars=300, control=path)
    connector = aiohttp.UnixConnector(str(path))
    async with (
        running(config) as exchange,
        aiohttp.ClientSession("http://exchange", connector=connector) as control,
    ):
        assert path.stat().st_mode & 0o077 == 0
        async with control.post("/faults", json={"kind": "skew", "skew_ms": 500}) as answer:
            assert (await answer.json()) == {"name": "f0"}
        assert exchange.clock.skew_ms == 500
        for bad in ({"kind": "meteor"}, {"kind": "status", "symbol": "NOSUCH"}, [], {"kind": "thin"}):
            async with control.post("/faults", json=bad) as answer:
                assert answer.status == 400
                assert "error" in await answer.json()
        async with control.get("/faults") as answer:
            assert (await answer.json())["counts"] == {"skew": 1}
        async with control.delete("/faults") as answer:
            assert answer.status == 200
        assert exchange.clock.skew_ms == 0
        async with control.get("/stats") as answer:
            assert (await answer.json())["symbols"] == 1
    assert not path.exists()
