"""Bybit's public REST: unsigned requests, paced, and repeated while that may help."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn, Protocol, TypeVar

import aiohttp
import yarl

from bot.adapters.net.http_client import venue_http
from bot.adapters.state.clock import FollowedClock
from bot.bybit.codes import Forbidden, RateLimited, error_for_status
from bot.bybit.orders import parse_time, server_time
from bot.bybit.rate_limits import AddressBudget
from bot.domain.errors import BadInput, Retryable, VenueError
from bot.domain.words import counted
from bot.ports import Clock

MAX_BODY_BYTES = 4 << 20
"""A page of 1000 bars is 0.1 MB."""
BACKOFF_MS = 500
MAX_BACKOFF_MS = 30_000
RATE_LIMIT_PAUSE_MS = 2_000
"""Pause after 10006: Bybit's public endpoints do not say when to ask again."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RequestPace:
    """How fast and how often to ask the exchange."""

    requests_per_second: float = 10.0
    max_retries: int = 6
    timeout_ms: int = 10_000


@asynccontextmanager
async def public_rest(
    base_url: str,
    clock: Clock,
    pace: RequestPace,
    rng: random.Random,
    connector: Callable[[], aiohttp.BaseConnector] | None = None,
    address: AddressBudget | None = None,
) -> AsyncIterator["PublicRest"]:
    """Open a ``PublicRest`` on a client of ``venue_http``; it follows no redirects.

    ``address``: the budget of this process's address; by default one of its own.
    """
    async with venue_http(pace.timeout_ms, connector) as http:
        yield PublicRest(http, base_url, clock, pace, rng, address or AddressBudget())


class GetRequest(Protocol):
    """An unsigned GET, from ``bybit.rest`` or ``bybit.orders``."""

    @property
    def path(self) -> str:
        """The path of the URL."""

    @property
    def target(self) -> str:
        """Path and query as sent."""


class PublicRest:
    """Sends unsigned GETs, paced, and repeats them while that may help. All callers share one pace.

    Attributes:
        address: what the venue grants to this address; sockets and signed requests use the same.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        base_url: str,
        clock: Clock,
        pace: RequestPace,
        rng: random.Random,
        address: AddressBudget,
    ) -> None:
        self.clock = clock
        self.base_url = base_url
        self.address = address
        self._http = http
        self._pace = pace
        self._rng = rng
        self._next_ms = 0.0

    async def get(self, request: GetRequest, parse: Callable[[bytes], T]) -> T:
        """Send a request and parse the answer. An unreadable answer is handled like a lost one.

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
                if isinstance(error, RateLimited):  # everybody's ordinary requests wait; cancels go on
                    self.address.limited(_loop_ms() + self._rate_pause_ms(error), urgent_too=False)
            if attempt + 1 < attempts:
                await asyncio.sleep(self._pause_ms(last, attempt) / 1000.0)
        raise VenueError(
            f"{self.base_url}{request.path}: {_describe(last)}; gave up after "
            f"{counted(attempts, 'attempt')}, run the same command again to continue"
        ) from last

    async def observe(self, clock: FollowedClock) -> None:
        """Ask the exchange for its time, once, and set ``clock``. A local exchange sends ``X-Clock-Speed``.

        Raises:
            VenueError, BadInput, OSError, aiohttp.ClientError, TimeoutError: no answer that can be read.
        """
        loop = asyncio.get_running_loop()
        await self._wait_for_turn()
        sent_s = loop.time()
        body, headers = await self._fetch(server_time())
        clock.observe(parse_time(body), sent_s, loop.time(), _speed(headers.get("X-Clock-Speed")))

    async def _fetch(self, request: GetRequest) -> tuple[bytes, Mapping[str, str]]:
        if self.address.barred_ms(_loop_ms()) > 0.0:
            raise Forbidden("not asked: HTTP 403 a few minutes ago")
        url = yarl.URL(f"{self.base_url}{request.target}", encoded=True)  # cursors are escaped already
        async with self._http.get(url, allow_redirects=False) as response:
            if error := error_for_status(response.status):
                if isinstance(error, Forbidden):
                    self.address.forbid(_loop_ms())
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
        now_ms = _loop_ms()  # steady: a clock that is set back must not hold up a question
        turn_ms = max(self._next_ms, now_ms)
        self._next_ms = turn_ms + 1000.0 / self._pace.requests_per_second
        await asyncio.sleep((turn_ms - now_ms) / 1000.0)
        while (wait_ms := self.address.take(_loop_ms())) > 0.0:
            if self.address.barred_ms(_loop_ms()) > 0.0:
                return  # nothing will be asked
            await asyncio.sleep(wait_ms / 1000.0)

    def _pause_ms(self, error: Exception, attempt: int) -> int:
        """Return a random part of a doubling bound; after a rate limit at least the named time."""
        jittered = int(self._rng.uniform(0, min(MAX_BACKOFF_MS, BACKOFF_MS << attempt)))
        if not isinstance(error, RateLimited):
            return jittered
        return self._rate_pause_ms(error) + jittered

    def _rate_pause_ms(self, error: RateLimited) -> int:
        wait_ms = RATE_LIMIT_PAUSE_MS
        if error.reset_ms is not None:
            wait_ms = error.reset_ms - self.clock.now_ms()
        return min(max(wait_ms, 0), MAX_BACKOFF_MS)


def _loop_ms() -> float:
    return asyncio.get_running_loop().time() * 1000.0


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
    """Keep ``clock`` on the exchange's time until cancelled: ``at_first`` requests at once, then paced.

    A failed request is ignored: the clock runs on from the last answer.
    """
    while True:
        try:
            await rest.observe(clock)
        except (VenueError, BadInput, OSError, aiohttp.ClientError, TimeoutError):
            pass
        else:
            at_first -= 1
        await asyncio.sleep(0.05 if at_first > 0 else every_s)
