"""Builders for tests of the local exchange: candle files, tapes, a client of its streams."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from bot.adapters.files.candles import Candles, FileName, Funding, write_candles, write_funding
from bot.domain.market import MINUTE_MS, Bar
from bot.simulator.config import ExchangeConfig
from bot.simulator.market.candle_trades import CandleTrades, Contract
from bot.simulator.market.digits import StepGrid
from bot.simulator.market.invented import rules_for
from bot.simulator.server import ExchangeServer
from bot.synth import MarketRecipe, market

START_MS = 1_704_067_200_000
"""2024-01-01, a Monday."""


def candles(
    symbol: str = "BTCUSDT", bars: int = 400, interval_ms: int = MINUTE_MS, price: float = 40_000.0
) -> Candles:
    """Invented candles on BTCUSDT's tick, from ``START_MS``."""
    recipe = MarketRecipe(interval_ms=interval_ms, bars=bars, start_ms=START_MS, price=price, tick=0.1)
    series = market(recipe, [symbol], seed=5)[symbol]
    return Candles.make(symbol, interval_ms, series.start_ms, series.ohlcv, series.turnover)


def candle_file(folder: Path, made: Candles, rates: dict[int, float] | None = None) -> Path:
    """``made`` as a file, with settled funding beside it."""
    path = folder / f"{FileName('test', 'linear', made.symbol, made.interval_ms)}.parquet"
    write_candles(path, made)
    if rates:
        times, values = np.array(list(rates), dtype=np.int64), np.array(list(rates.values()))
        write_funding(
            folder / f"test_linear_{made.symbol}_funding.parquet", Funding(made.symbol, times, values)
        )
    return path


def contract(every_ms: int = 1000, phase_ms: int = 0, seed: int = 0) -> Contract:
    """BTCUSDT-like steps."""
    rules = rules_for("BTCUSDT", 40_000.0)
    return Contract(rules, StepGrid(rules.tick_size), StepGrid(rules.qty_step), every_ms, phase_ms, seed, 2)


def candle_trades(bar: Bar, before: float = 100.0, **pace: int) -> CandleTrades:
    """What happens inside ``bar``."""
    return CandleTrades(bar, before, contract(**pace))


class Client:
    """A websocket client that keeps what it was told."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.told: list[dict[str, Any]] = []

    async def say(self, **frame: object) -> None:
        await self.socket.send_str(json.dumps(frame))

    async def subscribe(self, *topics: str, req_id: str = "s") -> dict[str, Any]:
        await self.say(op="subscribe", args=topics, req_id=req_id)
        return await self.until(lambda m: m.get("req_id") == req_id)

    async def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.socket.receive_str(timeout=5))
        self.told.append(message)
        return message

    async def until(self, wanted: Callable[[dict[str, Any]], bool], timeout_s: float = 8.0) -> dict[str, Any]:
        """The next message that is wanted."""
        async with asyncio.timeout(timeout_s):
            while not wanted(message := await self.hear()):
                pass
        return message

    async def topic(self, name: str) -> dict[str, Any]:
        return await self.until(lambda m: m.get("topic") == name)

    async def confirmed(self, topic: str, count: int) -> list[dict[str, Any]]:
        """The next ``count`` confirmed candles of a topic."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            found += [row for row in (await self.topic(topic))["data"] if row["confirm"]]
        return found


class Door:
    """Where tests ask the exchange."""

    def __init__(self, exchange: ExchangeServer, http: aiohttp.ClientSession) -> None:
        self.exchange = exchange
        self.http = http

    async def get(self, path: str, **params: object) -> dict[str, Any]:
        """The whole answer."""
        query = {key: str(value) for key, value in params.items()}
        async with self.http.get(f"{self.exchange.http_url}/v5/{path}", params=query) as response:
            answer: dict[str, Any] = await response.json()
            return answer

    async def market(self, path: str, **params: object) -> Any:
        """The result of a public query."""
        answer = await self.get(f"market/{path}", category="linear", **params)
        assert answer["retCode"] == 0, answer
        return answer["result"]

    @asynccontextmanager
    async def socket(self, path: str = "public/linear") -> AsyncIterator[Client]:
        async with self.http.ws_connect(f"{self.exchange.ws_url}/v5/{path}") as socket:
            yield Client(socket)


@asynccontextmanager
async def door(exchange: ExchangeServer) -> AsyncIterator[Door]:
    """A way to ask ``exchange``."""
    async with aiohttp.ClientSession() as http:
        yield Door(exchange, http)


def config(**changes: Any) -> ExchangeConfig:
    """An exchange on a free port."""
    return ExchangeConfig(**{"port": 0, **changes})
