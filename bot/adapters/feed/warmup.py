"""Warm-up: fetches past candles and funding of all symbols and emits them in the order of a backtest."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from bot.adapters.feed.config import FeedConfig
from bot.adapters.feed.download import SHORT_PAGE_RETRIES
from bot.adapters.feed.requests import fetch_rates, fetch_span, for_each
from bot.adapters.net.inbox import Inbox
from bot.adapters.net.public_rest import PublicRest
from bot.bybit.rest import KLINE_LIMIT
from bot.domain.errors import Rejected, VenueError
from bot.domain.market import Instrument
from bot.feed.sequencer import FeedSequencer
from bot.ports import Clock

BARS_AT_ONCE = 600_000
"""Bars held in memory while many symbols warm up: about 150 MB."""
BARS_TOLD_AT_ONCE = 10_000
"""Bars emitted without a pause: about 20 ms of work."""
WAITING_BARS = 300_000
"""If more bars than this wait in the inbox, the warm-up waits before it fetches more."""
ATTEMPTS = 4
PAUSE_S = 2.0

OnProgress = Callable[[int, int], None]


async def warm_up(
    inbox: Inbox,
    rest: PublicRest,
    clock: Clock,
    config: FeedConfig,
    instruments: Mapping[str, Instrument],
    on_progress: OnProgress | None = None,
) -> FeedSequencer:
    """Emit every close from ``config.from_ms`` (or ``bars_before`` bars ago) to now, with ``live=False``.

    Bars that REST lacks are left out, as in a candle file. The newest bars may be missing too: the feed
    fetches them once its stream is up. Returns the sequencer for the bars that follow.

    Raises:
        VenueError: refused, or still failing after several attempts.
    """
    step = config.interval_ms
    funding_ms = {symbol: instruments[symbol].funding_interval_ms for symbol in config.symbols}
    from_ms = config.from_ms
    if from_ms is None:
        from_ms = clock.now_ms() // step * step - config.bars_before * step
    sequencer = FeedSequencer(funding_ms, step, from_ms, inbox.put, config.seen_ms)
    window = max(50, min(KLINE_LIMIT, BARS_AT_ONCE // len(config.symbols))) * step
    share = max(1, BARS_TOLD_AT_ONCE // len(config.symbols)) * step
    await _rates(sequencer, rest, clock, funding_ms, from_ms)
    done = 0
    while from_ms < (last_ms := clock.now_ms() // step * step):
        to_ms = min(from_ms + window, last_ms)
        total = done + (last_ms - from_ms) // step * len(config.symbols)

        async def fill(symbol: str, from_ms: int = from_ms, to_ms: int = to_ms, total: int = total) -> None:
            nonlocal done
            await _bars(sequencer, rest, symbol, step, from_ms, to_ms, clock)
            done += (to_ms - from_ms) // step
            if on_progress is not None:
                on_progress(done, total)

        await inbox.room(WAITING_BARS // len(config.symbols))
        await for_each(config.symbols, fill)
        await _later_rates(sequencer, rest, clock, to_ms)
        while from_ms < to_ms:  # a part at a time: the loop has other work too
            from_ms = min(from_ms + share, to_ms)
            sequencer.decide(from_ms, 0, live=False)
            await asyncio.sleep(0)
    return sequencer


async def _bars(
    sequencer: FeedSequencer, rest: PublicRest, symbol: str, step: int, from_ms: int, to_ms: int, clock: Clock
) -> None:
    async def ask() -> None:
        span = (sequencer.next_ms(symbol), to_ms)
        if span[0] < to_ms:
            sequencer.fetched(await fetch_span(rest, symbol, step, span, repeats=SHORT_PAGE_RETRIES))

    await _patiently(ask)
    # REST may show a new bar a moment late. An older bar that it lacks does not exist.
    sure_ms = min(to_ms, clock.now_ms() // step * step - 2 * step)
    while (missing := sequencer.missing_of(symbol, sure_ms, 0)) is not None and missing.bars is not None:
        sequencer.give_up(symbol, missing.bars[1])


async def _rates(
    sequencer: FeedSequencer, rest: PublicRest, clock: Clock, funding_ms: Mapping[str, int], from_ms: int
) -> None:
    """Fetch the rates settled since ``from_ms``, and the last one before it."""

    async def fill(symbol: str) -> None:
        async def ask() -> None:
            begin_ms = from_ms - 2 * funding_ms[symbol]
            rates = await fetch_rates(rest, symbol, begin_ms, clock.now_ms() + 1)
            before = [rate for rate in rates if rate.ts_ms <= from_ms]
            if before:
                sequencer.settled_before(before[-1])
            sequencer.settled(symbol, rates)

        await _patiently(ask)

    await for_each(funding_ms, fill)


async def _later_rates(sequencer: FeedSequencer, rest: PublicRest, clock: Clock, to_ms: int) -> None:
    """Fetch the rates that settled while candles were fetched; they leave before the closes after them."""

    async def fill(symbol: str) -> None:
        async def ask() -> None:
            missing = sequencer.missing_of(symbol, 0, to_ms)
            if missing is not None and missing.rates_after_ms is not None:
                after_ms = missing.rates_after_ms + 1
                sequencer.settled(symbol, await fetch_rates(rest, symbol, after_ms, clock.now_ms() + 1))

        await _patiently(ask)

    await for_each(sequencer.rates_due(to_ms), fill)


async def _patiently(ask: Callable[[], Awaitable[None]]) -> None:
    """Repeat ``ask`` after a pause if it fails for a reason that may pass."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            await ask()
        except Rejected:
            raise
        except VenueError:
            if attempt == ATTEMPTS:
                raise
            await asyncio.sleep(PAUSE_S * attempt)
        else:
            return
