"""A recorder at a local exchange in this process; a tap on what the exchange sends."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bot.adapters.net.link import LinkPolicy
from bot.adapters.recordings.files import RecordedFile, RecordingFolder, recording_files
from bot.adapters.recordings.recorder import MarketRecorder, RecorderConfig
from bot.adapters.recordings.rows import FRAME, MARK, STATE, Mark, Row
from bot.adapters.state.clock import THIS_MACHINE
from bot.bybit.rate_limits import AddressBudget
from bot.simulator.faults.hooks import FaultHooks
from bot.simulator.server import ExchangeServer

PATIENT_S = 30.0
TOPICS = ("kline.1.BTCUSDT", "publicTrade.BTCUSDT", "orderbook.50.BTCUSDT", "tickers.BTCUSDT")


class Tap(FaultHooks):
    """Keeps every push of the public streams; ``loses(topic, text)`` says which ones get lost."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.loses: Callable[[str, str], bool] = lambda topic, text: False

    def ws_out(self, connection: object, topic: str, text: str) -> list[tuple[float, str]] | None:
        if topic.startswith("op:"):
            return None
        if self.loses(topic, text):
            return []
        self.sent.append(text)
        return None


@asynccontextmanager
async def recording(
    exchange: ExchangeServer, out: Path, topics: tuple[str, ...] = TOPICS, *, rotate_ms: int = 10**9
) -> AsyncIterator[MarketRecorder]:
    """Record while the block lasts; the files are complete after it."""
    config = RecorderConfig(
        feed="local",
        url=f"{exchange.ws_url}/v5/public/linear",
        symbols=("BTCUSDT",),
        topics=topics,
        version="test",
        rotate_ms=rotate_ms,
        policy=LinkPolicy(backoff_ms=10, max_backoff_ms=50),
    )
    folder = RecordingFolder(out, 10**9, lambda file, size: None)
    recorder = MarketRecorder(
        config,
        folder,
        (exchange.market.instrument("BTCUSDT"),),
        wall_us=lambda: THIS_MACHINE.wall_ns() // 1000,
        rng=random.Random(1),
        ids=(f"r{n}" for n in itertools.count(1)),
        on_note=lambda event, facts: None,
        address=AddressBudget(),
    )
    stopped = asyncio.Event()
    running = asyncio.ensure_future(recorder.run(stopped))
    try:
        await until(lambda: recorder.is_up, running)
        yield recorder
    finally:
        stopped.set()
        try:
            await running
        finally:
            folder.close()


async def until(true: Callable[[], bool], task: "asyncio.Future[None] | None" = None) -> None:
    async with asyncio.timeout(PATIENT_S):
        while not true():
            if task is not None and task.done():
                task.result()
            await asyncio.sleep(0.01)


def rows(out: Path) -> list[Row]:
    return [row for file in recording_files(out) for row in RecordedFile(file)]


def frames(out: Path) -> list[str]:
    return [row.text.decode() for row in rows(out) if row.sort == FRAME]


def states(out: Path) -> list[str]:
    return [row.text.decode() for row in rows(out) if row.sort == STATE]


def marks(out: Path) -> list[Mark]:
    return [row.mark() for row in rows(out) if row.sort == MARK]
