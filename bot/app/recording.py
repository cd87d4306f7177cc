"""Records public frames until told to stop: settings and options become a recorder."""

import asyncio
import itertools
import random
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bot
from bot.adapters.feed.instruments import fetch_instruments
from bot.adapters.net.public_rest import RequestPace, public_rest
from bot.adapters.recordings.facts import RecordingFacts, Span, missing_s, recording_facts
from bot.adapters.recordings.files import RecordingFolder, recording_files
from bot.adapters.recordings.recorder import MarketRecorder, RecorderConfig
from bot.adapters.state.clock import WallClock
from bot.app.machine import Machine
from bot.app.venue.account import feed_url
from bot.bybit.hosts import PUBLIC_WS, local_public_ws
from bot.bybit.rate_limits import AddressBudget
from bot.bybit.rest import WIRE_INTERVALS
from bot.domain.errors import BadUsage, VenueError
from bot.domain.market import INTERVALS_MS, Instrument
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.app.context import Context

__all__ = [
    "KINDS",
    "RecordingFacts",
    "Span",
    "missing_s",
    "record",
    "recording_facts",
    "recording_files",
    "topics_of",
]

KINDS = ("kline", "trades", "book", "tickers")
_SHOW_EVERY_S = 1.0

Show = Callable[[Mapping[str, object]], None]
"""Called once a second with the counts."""


def topics_of(symbols: Sequence[str], kinds: Sequence[str], interval: str, depth: int) -> tuple[str, ...]:
    """Return Bybit's names of the topics.

    Raises:
        BadUsage: a kind that does not exist.
    """
    forms = {
        "kline": f"kline.{WIRE_INTERVALS[INTERVALS_MS[interval]]}.{{}}",
        "trades": "publicTrade.{}",
        "book": f"orderbook.{depth}.{{}}",
        "tickers": "tickers.{}",
    }
    unknown = [kind for kind in kinds if kind not in forms]
    if unknown or not kinds:
        raise BadUsage(f"--topics {','.join(kinds)}: expected some of {','.join(KINDS)}")
    return tuple(forms[kind].format(symbol) for symbol in symbols for kind in dict.fromkeys(kinds))


def record(
    context: "Context",
    settings: Settings,
    *,
    out: Path,
    topics: tuple[str, ...],
    max_bytes: int,
    rotate_ms: int,
    duration_s: float | None,
    show: Show,
) -> dict[str, object]:
    """Record ``topics`` until SIGTERM, Ctrl-C or the end of ``duration_s``; return the counts.

    Raises:
        KeyboardInterrupt: Ctrl-C; the files are complete.
        BadSettings: a symbol that the exchange does not trade.
        Occupied, StoreFailed, VenueError: see ``MarketRecorder``.
    """
    log = context.log
    folder = RecordingFolder(
        out, max_bytes, lambda path, size: log.warning("record_removed", file=path.name, mb=size / 1e6)
    )
    try:
        stopped_by, told = asyncio.run(_record(log, settings, folder, topics, rotate_ms, duration_s, show))
    finally:
        folder.close()
    if stopped_by == "SIGINT":
        raise KeyboardInterrupt
    return told


async def _record(
    log: Any,
    settings: Settings,
    folder: RecordingFolder,
    topics: tuple[str, ...],
    rotate_ms: int,
    duration_s: float | None,
    show: Show,
) -> tuple[str, dict[str, object]]:
    stopped, reasons = asyncio.Event(), list[str]()

    def stop(reason: str) -> None:
        reasons.append(reason)
        stopped.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    address = AddressBudget()
    kind = settings.feed.kind
    config = RecorderConfig(
        feed=kind,
        url=local_public_ws(settings.local.url) if kind == "local" else PUBLIC_WS[kind],
        symbols=tuple(settings.feed.symbols),
        topics=topics,
        version=bot.__version__,
        rotate_ms=rotate_ms,
        silence_ms=settings.feed.silence_ms,
        connect_timeout_ms=settings.feed.connect_timeout_ms,
        ping_ms=settings.feed.ping_ms,
        pong_timeout_ms=settings.feed.pong_timeout_ms,
    )
    machine = Machine()
    rng, steady_s = machine.jitter(settings.seed), machine.time.steady_s
    recorder = MarketRecorder(
        config,
        folder,
        await _rules(settings, log, address, rng),
        wall_us=lambda: machine.time.wall_ns() // 1000,
        rng=rng,
        ids=(f"r{number}" for number in itertools.count(1)),
        on_note=lambda event, facts: _noted(log, event, facts),
        address=address,
    )
    log.info("record_started", url=config.url, topics=len(topics), out=str(folder.path))
    began_s = steady_s()
    if duration_s is not None:
        loop.call_later(duration_s, stop, "duration")

    def facts() -> dict[str, object]:
        counts = recorder.counts
        return {
            "out": str(folder.path),
            "seconds": round(steady_s() - began_s, 1),
            "frames": counts.frames,
            "bytes": counts.bytes,
            "written_bytes": folder.written_bytes,
            "files": counts.files,
            "gaps": counts.gaps,
            "bad_messages": counts.bad_messages,
            "up": recorder.is_up,
        }

    async def show_on() -> None:
        while True:
            await asyncio.sleep(_SHOW_EVERY_S)
            show(facts())

    showing = asyncio.ensure_future(show_on())
    try:
        await recorder.run(stopped)
    finally:
        showing.cancel()
    return reasons[0], facts()


async def _rules(
    settings: Settings, log: Any, address: AddressBudget, rng: random.Random
) -> tuple[Instrument, ...]:
    """Return the trading rules, so that a replay obeys them; without an answer the recording lacks them."""
    pace = RequestPace(max_retries=1)
    async with public_rest(feed_url(settings), WallClock(), pace, rng, address=address) as rest:
        try:
            found = await fetch_instruments(rest, settings.feed.symbols)
        except VenueError as error:
            log.warning("record_without_rules", reason=str(error))
            return ()
    return tuple(found.values())


def _noted(log: Any, event: str, facts: Mapping[str, object]) -> None:
    (log.info if event == "record_up" else log.warning)(event, **facts)
