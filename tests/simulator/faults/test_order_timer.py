"""The exchange's clock on its clients: from a confirmed candle on the wire to the order that follows."""

import asyncio
from pathlib import Path

import aiohttp

from bot.simulator.config import ExchangeConfig
from bot.simulator.faults.order_timer import OrderTimer
from bot.simulator.server import running


def test_only_the_first_order_after_a_confirmed_candle_is_timed() -> None:
    timer = OrderTimer(lambda: 0.0)
    order, candle = '{"op":"order.create"}', '{"data":[{"confirm":true}]}'
    timer.came("trade", order)
    timer.leaves("public", '{"data":[{"confirm":false}]}')
    timer.leaves("private", candle)
    timer.came("trade", order)
    assert timer.take() == []
    timer.leaves("public", candle)
    timer.came("trade", '{"op":"ping"}')
    timer.came("trade", order)
    timer.came("trade", order)
    assert len(timer.take()) == 1
    assert timer.take() == []


async def test_the_control_socket_tells_how_long_a_client_took(tmp_path: Path) -> None:
    path = tmp_path / "exchange.sock"
    config = ExchangeConfig(port=0, symbols=("BTCUSDT",), history_bars=10, control=path, speed=600.0)
    connector = aiohttp.UnixConnector(str(path))
    async with (
        running(config) as exchange,
        aiohttp.ClientSession("http://exchange", connector=connector) as control,
        aiohttp.ClientSession(exchange.http_url) as http,
        http.ws_connect("/v5/public/linear") as public,
        http.ws_connect("/v5/trade") as trade,
    ):
        await public.send_json({"op": "subscribe", "args": ["kline.1.BTCUSDT"]})
        while '"confirm":true' not in await public.receive_str():
            pass
        await asyncio.sleep(0.02)
        await trade.send_json({"reqId": "1", "op": "order.create", "args": [{}]})
        await trade.receive_str()
        async with control.get("/orders") as answer:
            spans_us = (await answer.json())["confirm_to_order_us"]
        assert len(spans_us) == 1
        assert 20_000 < spans_us[0] < 2_000_000
