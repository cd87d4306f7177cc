"""Fetches over REST what the stream did not bring, in rounds, until nothing is missing."""

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import NoReturn

from bot.adapters.feed.config import FeedConfig, FeedMetrics
from bot.adapters.feed.requests import fetch_rates, fetch_span, for_each
from bot.adapters.net.public_rest import PublicRest
from bot.domain.errors import VenueError
from bot.domain.messages import Gap
from bot.feed.backlog import Backlog, Fetched
from bot.feed.sequencer import FeedSequencer
from bot.ports import Clock


class Backfill:
    """Fetches what a ``FeedSequencer`` lacks; ``Backlog`` decides what and when.

    Args:
        on_round: called after each round of answers, before their bars are emitted.
        on_gap: called with bars that do not exist.
    """

    def __init__(
        self,
        sequencer: FeedSequencer,
        rest: PublicRest,
        clock: Clock,
        config: FeedConfig,
        metrics: FeedMetrics,
        rng: random.Random,
        *,
        on_round: Callable[[], None],
        on_gap: Callable[[Gap], None],
    ) -> None:
        self._sequencer = sequencer
        self._backlog = Backlog(sequencer, config.gap_after_ms, rng.random)
        self._rest = rest
        self._clock = clock
        self._config = config
        self._metrics = metrics
        self._on_round = on_round
        self._on_gap = on_gap
        self._news = asyncio.Event()

    def want(self, symbols: Iterable[str], before_ms: int = 0) -> None:
        """Fetch the bars of ``symbols`` that open before ``before_ms``, and their rates that are due."""
        self._backlog.want(symbols, before_ms, asyncio.get_running_loop().time())
        self._news.set()

    async def run(self) -> NoReturn:
        """Fetch until cancelled. A request that fails is repeated, with longer and longer pauses."""
        loop = asyncio.get_running_loop()
        while True:
            due = self._backlog.due(loop.time())
            if due or self._sequencer.disputed:
                await self._round(due)
                continue
            self._news.clear()
            try:
                async with asyncio.timeout_at(self._backlog.next_s):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def _round(self, due: list[str]) -> None:
        """Ask for everything first; then take the answers and emit, with no other task in between."""
        fetched: dict[str, Fetched] = {}

        async def ask(symbol: str) -> None:
            found = await self._ask(symbol)
            if found is not None:
                fetched[symbol] = found

        await for_each(due, ask)
        for gap in self._backlog.take(fetched, asyncio.get_running_loop().time(), self._clock.now_ms()):
            self._metrics.gaps += 1
            self._on_gap(gap)
        self._on_round()
        self._sequencer.flush(self._clock.now_ms())
        disputed, self._sequencer.disputed = self._sequencer.disputed, []
        for bar in disputed:
            await self._settle_dispute(bar.symbol, bar.start_ms)

    async def _ask(self, symbol: str) -> Fetched | None:
        """Return what REST has of the missing data of ``symbol``; None if nothing is missing any more."""
        missing = self._backlog.missing_of(symbol, self._clock.now_ms())
        if missing is None:
            return None
        found = Fetched()
        try:
            if missing.bars is not None:
                step = self._config.interval_ms
                found.bars = await fetch_span(self._rest, symbol, step, missing.bars, repeats=0)
                self._metrics.bars_fetched += len(found.bars)
                found.answered = True
            if missing.rates_after_ms is not None:
                asked_ms = self._clock.now_ms()
                found.rates = await fetch_rates(self._rest, symbol, missing.rates_after_ms + 1, asked_ms + 1)
                found.rates_asked_ms = asked_ms
        except VenueError:
            self._metrics.rest_failures += 1
        return found

    async def _settle_dispute(self, symbol: str, start_ms: int) -> None:
        """Ask REST about a bar that came with two sets of numbers. The first stays used in any case."""
        step = self._config.interval_ms
        try:
            bars = await fetch_span(self._rest, symbol, step, (start_ms, start_ms + step), repeats=0)
        except VenueError:
            self._metrics.rest_failures += 1
            return
        for bar in bars:
            used = self._sequencer.used(bar)
            prices = (bar.open, bar.high, bar.low, bar.close, bar.volume)
            if used is not None and prices != (used.open, used.high, used.low, used.close, used.volume):
                self._metrics.conflicts_lost += 1
