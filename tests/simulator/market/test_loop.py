import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from bot.domain.errors import BadUsage
from bot.domain.market import MINUTE_MS, Instrument
from bot.domain.messages import BarsClosed
from bot.exchange.quotes.depth import Depth
from bot.simulator.config import ExchangeConfig
from bot.simulator.market.loop import Market, open_market
from bot.simulator.market.moves import Move
from bot.simulator.market.symbol import MarketSymbol
from tests.simulator.bench import START_MS, candle_file, candles, config


class Witness:
    """A listener and a publisher that writes down what it is told, in order."""

    def __init__(self, *followed: str) -> None:
        self.followed = followed
        self.told: list[tuple[object, ...]] = []

    def follows(self, symbol: str) -> bool:
        return symbol in self.followed

    def on_trade(self, symbol: str, ts_ms: int, price: Decimal, qty: Decimal, depth: Depth) -> None:
        self.told.append(("trade", ts_ms, symbol, price, qty, depth))

    def on_mark(self, symbol: str, ts_ms: int, mark: Decimal, index: Decimal) -> None:
        self.told.append(("mark", ts_ms, symbol, mark, index))

    def on_move(self, symbol: str, move: Move) -> None:
        self.told.append(("move", move.ts_ms, symbol, move))

    def on_funding(self, symbol: str, ts_ms: int, rate: Decimal) -> None:
        self.told.append(("funding", ts_ms, symbol, rate))

    def on_bars(self, closed: BarsClosed) -> None:
        self.told.append(("bars", closed.close_ms, closed))

    def on_instrument(self, instrument: Instrument) -> None:
        self.told.append(("instrument", 0, instrument))

    def tick(self, symbol: MarketSymbol, after_ms: int, ts_ms: int) -> None:
        pass

    def close(self, close_ms: int) -> None:
        self.told.append(("confirmed", close_ms))

    def of(self, *kinds: str) -> list[tuple[object, ...]]:
        return [each for each in self.told if each[0] in kinds]


@asynccontextmanager
async def moving(settings: ExchangeConfig, *followed: str) -> AsyncIterator[tuple[Market, Witness]]:
    market, witness = open_market(settings), Witness(*followed)
    market.subscribe(witness)
    market.publisher = witness
    market.clock.begin()
    task = asyncio.create_task(market.run())
    try:
        yield market, witness
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def seen(witness: Witness, kind: str, count: int) -> None:
    async with asyncio.timeout(5):
        while len(witness.of(kind)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_at_a_close_come_its_last_trade_its_bars_its_confirmation_then_funding(tmp_path: Path) -> None:
    first = START_MS + 470 * MINUTE_MS  # ten minutes before 08:00
    file = candle_file(tmp_path, candles(bars=600), {START_MS + 480 * MINUTE_MS: 0.0003})
    async with moving(config(data=(file,), start_ms=first, speed=3000.0), "BTCUSDT") as (_, witness):
        await seen(witness, "confirmed", 12)
    due = START_MS + 480 * MINUTE_MS
    around = [each[:2] for each in witness.told if each[0] != "mark" and each[1] in (due - 1, due)]
    assert around[:4] == [("trade", due - 1), ("bars", due), ("confirmed", due), ("funding", due)]
    assert [each[1:] for each in witness.of("funding")] == [(due, "BTCUSDT", Decimal("0.0003"))]


async def test_listeners_are_given_the_files_bars_and_every_extreme(tmp_path: Path) -> None:
    made = candles(bars=100)
    file = candle_file(tmp_path, made)
    settings = config(data=(file,), start_ms=START_MS + 50 * MINUTE_MS, speed=3000.0)
    async with moving(settings, "BTCUSDT") as (_, witness):
        await seen(witness, "bars", 5)
    bars = [bar for each in witness.of("bars") for bar in each[2].bars]  # type: ignore[attr-defined]
    assert bars[:5] == list(made.bars(50, 55))
    for bar in bars[1:5]:
        prices = [each[3] for each in witness.of("trade") if bar.start_ms <= each[1] < bar.close_ms]  # type: ignore[operator]
        assert (float(max(prices)), float(min(prices))) == (bar.high, bar.low)  # type: ignore[type-var, arg-type]


async def test_a_symbol_that_nobody_follows_costs_nothing() -> None:
    async with moving(config(symbols=("BTCUSDT", "ETHUSDT"), ticks_per_s=50.0), "ETHUSDT") as (_, witness):
        await seen(witness, "trade", 3)
    assert {each[2] for each in witness.of("trade", "mark")} == {"ETHUSDT"}


async def test_the_last_trade_stands_at_the_touch(tmp_path: Path) -> None:
    async with moving(config(symbols=("BTCUSDT",), ticks_per_s=100.0), "BTCUSDT") as (_, witness):
        await seen(witness, "trade", 20)
    for trade in witness.of("trade"):
        price, depth = trade[3], trade[5]
        assert isinstance(depth, Depth)
        bid, ask = depth.bids[0][0], depth.asks[0][0]
        assert bid < ask
        assert price in (bid, ask)
        assert [level for level, _ in depth.bids] == sorted((level for level, _ in depth.bids), reverse=True)
        assert [level for level, _ in depth.asks] == sorted(level for level, _ in depth.asks)
        assert all(qty > 0 for _, qty in depth.bids + depth.asks)


async def test_a_file_that_ends_is_announced_and_the_market_stands_still(tmp_path: Path) -> None:
    made, facts = candles(bars=20), []
    settings = config(data=(candle_file(tmp_path, made),), start_ms=START_MS + 17 * MINUTE_MS, speed=600.0)
    market = open_market(settings, lambda fact, **keys: facts.append(fact))
    witness = Witness()
    market.subscribe(witness)
    market.clock.begin()
    task = asyncio.create_task(market.run())
    async with asyncio.timeout(5):
        while not facts:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.03)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert facts == ["market_ended"]
    assert market.frozen
    assert market.now_ms() == made.end_ms
    assert float(market.last("BTCUSDT")) == made.ohlcv[-1, 3]
    assert len(witness.of("bars")) == 3


async def test_the_same_seed_trades_the_same_prices_at_any_speed(tmp_path: Path) -> None:
    file = candle_file(tmp_path, candles(bars=100))
    roads = []
    for speed in (1500.0, 4000.0):
        settings = config(data=(file,), start_ms=START_MS + 30 * MINUTE_MS, speed=speed, ticks_per_s=0.01)
        async with moving(settings, "BTCUSDT") as (_, witness):
            await seen(witness, "bars", 3)
        roads.append([each for each in witness.of("trade") if each[1] < START_MS + 33 * MINUTE_MS][-8:])  # type: ignore[operator]
    assert roads[0] == roads[1] != []


def test_new_rules_reach_the_listeners() -> None:
    market, witness = open_market(config()), Witness()
    market.subscribe(witness)
    rules = market.instrument("BTCUSDT")
    market.set_instrument(rules)
    assert witness.told == [("instrument", 0, rules)]


def test_a_start_outside_the_files_is_refused(tmp_path: Path) -> None:
    file = candle_file(tmp_path, candles(bars=20))
    with pytest.raises(BadUsage, match="choose a time in it"):
        open_market(config(data=(file,), start_ms=START_MS - 1))


def test_without_funding_every_rate_is_nothing() -> None:
    market = open_market(config(funding=False))
    symbol = market.symbols["BTCUSDT"]
    assert symbol.rate(symbol.next_funding_ms(market.now_ms())) == 0
