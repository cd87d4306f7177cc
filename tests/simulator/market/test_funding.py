"""Funding whose interval changes while the exchange runs: each settlement at its hour, with its mark."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import aiohttp
import msgspec
import pytest

from bot.bybit.rest import parse_funding
from bot.domain.market import HOUR_MS, MINUTE_MS, Instrument
from bot.simulator.account.account import Account
from bot.simulator.config import ExchangeConfig
from bot.simulator.market.loop import open_market
from bot.simulator.market.symbol import MarketSymbol
from bot.simulator.server import ExchangeServer, running
from tests.simulator.bench import START_MS, candle_file, candles, config

HOURLY, EIGHT = HOUR_MS, 8 * HOUR_MS
RATES = {START_MS: 0.0001, START_MS + 8 * HOUR_MS: 0.0003}


def symbol_of(folder: Path) -> MarketSymbol:
    file = candle_file(folder, candles(bars=2_000), RATES)
    return open_market(config(data=(file,), start_ms=START_MS)).symbols["BTCUSDT"]


def every(symbol: MarketSymbol, interval_ms: int, at_ms: int) -> None:
    symbol.set_rules(msgspec.structs.replace(symbol.instrument, funding_interval_ms=interval_ms), at_ms)


def hours(symbol: MarketSymbol, after: float, to: float) -> list[float]:
    found = symbol.settlements(START_MS + round(after * HOUR_MS), START_MS + round(to * HOUR_MS))
    return [(ts_ms - START_MS) / HOUR_MS for ts_ms in found]


@pytest.mark.parametrize(
    ("changes", "settled"),
    [
        ([], [24, 16, 8]),
        ([(9.5, HOURLY)], [24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 8]),
        ([(1.5, HOURLY), (4.5, EIGHT)], [24, 16, 8, 4, 3, 2]),  # shrinks, then grows
        ([(1.5, HOURLY), (3.5, EIGHT), (20.5, HOURLY)], [24, 23, 22, 21, 16, 8, 3, 2]),  # returns
        ([(3 - 1 / 3600, HOURLY), (4 - 1 / 3600, EIGHT)], [24, 16, 8, 3]),  # a second before a settlement
        ([(3.0, HOURLY), (4.0, EIGHT)], [24, 16, 8, 4]),  # at the settlement itself: the old rule holds
    ],
)
def test_each_settlement_follows_the_interval_of_its_time(
    changes: list[tuple[float, int]], settled: list[int], tmp_path: Path
) -> None:
    symbol = symbol_of(tmp_path)
    for hour, interval_ms in changes:
        every(symbol, interval_ms, START_MS + round(hour * HOUR_MS))
    assert hours(symbol, 0, 24) == settled
    for cut in (2.0, 3.0, 3.999, 8.0, 20.7):  # in parts they are the same
        assert hours(symbol, cut, 24) + hours(symbol, 0, cut) == settled


@asynccontextmanager
async def exchange_at(folder: Path, hour: float, **changes: object) -> AsyncIterator[ExchangeServer]:
    file = candle_file(folder, candles(bars=2_000), RATES)
    begin_ms = START_MS + round(hour * HOUR_MS)
    fields = {"port": 0, "data": (file,), "start_ms": begin_ms, "speed": 3_000.0} | changes
    async with running(ExchangeConfig(**fields)) as exchange:  # type: ignore[arg-type]
        yield exchange


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110 (a condition of another task)
            await asyncio.sleep(0.002)


def rules(exchange: ExchangeServer, interval_ms: int) -> Instrument:
    old = exchange.market.instrument("BTCUSDT")
    return msgspec.structs.replace(old, funding_interval_ms=interval_ms)


def payments(desk: Account) -> list[tuple[float, Decimal, Decimal, Decimal]]:
    """(hour, quantity, mark, paid) of every funding execution, oldest first."""
    rows = [row for row in desk.ledger.executions if row.execType == "Funding"]
    return [
        ((int(row.execTime) - START_MS) / HOUR_MS, *map(Decimal, (row.execQty, row.execPrice, row.execFee)))
        for row in rows
    ]


@pytest.mark.parametrize("fills", ["quotes", "bars"])
async def test_every_hour_is_paid_at_its_hour_and_a_position_closed_at_noon_pays_until_noon(
    tmp_path: Path, fills: str
) -> None:
    async with exchange_at(tmp_path, 8.8, fills=fills) as exchange:
        desk = exchange.accounts.by_key["test-key"]
        order = {"category": "linear", "symbol": "BTCUSDT", "orderType": "Market", "qty": "0.01"}
        desk.create({**order, "side": "Buy"})
        await until(lambda: desk.engine.position("BTCUSDT", 0).size)
        exchange.market.set_instrument(rules(exchange, HOURLY))
        await until(lambda: exchange.market.now_ms() > START_MS + round(12.1 * HOUR_MS))
        desk.create({**order, "side": "Sell", "reduceOnly": True})
        await until(lambda: exchange.market.now_ms() > START_MS + round(14.1 * HOUR_MS))
        found, symbol = payments(desk), exchange.market.symbols["BTCUSDT"]
        body = await history(exchange)
    assert [hour for hour, *_ in found] == [9, 10, 11, 12]
    for hour, qty, mark, paid in found:
        ts_ms = START_MS + round(hour * HOUR_MS)
        assert (qty, mark) == (Decimal("0.01"), Decimal(repr(symbol.mark(ts_ms - 1))))
        assert paid == qty * mark * Decimal("0.0003")
    told = [(each.ts_ms - START_MS) / HOUR_MS for each in parse_funding(body, "BTCUSDT")]
    assert told[-6:] == [9, 10, 11, 12, 13, 14]
    assert told[:2] == [0, 8]


async def history(exchange: ExchangeServer) -> bytes:
    query = f"category=linear&symbol=BTCUSDT&startTime={START_MS}&endTime={START_MS + 15 * HOUR_MS}"
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{exchange.http_url}/v5/market/funding/history?{query}") as answer,
    ):
        return await answer.read()


async def test_hours_inside_a_long_candle_are_settled_in_time(tmp_path: Path) -> None:
    made = candles(bars=200, interval_ms=4 * HOUR_MS)
    begin_ms = START_MS + 24 * HOUR_MS + 30 * MINUTE_MS
    settings = ExchangeConfig(
        port=0, data=(candle_file(tmp_path, made, RATES),), start_ms=begin_ms, speed=9_000.0
    )
    async with running(settings) as exchange:
        desk = exchange.accounts.by_key["test-key"]
        order = {"category": "linear", "symbol": "BTCUSDT", "orderType": "Market", "qty": "0.5"}
        desk.create({**order, "side": "Buy"})
        exchange.market.set_instrument(rules(exchange, HOURLY))
        await until(lambda: payments(desk))
        assert payments(desk)[0][0] == 25
        assert exchange.market.now_ms() < START_MS + 26 * HOUR_MS
