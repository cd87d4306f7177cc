"""Brings what the stream did not: bars and settled rates over REST, in rounds, until nothing is missing."""

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NoReturn

from bot.adapters.feed.book import FeedBook
from bot.adapters.feed.config import FeedConfig, FeedMetrics
from bot.adapters.feed.requests import each, fetch_rates, fetch_span
from bot.adapters.net.public_rest import PublicRest
from bot.domain.errors import VenueError
from bot.domain.market import Bar
from bot.domain.messages import FundingRate, Gap
from bot.ports import Clock

_FIRST_PAUSE_S = 0.2
_LAST_PAUSE_S = 5.0
_LAST_RATE_PAUSE_S = 30.0
GAP_AFTER_ANSWERS = 5
"""Answers without the missing bars before they may count as not existing."""


@dataclass
class _Want:
    """What is asked for until it is here."""

    before_ms: int
    since_s: float
    next_s: float
    answers: int = 0
    tries: int = 0


@dataclass
class _Brought:
    """What REST had for one symbol; ``answered`` if it was asked for bars and said something."""

    bars: list[Bar] = field(default_factory=list)
    rates: list[FundingRate] = field(default_factory=list)
    answered: bool = False


class Filler:
    """Fetches what a ``FeedBook`` is missing.

    All symbols that miss something at one moment are fetched before anything of it is told, so that the
    bars of an outage come out together, close by close.

    Args:
        came: called after each round, before what came is told.
        gap: called with bars that do not exist.
    """

    def __init__(
        self,
        book: FeedBook,
        rest: PublicRest,
        clock: Clock,
        config: FeedConfig,
        metrics: FeedMetrics,
        rng: random.Random,
        *,
        came: Callable[[], None],
        gap: Callable[[Gap], None],
    ) -> None:
        self._book = book
        self._rest = rest
        self._clock = clock
        self._config = config
        self._metrics = metrics
        self._rng = rng
        self._came = came
        self._gap = gap
        self._wants: dict[str, _Want] = {}
        self._news = asyncio.Event()

    def want(self, symbols: Iterable[str], before_ms: int = 0) -> None:
        """Fetch the bars of ``symbols`` that open before ``before_ms``, and their rates that are due."""
        now_s = asyncio.get_running_loop().time()
        for symbol in symbols:
            want = self._wants.get(symbol)
            if want is None:
                self._wants[symbol] = _Want(before_ms, now_s, now_s)
            else:
                want.before_ms = max(want.before_ms, before_ms)
                want.next_s = min(want.next_s, now_s + _FIRST_PAUSE_S)
        self._news.set()

    async def run(self) -> NoReturn:
        """Fetch until cancelled. What fails is asked for again, ever more rarely."""
        loop = asyncio.get_running_loop()
        while True:
            due = [symbol for symbol, want in self._wants.items() if want.next_s <= loop.time()]
            if due or self._book.disputed:
                await self._round(due)
                continue
            next_s = min((want.next_s for want in self._wants.values()), default=None)
            self._news.clear()
            try:
                async with asyncio.timeout_at(next_s):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def _round(self, due: list[str]) -> None:
        """Ask for everything first; then take, judge and tell it without letting anybody in between."""
        brought: dict[str, _Brought] = {}

        async def ask(symbol: str) -> None:
            found = await self._ask(symbol)
            if found is None:
                del self._wants[symbol]
            else:
                brought[symbol] = found

        await each(due, ask)
        before_ms = {symbol: self._book.next_ms(symbol) for symbol in brought}
        for symbol, found in brought.items():
            self._book.fetched(found.bars)
            self._book.settled(symbol, found.rates)
        for symbol, found in brought.items():
            want = self._wants[symbol]
            want.answers += found.answered
            self._judge(symbol, want, moved=self._book.next_ms(symbol) > before_ms[symbol])
        self._came()
        self._book.flush(self._clock.now_ms())
        disputed, self._book.disputed = self._book.disputed, []
        for bar in disputed:
            await self._settle_dispute(bar.symbol, bar.start_ms)

    async def _ask(self, symbol: str) -> _Brought | None:
        """What REST has of what ``symbol`` misses; None if nothing is missing any more."""
        want, now_ms = self._wants[symbol], self._clock.now_ms()
        owed = self._book.owed(symbol, want.before_ms, now_ms)
        if owed is None:
            return None
        found = _Brought()
        try:
            if owed.bars is not None:
                step = self._config.interval_ms
                found.bars = await fetch_span(self._rest, symbol, step, owed.bars, repeats=0)
                self._metrics.bars_fetched += len(found.bars)
                found.answered = True
            if owed.rates_after_ms is not None:
                found.rates = await fetch_rates(
                    self._rest, symbol, owed.rates_after_ms + 1, self._clock.now_ms() + 1
                )
        except VenueError:
            self._metrics.rest_failures += 1
        return found

    def _judge(self, symbol: str, want: _Want, *, moved: bool) -> None:
        now_s = asyncio.get_running_loop().time()
        owed = self._book.owed(symbol, want.before_ms, self._clock.now_ms())
        if owed is None:
            del self._wants[symbol]
            return
        if moved:
            want.answers = want.tries = 0
            want.since_s = want.next_s = now_s
            return
        waited_ms = (now_s - want.since_s) * 1000.0
        if owed.bars and want.answers >= GAP_AFTER_ANSWERS and waited_ms >= self._config.gap_after_ms:
            self._give_up(symbol, owed.bars[1])
            want.answers = 0
            want.since_s = now_s
        last_s = _LAST_PAUSE_S if owed.bars else _LAST_RATE_PAUSE_S
        bound_s = min(_FIRST_PAUSE_S * 2 ** min(want.tries, 16), last_s)
        want.tries += 1
        want.next_s = now_s + self._rng.uniform(0.5, 1.0) * bound_s

    def _give_up(self, symbol: str, to_ms: int) -> None:
        gap = self._book.give_up(symbol, to_ms)
        if gap is not None:
            self._metrics.gaps += 1
            self._gap(gap)

    async def _settle_dispute(self, symbol: str, start_ms: int) -> None:
        """Which of two different confirmations REST agrees with; the first was used, whatever it says."""
        step = self._config.interval_ms
        try:
            bars = await fetch_span(self._rest, symbol, step, (start_ms, start_ms + step), repeats=0)
        except VenueError:
            self._metrics.rest_failures += 1
            return
        for bar in bars:
            used = self._book.used(bar)
            prices = (bar.open, bar.high, bar.low, bar.close, bar.volume)
            if used is not None and prices != (used.open, used.high, used.low, used.close, used.volume):
                self._metrics.conflicts_lost += 1
