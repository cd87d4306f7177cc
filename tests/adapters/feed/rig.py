"""A feed beside an exchange on this machine that replays a file: what was told, and what the file says."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import msgspec
from aiohttp import web

from bot.adapters.feed.bybit import BybitFeed
from bot.adapters.feed.config import FeedConfig
from bot.adapters.files.candles import Candles, Funding, write_candles, write_funding
from bot.adapters.net.inbox import Inbox
from bot.adapters.net.public_rest import RequestPace, public_rest
from bot.adapters.state.clock import FollowedClock, WallClock
from bot.domain.market import HOUR_MS, MINUTE_MS, Bar, InstrumentStatus
from bot.domain.messages import BarsClosed, Event, FundingRate, LinkUp
from bot.service.backtest.history import History
from bot.simulator.config import ExchangeConfig
from bot.simulator.faults.hooks import FaultAction, FaultHooks
from bot.simulator.server import ExchangeServer, running
from bot.simulator.ws.connection import Connection
from bot.synth import MarketRecipe, funding, market

BEGIN_MS = 1_764_547_200_000  # 2025-12-01T00:00Z, a settlement
SYMBOLS = ("AAAUSDT", "BBBUSDT")
BARS_BEFORE = 60

FAST = FeedConfig(
    ws_url="",
    symbols=SYMBOLS,
    interval_ms=MINUTE_MS,
    bars_before=BARS_BEFORE,
    tickers=False,
    close_deadline_ms=120,
    barrier_ms=60,
    silence_ms=5_000,
    connect_timeout_ms=500,
    ping_ms=200,
    pong_timeout_ms=200,
    backoff_ms=100,
    max_backoff_ms=500,
    healthy_ms=100,
    gap_after_ms=300,
)
"""Patience in tenths of a second; a bar lasts ``MINUTE_MS / speed``."""
CALM = replace(FAST, connect_timeout_ms=5_000, pong_timeout_ms=5_000, close_deadline_ms=1_000)
"""For tests that count connections: on a busy machine a late pong or candle must not end one as well."""


class Wire(FaultHooks):
    """Faults a test sets by hand."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.dials = 0
        self.refuse_ws = False
        self.refuse_rest = False
        self.on_push: Callable[[Connection, str, str], list[tuple[float, str]] | None] = lambda c, t, x: None
        self.on_said: Callable[[Connection, str], str | None] = lambda c, x: x
        self.on_answer: Callable[[web.Request, bytes], bytes | FaultAction] = lambda r, b: b
        self.paths: list[str] = []

    def rest(self, request: web.Request) -> FaultAction | None:
        self.paths.append(request.path)
        return FaultAction(status=0) if self.refuse_rest else None

    def answered(self, request: web.Request, body: bytes) -> bytes | FaultAction:
        return self.on_answer(request, body)

    def ws_connect(self, kind: str) -> FaultAction | None:
        self.dials += 1
        return FaultAction(status=503, body=b"closed") if self.refuse_ws else None

    def ws_out(self, connection: object, topic: str, text: str) -> list[tuple[float, str]] | None:
        assert isinstance(connection, Connection)
        return self.on_push(connection, topic, text)

    def ws_in(self, connection: object, text: str) -> str | None:
        assert isinstance(connection, Connection)
        return self.on_said(connection, text)

    def opened(self, connection: Connection) -> None:
        self.connections.append(connection)

    def cut(self) -> None:
        """End every connection without a word."""
        for connection in self.connections:
            connection.abort()
        self.connections.clear()


@dataclass
class Rig:
    """A running feed."""

    feed: BybitFeed
    exchange: ExchangeServer
    wire: Wire
    clock: FollowedClock
    task: "asyncio.Task[None]"
    seen: list[Event] = field(default_factory=list)
    seen_s: list[float] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    """Why each connection that was lost had ended."""

    def lost_to(self, cause: str) -> int:
        """How many connections ended for this cause."""
        return sum(cause in reason for reason in self.losses)

    def closes(self, *, live: bool | None = None) -> list[BarsClosed]:
        found = [event for event in self.seen if isinstance(event, BarsClosed)]
        return [event for event in found if live is None or event.live is live]

    def bars(self, symbol: str) -> list[Bar]:
        return [bar for closed in self.closes() for bar in closed.bars if bar.symbol == symbol]

    def of(self, *kinds: type[Event]) -> list[Event]:
        return [event for event in self.seen if isinstance(event, kinds)]

    def when(self, event: Event) -> float:
        """Seconds of the loop's time at which ``event`` was taken from the inbox."""
        return next(s for e, s in zip(self.seen, self.seen_s, strict=True) if e is event)

    async def until(self, true: Callable[[], bool], timeout_s: float = 10.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not true():
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.002)

    async def up(self) -> None:
        await self.until(lambda: bool(self.of(LinkUp)))

    async def live(self, closes: int) -> None:
        """Until so many more closes were told in time."""
        wanted = len(self.closes(live=True)) + closes
        await self.until(lambda: len(self.closes(live=True)) >= wanted)

    async def at(self, ts_ms: int) -> None:
        await self.exchange.clock.sleep_until(ts_ms)


def write_market(
    folder: Path,
    *,
    hours: int = 28,
    symbols: tuple[str, ...] = SYMBOLS,
    interval_ms: int = MINUTE_MS,
    begin_ms: int = BEGIN_MS - 16 * HOUR_MS,
) -> History:
    """Invented candles and funding as files in ``folder``, and as a history."""
    recipe = MarketRecipe(interval_ms=interval_ms, bars=hours * HOUR_MS // interval_ms, start_ms=begin_ms)
    candles, rates = [], []
    for symbol, series in market(recipe, symbols, 7).items():
        one = Candles.make(symbol, interval_ms, series.start_ms, series.ohlcv, series.turnover)
        settled = Funding(symbol, *funding(series, 7))
        write_candles(folder / f"synth_linear_{symbol}_{interval_ms // MINUTE_MS}m.parquet", one)
        write_funding(folder / f"synth_linear_{symbol}_funding.parquet", settled)
        candles.append(one)
        rates.append(settled)
    return History(tuple(candles), tuple(rates))


def _files(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(folder.glob("*m.parquet")))


@asynccontextmanager
async def fed(
    folder: Path,
    *,
    start_ms: int,
    speed: float = 300.0,
    config: FeedConfig = FAST,
    wire: Wire | None = None,
    wait: bool = True,
    status: Mapping[str, InstrumentStatus] = MappingProxyType({}),
) -> AsyncIterator[Rig]:
    """A feed on an exchange that replays ``folder`` from ``start_ms``; by default once it is up.

    ``status`` is that of contracts which do not trade at the start.
    """
    wire = wire or Wire()
    exchange_config = ExchangeConfig(port=0, data=_files(folder), start_ms=start_ms, speed=speed)
    clock = FollowedClock()
    pace = RequestPace(requests_per_second=1000.0, max_retries=0, timeout_ms=500)
    async with (
        running(exchange_config, wire) as exchange,
        public_rest(exchange.http_url, WallClock(), pace, random.Random(1)) as rest,
    ):
        for symbol, each in status.items():
            rules = exchange.market.symbols[symbol].instrument
            exchange.market.set_instrument(msgspec.structs.replace(rules, status=each))
        for _ in range(3):
            await rest.observe(clock)
        here = replace(config, ws_url=f"{exchange.ws_url}/v5/public/linear")
        losses: list[str] = []

        def note(event: str, facts: dict[str, object]) -> None:
            if event == "feed_link_lost":
                losses.append(str(facts["reason"]))

        ids = map(str, itertools.count())
        feed = BybitFeed(here, rest, clock, random.Random(2), ids, on_note=note)
        inbox = Inbox()
        task = asyncio.create_task(feed.run(inbox))
        rig = Rig(feed, exchange, wire, clock, task, losses=losses)

        async def take() -> None:
            async for event in inbox.events():
                rig.seen.append(event)
                rig.seen_s.append(asyncio.get_running_loop().time())

        eater = asyncio.create_task(take())
        try:
            if wait:
                await rig.up()
            yield rig
        finally:
            task.cancel()
            eater.cancel()
            await asyncio.gather(task, eater, return_exceptions=True)


def told(events: list[Event]) -> list[tuple[object, ...]]:
    """Bars and rates of ``events`` in their order, without what differs between live and replay."""
    found: list[tuple[object, ...]] = []
    for event in events:
        if isinstance(event, BarsClosed):
            found.append((event.close_ms, event.interval_ms, event.bars))
        elif isinstance(event, FundingRate):
            found.append((event.ts_ms, event.symbol, event.rate))
    return found
