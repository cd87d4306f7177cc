"""Candles and funding rates from Bybit's public REST: unsigned, paced, retried, complete or an error.

``PublicRest`` carries one request through bad minutes; ``CandleDownload`` and ``fetch_funding`` know the
pages. What was fetched before a failure is kept, so the same command continues where it stopped.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn, Protocol, TypeVar

import aiohttp
import numpy as np
import yarl

import bot
from bot.adapters.files.candles import Candles, Funding, Ints
from bot.adapters.state.clock import FollowedClock
from bot.bybit.codes import Forbidden, RateLimited, error_for_status
from bot.bybit.orders import parse_time, server_time
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
from bot.domain.errors import BadInput, Retryable, VenueError
from bot.domain.market import Bar
from bot.ports import Clock

MAX_BODY_BYTES = 4 << 20
"""A page of 1000 bars is 0.1 MB."""
BACKOFF_MS = 500
MAX_BACKOFF_MS = 30_000
RATE_LIMIT_PAUSE_MS = 2_000
"""Bybit's public endpoints say 10006 without saying when to come back."""
SHORT_PAGE_RETRIES = 2
"""A page with bars missing is asked for again before the bars count as missing."""

FORBIDDEN_PAUSE_MS = 600_000
"""After HTTP 403 nothing is asked for so long. https://bybit-exchange.github.io/docs/v5/rate-limit"""

T = TypeVar("T")
OnProgress = Callable[[int], None]
"""Told after each page how many of the bars it was asked for have been dealt with."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How hard the exchange may be asked."""

    requests_per_second: float = 10.0
    max_retries: int = 6
    timeout_ms: int = 10_000


@asynccontextmanager
async def public_rest(
    base_url: str, clock: Clock, pace: Pace, rng: random.Random
) -> AsyncIterator["PublicRest"]:
    """A ``PublicRest`` with its own connection: no proxy from the environment, no cookies, no redirects."""
    async with aiohttp.ClientSession(
        trust_env=False,
        auto_decompress=False,  # we ask for plain bodies, so a compressed one is a bomb or a mistake
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"bot/{bot.__version__}", "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=pace.timeout_ms / 1000.0),
    ) as http:
        yield PublicRest(http, base_url, clock, pace, rng)


class Question(Protocol):
    """An unsigned GET, from ``bybit.rest`` or ``bybit.orders``."""

    @property
    def path(self) -> str:
        """Where it goes."""

    @property
    def target(self) -> str:
        """Path and query as they go on the wire."""


class PublicRest:
    """Unsigned GETs: spaced, and repeated while that may help. Any number of callers share the pace."""

    def __init__(
        self, http: aiohttp.ClientSession, base_url: str, clock: Clock, pace: Pace, rng: random.Random
    ) -> None:
        self.clock = clock
        self.base_url = base_url
        self._http = http
        self._pace = pace
        self._rng = rng
        self._next_ms = 0.0
        self._forbidden_until_ms = 0

    async def get(self, request: Question, parse: Callable[[bytes], T]) -> T:
        """Send, check the status, parse; an unreadable answer is repeated like a lost one.

        Raises:
            VenueError: refused, or still failing after the last retry.
        """
        attempts = self._pace.max_retries + 1
        for attempt in range(attempts):
            await self._wait_for_turn()
            try:
                return parse((await self._fetch(request))[0])
            except (Retryable, BadInput, aiohttp.ClientError, TimeoutError, OSError) as error:
                last = error
            if attempt + 1 < attempts:
                await self.clock.sleep_until(self.clock.now_ms() + self._pause_ms(last, attempt))
        raise VenueError(
            f"{self.base_url}{request.path}: {_describe(last)}; gave up after {attempts} attempts, "
            "run the same command again to continue"
        ) from last

    async def observe(self, clock: FollowedClock) -> None:
        """Ask the exchange for its time, once, and tell ``clock``. ``X-Clock-Speed`` is a local exchange's.

        Raises:
            VenueError, BadInput, OSError, aiohttp.ClientError, TimeoutError: no answer that can be read.
        """
        loop = asyncio.get_running_loop()
        await self._wait_for_turn()
        sent_s = loop.time()
        body, headers = await self._fetch(server_time())
        clock.observe(parse_time(body), sent_s, loop.time(), _speed(headers.get("X-Clock-Speed")))

    async def _fetch(self, request: Question) -> tuple[bytes, Mapping[str, str]]:
        if self.clock.now_ms() < self._forbidden_until_ms:
            raise Forbidden("not asked: HTTP 403 a few minutes ago")
        url = yarl.URL(f"{self.base_url}{request.target}", encoded=True)  # cursors are escaped already
        async with self._http.get(url, allow_redirects=False) as response:
            if error := error_for_status(response.status):
                if isinstance(error, Forbidden):
                    self._forbidden_until_ms = self.clock.now_ms() + FORBIDDEN_PAUSE_MS
                if isinstance(error, RateLimited):
                    error.reset_ms = _reset_ms(response.headers.get("X-Bapi-Limit-Reset-Timestamp"))
                raise error
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise VenueError(f"{self.base_url}{request.path}: answer beyond {MAX_BODY_BYTES} bytes")
            return bytes(body), response.headers

    async def _wait_for_turn(self) -> None:
        now_ms = self.clock.now_ms()
        turn_ms = max(self._next_ms, float(now_ms))
        self._next_ms = turn_ms + 1000.0 / self._pace.requests_per_second
        await self.clock.sleep_until(int(turn_ms))

    def _pause_ms(self, error: Exception, attempt: int) -> int:
        """Full jitter under a doubling bound; after a rate limit at least the time it names."""
        jittered = int(self._rng.uniform(0, min(MAX_BACKOFF_MS, BACKOFF_MS << attempt)))
        if not isinstance(error, RateLimited):
            return jittered
        wait_ms = RATE_LIMIT_PAUSE_MS
        if error.reset_ms is not None:
            wait_ms = error.reset_ms - self.clock.now_ms()
        return min(max(wait_ms, 0), MAX_BACKOFF_MS) + jittered


def _reset_ms(header: str | None) -> int | None:
    return int(header) if header is not None and header.isdecimal() and len(header) < 16 else None


def _speed(header: str | None) -> float:
    try:
        speed = float(header or "1")
    except ValueError:
        return 1.0
    return speed if 0.0 < speed < 1e6 else 1.0


def _describe(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__


async def follow(
    rest: PublicRest, clock: FollowedClock, *, every_s: float = 20.0, at_first: int = 4
) -> NoReturn:
    """Keep ``clock`` on the exchange's time until cancelled: ``at_first`` questions at once, then paced.

    What fails is passed over: the clock runs on as it was last known.
    """
    while True:
        try:
            await rest.observe(clock)
        except (VenueError, BadInput, OSError, aiohttp.ClientError, TimeoutError):
            pass
        else:
            at_first -= 1
        await asyncio.sleep(0.05 if at_first > 0 else every_s)


class CandleDownload:
    """The closed bars of one symbol, filled from what a file already has and from the exchange.

    ``fill`` may fail at any page; ``candles`` then still holds everything before the failure.
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
        """Stored bars that the exchange now gives other numbers for: they were open when they were stored."""

    async def fill(self, from_ms: int, to_ms: int, on_progress: OnProgress | None = None) -> None:
        """Fetch what is missing of ``[from_ms, to_ms)``, oldest first; the last stored bar is checked again.

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
        """What there is, None if nothing."""
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
    """The closed bars that open in ``[first_ms, last_ms]``, at most a page, oldest first.

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
    """The stretches ``[a, b)`` of ``[from_ms, to_ms)`` whose opens are not in ``have_ms`` (sorted)."""
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
    """The rates settled in ``[from_ms, to_ms)``, paged backwards; None if there is none.

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
    """Both, the new one's rate where they meet."""
    known = {} if old is None else dict(zip(old.start_ms.tolist(), old.rate.tolist(), strict=True))
    known.update(zip(new.start_ms.tolist(), new.rate.tolist(), strict=True))
    return _funding(new.symbol, known)
