"""Closed candles and funding rates over public REST, page by page, complete or an error.

What was fetched before a failure is kept, so the same command continues where it stopped.
"""

from collections.abc import Callable, Iterator

import numpy as np

from bot.adapters.files.candles import Candles, Funding, Ints
from bot.adapters.net.public_rest import PublicRest
from bot.bybit.rest import (
    FUNDING_LIMIT,
    KLINE_LIMIT,
    Category,
    Prices,
    get_funding,
    get_klines,
    parse_funding,
    parse_klines,
    parse_mark_klines,
)
from bot.domain.market import Bar

SHORT_PAGE_RETRIES = 2
"""A page that lacks bars is asked for so often again before the bars count as missing."""
OnProgress = Callable[[int], None]
"""Called after each page with the number of wanted bars that are done."""


class CandleDownload:
    """The closed bars of one symbol: those of a file, completed from the exchange.

    ``fill`` may fail at any page. ``candles`` then returns all bars that came before the failure.
    """

    def __init__(
        self,
        rest: PublicRest,
        symbol: str,
        interval_ms: int,
        *,
        have: Candles | None = None,
        category: Category = "linear",
        prices: Prices = "kline",
    ) -> None:
        self._rest = rest
        self._symbol = symbol
        self._interval_ms = interval_ms
        self._category: Category = category
        self._prices: Prices = prices
        self._bars = {bar.start_ms: bar for bar in have.bars()} if have is not None else {}
        self.fetched = 0
        """Bars that are new."""
        self.replaced = 0
        """Stored bars that the exchange now shows with other numbers: they were open when stored."""

    async def fill(self, from_ms: int, to_ms: int, on_progress: OnProgress | None = None) -> None:
        """Fetch the bars missing in ``[from_ms, to_ms)``, oldest first; the last stored bar is checked again.

        Raises:
            VenueError: refused, or still failing after the last retry.
        """
        step = self._interval_ms
        from_ms, to_ms = from_ms // step * step, -(-to_ms // step) * step
        for first_ms, last_ms in windows(self._wanted(from_ms, to_ms), step, KLINE_LIMIT):
            for bar in await self._page(first_ms, last_ms):
                self._take(bar)
            if on_progress is not None:
                on_progress((last_ms - from_ms) // step + 1)

    def candles(self) -> Candles | None:
        """Return all bars, None if there are none."""
        if not self._bars:
            return None
        bars = [self._bars[start_ms] for start_ms in sorted(self._bars)]
        return Candles.make(
            self._symbol,
            self._interval_ms,
            np.array([bar.start_ms for bar in bars], np.int64),
            np.array([(bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]),
            np.array([np.nan if bar.turnover is None else bar.turnover for bar in bars]),
        )

    def _wanted(self, from_ms: int, to_ms: int) -> list[tuple[int, int]]:
        have = np.array(sorted(self._bars), np.int64)
        return missing_ranges(have[:-1], from_ms, to_ms, self._interval_ms)

    async def _page(self, first_ms: int, last_ms: int) -> list[Bar]:
        return await fetch_bars(
            self._rest,
            self._symbol,
            self._interval_ms,
            first_ms,
            last_ms,
            category=self._category,
            prices=self._prices,
        )

    def _take(self, bar: Bar) -> None:
        stored = self._bars.get(bar.start_ms)
        self.fetched += stored is None
        self.replaced += stored is not None and stored != bar
        self._bars[bar.start_ms] = bar


async def fetch_bars(
    rest: PublicRest,
    symbol: str,
    interval_ms: int,
    first_ms: int,
    last_ms: int,
    *,
    category: Category = "linear",
    prices: Prices = "kline",
    repeats: int = SHORT_PAGE_RETRIES,
) -> list[Bar]:
    """Fetch the closed bars that open in ``[first_ms, last_ms]``, at most a page, oldest first.

    A short page is asked for ``repeats`` times more, then taken as it is.

    Raises:
        VenueError: refused, or still failing after the last retry.
    """
    request = get_klines(symbol, interval_ms, first_ms, last_ms, category=category, prices=prices)
    parse = parse_klines if prices == "kline" else parse_mark_klines
    bars: list[Bar] = []
    for _ in range(1 + repeats):
        page = await rest.get(request, lambda body: parse(body, symbol, interval_ms))
        now_ms = rest.clock.now_ms()
        # Rows outside the window were not asked for; the window beside it brings them.
        bars = [bar for bar in page.closed(now_ms) if first_ms <= bar.start_ms <= last_ms]
        closed_ms = min(last_ms + interval_ms, page.server_ms or now_ms)
        if len(bars) >= (closed_ms - first_ms) // interval_ms:
            break
    return bars


def missing_ranges(have_ms: Ints, from_ms: int, to_ms: int, interval_ms: int) -> list[tuple[int, int]]:
    """Return the parts ``[a, b)`` of ``[from_ms, to_ms)`` whose opens are not in ``have_ms`` (sorted)."""
    inside = have_ms[(have_ms >= from_ms) & (have_ms < to_ms)]
    begins = np.concatenate(([from_ms], inside + interval_ms))
    ends = np.concatenate((inside, [to_ms]))
    return [(int(a), int(b)) for a, b in zip(begins, ends, strict=True) if a < b]


def windows(ranges: list[tuple[int, int]], interval_ms: int, limit: int) -> Iterator[tuple[int, int]]:
    """Cut ranges ``[a, b)`` into windows of at most ``limit`` bars, as (first open, last open)."""
    for begin_ms, end_ms in ranges:
        for first_ms in range(begin_ms, end_ms, limit * interval_ms):
            yield first_ms, min(first_ms + limit * interval_ms, end_ms) - interval_ms


async def fetch_funding(
    rest: PublicRest, symbol: str, from_ms: int, to_ms: int, *, category: Category = "linear"
) -> Funding | None:
    """Fetch the rates settled in ``[from_ms, to_ms)``, newest page first; None if there are none.

    Raises:
        VenueError: refused, still failing after the last retry, or pages that do not move.
    """
    settled: dict[int, float] = {}
    last_ms = to_ms - 1
    while last_ms >= from_ms:
        page = await rest.get(
            get_funding(symbol, from_ms, last_ms, category=category), lambda body: parse_funding(body, symbol)
        )
        inside = [item for item in page if from_ms <= item.ts_ms <= last_ms]
        settled.update((item.ts_ms, item.rate) for item in inside)
        if len(page) < FUNDING_LIMIT or not inside:
            break
        last_ms = inside[0].ts_ms - 1
    return _funding(symbol, settled) if settled else None


def _funding(symbol: str, settled: dict[int, float]) -> Funding:
    start_ms = np.array(sorted(settled), np.int64)
    return Funding(symbol, start_ms, np.array([settled[ts_ms] for ts_ms in start_ms.tolist()]))


def merge_funding(old: Funding | None, new: Funding) -> Funding:
    """Return both; where both have a rate, the new one counts."""
    known = {} if old is None else dict(zip(old.start_ms.tolist(), old.rate.tolist(), strict=True))
    known.update(zip(new.start_ms.tolist(), new.rate.tolist(), strict=True))
    return _funding(new.symbol, known)
