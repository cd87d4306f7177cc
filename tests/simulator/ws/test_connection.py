"""What holds for every websocket of the exchange: how long it may be silent, and protocol pings."""

import asyncio

import aiohttp
import pytest

from bot.simulator.faults.plan import Fault
from bot.simulator.server import running
from bot.simulator.ws.connection import idle_limit_s
from tests.simulator.bench import config


@pytest.mark.parametrize(
    ("wish", "limit_s"),
    [("", 600), ("30s", 30), ("1m", 60), ("90s", 90), ("5s", 30), ("99m", 600), ("x", 600), ("1h", 600)],
)
def test_a_client_chooses_its_idle_limit(wish: str, limit_s: float) -> None:
    assert idle_limit_s(wish) == limit_s


@pytest.mark.parametrize("path", ["/v5/private", "/v5/trade"])
async def test_a_silent_connection_is_cut_and_one_that_pings_is_not(path: str) -> None:
    async with running(config(idle_s=0.15)) as exchange, aiohttp.ClientSession() as http:
        async with http.ws_connect(exchange.ws_url + path) as silent, asyncio.timeout(2):
            assert (await silent.receive()).type is aiohttp.WSMsgType.CLOSE
        async with http.ws_connect(exchange.ws_url + path) as busy:
            for _ in range(6):
                await asyncio.sleep(0.05)
                await busy.ping()
            await busy.send_str('{"op":"ping"}')
            assert '"op":"pong"' in await busy.receive_str(timeout=2)


@pytest.mark.parametrize("path", ["/v5/private", "/v5/trade"])
async def test_the_limit_that_a_client_asks_for_replaces_the_usual_one(path: str) -> None:
    async with (
        running(config(idle_s=0.05)) as exchange,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{exchange.ws_url}{path}?max_active_time=30s") as client,
    ):
        await asyncio.sleep(0.15)
        await client.send_str('{"op":"ping"}')
        assert '"op":"pong"' in await client.receive_str(timeout=2)


async def test_a_public_stream_may_be_silent() -> None:
    async with (
        running(config(idle_s=0.05)) as exchange,
        aiohttp.ClientSession() as http,
        http.ws_connect(exchange.ws_url + "/v5/public/linear") as client,
    ):
        await asyncio.sleep(0.15)
        await client.send_str('{"op":"ping"}')
        assert "pong" in await client.receive_str(timeout=2)


async def test_a_mute_stream_does_not_answer_protocol_pings() -> None:
    async with (
        running(config()) as exchange,
        aiohttp.ClientSession() as http,
        http.ws_connect(exchange.ws_url + "/v5/private", autoping=False) as client,
    ):
        await client.ping(b"1")
        assert (await client.receive(timeout=2)).type is aiohttp.WSMsgType.PONG
        exchange.planned.post(Fault(kind="mute", on="private", for_s=60.0))
        await client.ping(b"2")
        with pytest.raises(TimeoutError):
            await client.receive(timeout=0.1)
