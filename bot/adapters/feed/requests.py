"""Requests of a feed over REST: runs of bars, settled rates, lists; many symbols, few at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

from bot.adapters.feed.download import fetch_bars, fetch_funding
from bot.adapters.net.public_rest import PublicRest
from bot.bybit.orders import Page, Request
from bot.bybit.rest import KLINE_LIMIT
from bot.domain.errors import BotError, VenueError
from bot.domain.market import Bar
from bot.domain.messages import FundingRate
from bot.domain.money import to_decimal

AT_ONCE = 8
"""Requests in flight at a time; ``PublicRest`` paces them too."""
MAX_PAGES = 1_000

T = TypeVar("T")


async def for_each(
    symbols: Iterable[str], work: Callable[[str], Awaitable[None]], at_once: int = AT_ONCE
) -> None:
    """Call ``work`` for every symbol, ``at_once`` at a time; the first error ends all.

    Raises:
        BotError: the first that ``work`` raised.
    """
    left = iter(symbols)
    failed: list[BotError] = []

    async def worker() -> None:
        for symbol in left:
            if failed:
                return
            try:
                await work(symbol)
            except BotError as error:
                failed.append(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())
    if failed:
        raise failed[0]


async def fetch_span(
    rest: PublicRest, symbol: str, interval_ms: int, span: tuple[int, int], *, repeats: int
) -> list[Bar]:
    """Fetch the closed bars that open in ``[from, to)``, oldest first.

    Raises:
        VenueError: refused, or still failing after the last retry.
    """
    bars: list[Bar] = []
    from_ms, to_ms = span
    for first_ms in range(from_ms, to_ms, KLINE_LIMIT * interval_ms):
        last_ms = min(first_ms + KLINE_LIMIT * interval_ms, to_ms) - interval_ms
        bars += await fetch_bars(rest, symbol, interval_ms, first_ms, last_ms, repeats=repeats)
    return bars


async def fetch_rates(rest: PublicRest, symbol: str, from_ms: int, to_ms: int) -> list[FundingRate]:
    """Fetch the rates settled in ``[from_ms, to_ms)``, oldest first.

    Raises:
        VenueError: refused, or still failing after the last retry.
    """
    found = await fetch_funding(rest, symbol, from_ms, to_ms)
    if found is None:
        return []
    pairs = zip(found.start_ms.tolist(), found.rate.tolist(), strict=True)
    return [FundingRate(ts_ms, symbol, to_decimal(rate)) for ts_ms, rate in pairs]


async def pages(
    rest: PublicRest, ask: Callable[[str], Request], parse: Callable[[bytes], Page[T]]
) -> AsyncIterator[Page[T]]:
    """Yield all pages of a list. It ends with an empty page, an empty cursor, or a cursor seen before.

    Raises:
        VenueError: refused, still failing after the last retry, or a list without end.
    """
    cursor, seen = "", {""}
    for _ in range(MAX_PAGES):
        page = await rest.get(ask(cursor), parse)
        yield page
        cursor = page.cursor
        if not page.rows or cursor in seen:
            return
        seen.add(cursor)
    raise VenueError(f"{rest.base_url}: a list of more than {MAX_PAGES} pages")
