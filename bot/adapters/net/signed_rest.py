"""Signed REST: each request has exactly one outcome. A write that may have arrived is not repeated here.

``ask`` reads and may repeat the request. ``send_once`` writes once and returns what is known: done, refused
or unknown. The host is checked against the allow-list, redirects are not followed, TLS is always verified,
bodies are bounded, and JSON is read only from an answer of type JSON. No error and no repr holds key or
secret.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

import aiohttp
import msgspec
import yarl
from aiohttp.abc import AbstractStreamWriter

from bot.adapters.net.http_client import venue_http
from bot.adapters.net.venue_clock import VenueClock
from bot.adapters.state.failpoint import reach
from bot.bybit.codes import (
    SECRET_TEXT,
    CodeKind,
    RequestAction,
    error_for,
    error_for_status,
    meaning,
    printable,
)
from bot.bybit.decode import MAX_REST_BYTES, decode
from bot.bybit.hosts import check_signed_url
from bot.bybit.orders import Request, parse_time, server_time
from bot.bybit.rate_limits import ADDRESS, RateLimiter
from bot.bybit.sign import rest_signature
from bot.domain.errors import BadInput, BadSettings, Retryable, Unknown, VenueError
from bot.logs import MIN_SECRET_CHARS, Redactor
from bot.ports import Clock

BACKOFF_MS = 200
MAX_BACKOFF_MS = 5_000
RATE_PAUSE_MS = 1_000
MAX_RATE_PAUSE_MS = 10_000
_OF_THE_ADDRESS = frozenset({10018, 10403})
"""Rate limits that count an address, not an account."""

T = TypeVar("T")


class Credentials:
    """Key and secret of an account. The repr shows neither."""

    __slots__ = ("_redactor", "key", "secret")

    def __init__(self, key: str, secret: str) -> None:
        self.key = key
        self.secret = secret
        self._redactor = Redactor(word for word in (key, secret) if len(word) >= MIN_SECRET_CHARS)

    def clean(self, said: bytes) -> bytes:
        """Return what a venue said without key and secret: its words go to logs and to disk.

        Call it before the words are cut to a length: the first part of a key cannot be recognised.
        """
        text = said.decode("utf-8", "surrogateescape")
        return self._redactor(text).encode("utf-8", "surrogateescape")

    def __repr__(self) -> str:
        return "Credentials(…)"


@dataclass(frozen=True, kw_only=True)
class RestPolicy:
    """The patience of signed requests, in milliseconds of the loop's time."""

    recv_window_ms: int = 5_000
    timeout_ms: int = 5_000
    attempts: int = 6
    """Attempts for a read."""


class RequestOutcome(msgspec.Struct, frozen=True):
    """The outcome of one request. ``unsent``: it is certain that no byte left this machine.

    ``retry_unknown``: the venue may have executed it. ``code`` is the retCode, 0 if there was none.
    """

    kind: CodeKind | Literal["unsent"]
    code: int = 0
    text: str = ""
    status: int = 200
    """The HTTP status; only 200 carries a retCode."""
    body: bytes = b""
    reset_ms: int | None = None
    sent_ms: int = 0
    received_ms: int = 0
    """When the answer came, by our clock; ``sent_ms`` is when the request left."""
    order_id: str = ""
    """The venue's id of an accepted order, if the answer has been read already."""


class _Envelope(msgspec.Struct, rename="camel"):
    ret_code: int
    ret_msg: str | None = None
    time: int | None = None


@asynccontextmanager
async def signed_rest(
    base_url: str,
    credentials: Credentials,
    clock: Clock,
    rng: random.Random,
    *,
    budget: RateLimiter | None = None,
    policy: RestPolicy | None = None,
    connector: Callable[[], aiohttp.BaseConnector] | None = None,
) -> AsyncIterator["SignedRest"]:
    """Open a ``SignedRest`` on a client of ``venue_http``; it follows no redirects.

    ``budget``: of the account, with the one of the address that other clients of this process share.

    Raises:
        BadSettings: ``base_url`` is not a host that signed calls may reach.
    """
    try:
        base_url = check_signed_url(base_url)
    except BadInput as error:
        raise BadSettings(f"{base_url}: {error}") from None
    policy = policy or RestPolicy()
    async with venue_http(policy.timeout_ms, connector) as http:
        yield SignedRest(http, base_url, credentials, clock, rng, budget or RateLimiter(), policy)


class SignedRest:
    """Sends requests of one account within its rate budget, stamped with the venue's time.

    Attributes:
        time: the venue's clock, corrected by ``measure``.
        base_url: the address of the venue.
        credentials: key and secret of the account; the sockets sign in with the same.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        base_url: str,
        credentials: Credentials,
        clock: Clock,
        rng: random.Random,
        budget: RateLimiter,
        policy: RestPolicy,
    ) -> None:
        self.base_url = check_signed_url(base_url)
        self.time = VenueClock(clock)
        self.policy = policy
        self.budget = budget
        self._http = http
        self.credentials = credentials
        self._clock = clock
        self._rng = rng

    def __repr__(self) -> str:
        return f"SignedRest({self.base_url})"

    async def measure(self, samples: int = 3) -> float:
        """Measure the offset to the venue's clock; return it in milliseconds of this machine.

        Raises:
            VenueError: the venue does not send its time.
        """
        self.time.forget()
        for _ in range(samples):
            answer, server_ms = await self._answered(server_time(), parse_time)
            self.time.sample(answer.sent_ms, answer.received_ms, server_ms)
        return self.time.offset_wall_ms

    async def ask(self, request: Request, parse: Callable[[bytes], T]) -> T:
        """Send a read until it is answered. An unreadable answer is handled like a lost one.

        Raises:
            VenueError: refused, or still failing after the last attempt.
        """
        return (await self._answered(request, parse))[1]

    async def _answered(self, request: Request, parse: Callable[[bytes], T]) -> tuple[RequestOutcome, T]:
        last = RequestOutcome("unsent")
        for attempt in range(self.policy.attempts):
            if attempt:
                await asyncio.sleep(self._pause_s(last, attempt))
            last = await self.send_once(request, "query")
            if last.kind == "clock" and request.signed:
                await self.measure()
            elif last.kind == "ok":
                try:
                    return last, parse(last.body)
                except BadInput as error:
                    last = RequestOutcome("retry_unknown", 0, str(error))
            elif last.kind not in ("retry_unknown", "rate", "unsent") or self.paused_s > 0.0:
                break
        raise self.error(request, last)

    async def do(self, request: Request, action: RequestAction) -> RequestOutcome:
        """Send a change that is harmless to repeat, such as a setting, until its outcome is known.

        Raises:
            VenueError: still unknown after the last attempt, or nothing could be sent.
        """
        last = RequestOutcome("unsent")
        for attempt in range(self.policy.attempts):
            if attempt:
                await asyncio.sleep(self._pause_s(last, attempt))
            last = await self.send_once(request, action)
            if last.kind == "clock":
                await self.measure()
            elif last.kind not in ("retry_unknown", "rate", "unsent") or self.paused_s > 0.0:
                return last
        raise self.error(request, last)

    async def send_once(
        self,
        request: Request,
        action: RequestAction,
        *,
        by_s: float | None = None,
        unless: Callable[[], bool] = lambda: False,
    ) -> RequestOutcome:
        """Send a request once; ``unsent`` if its turn does not come before the loop's time ``by_s``.

        ``unless`` is called when its turn has come, and once more when a connection is there and its body is
        about to be written: True keeps it here, ``unsent``.
        """
        loop = asyncio.get_running_loop()
        while True:
            if self.paused_s > 0.0:
                return RequestOutcome("unsent", 0, f"no request for {self.paused_s:.0f} s after HTTP 403")
            if unless():
                return RequestOutcome("unsent", 0, "not wanted any more")
            wait_ms = self.budget.take(request.cost, _loop_ms(), request.urgent)
            if by_s is not None and loop.time() + wait_ms / 1000.0 >= by_s:
                return RequestOutcome("unsent", 0, "its turn came too late")
            if wait_ms <= 0.0:
                break
            await asyncio.sleep(wait_ms / 1000.0)
        sent_ms, is_write = self._clock.now_ms(), action not in ("query", "setup")

        def too_late() -> bool:
            return unless() or (by_s is not None and loop.time() >= by_s)

        if is_write:
            reach("send.before")
        outcome = await self._send(request, action, too_late)
        if is_write:
            reach("answer")
        outcome = msgspec.structs.replace(outcome, sent_ms=sent_ms, received_ms=self._clock.now_ms())
        if outcome.kind == "rate":
            self.limit(request.cost, outcome)
        return outcome

    @property
    def paused_s(self) -> float:
        """Seconds left of the pause after the venue barred this address, whichever request it was."""
        return self.budget.address.barred_ms(_loop_ms()) / 1000.0

    def limit(self, group: str, outcome: RequestOutcome) -> None:
        """Block a group of requests for as long as the venue asks, up to a bound.

        Ordinary requests of everybody at this address wait as long; urgent ones of other groups go on, unless
        the venue has refused the address itself.
        """
        wait_ms = float(RATE_PAUSE_MS)
        if outcome.reset_ms is not None:
            wait_ms = min(max(outcome.reset_ms - self.time.now_ms(), RATE_PAUSE_MS / 10), MAX_RATE_PAUSE_MS)
        until_ms = _loop_ms() + wait_ms
        self.budget.limited(ADDRESS if outcome.code in _OF_THE_ADDRESS else group, until_ms)
        self.budget.address.limited(until_ms, urgent_too=False)

    def error(self, request: Request, outcome: RequestOutcome) -> VenueError:
        """Return the error for an outcome other than ``ok``, in one line without secrets."""
        where = f"{self.base_url}{request.path}"
        if outcome.code:
            error = error_for(outcome.code, outcome.text)
            return type(error)(f"{where}: {error}")
        if outcome.kind not in ("unsent", "retry_unknown"):
            error = error_for_status(outcome.status) or VenueError(outcome.text)
            return type(error)(f"{where}: {error}")
        kind = Retryable if outcome.kind == "unsent" or request.method == "GET" else Unknown
        return kind(f"{where}: {outcome.text}")

    # Inside

    async def _send(
        self, request: Request, action: RequestAction, too_late: Callable[[], bool]
    ) -> RequestOutcome:
        body = _Body(request.body, too_late) if request.body else None
        try:
            async with self._http.request(
                request.method,
                self._url(request),
                data=body,
                headers=self._headers(request),
                allow_redirects=False,
            ) as response:
                return await self._read(response, action)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return RequestOutcome("unsent", 0, _describe(error))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if body is not None and body.withheld:
                return RequestOutcome("unsent", 0, "not wanted any more")
            return RequestOutcome("retry_unknown", 0, _describe(error))

    async def _read(self, response: aiohttp.ClientResponse, action: RequestAction) -> RequestOutcome:
        status = response.status
        if status == 403:
            self.budget.address.forbid(_loop_ms())
            return RequestOutcome("credentials", status=status)
        if status == 429:
            self.budget.address.limited(_loop_ms() + RATE_PAUSE_MS, urgent_too=False)
        if status in (400, 401, 404, 405):
            return RequestOutcome("credentials" if status == 401 else "bug", status=status)
        if status != 200:
            return RequestOutcome("retry_unknown", 0, f"HTTP {status}", status)
        if response.content_type != "application/json" or "Content-Encoding" in response.headers:
            return RequestOutcome(
                "retry_unknown", 0, f"an answer of type {printable(response.content_type, 40)}"
            )
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_REST_BYTES:
                response.close()
                return RequestOutcome("retry_unknown", 0, f"an answer beyond {MAX_REST_BYTES} bytes")
        said = self.credentials.clean(bytes(body))
        return _outcome(said, action, response.headers.get("X-Bapi-Limit-Reset-Timestamp"))

    def _url(self, request: Request) -> yarl.URL:
        """Return the URL, already encoded: the signed bytes are the sent bytes."""
        return yarl.URL(f"{self.base_url}{request.target}", encoded=True)

    def _headers(self, request: Request) -> dict[str, str]:
        if not request.signed:
            return {}
        window_ms, ts_ms = self.policy.recv_window_ms, self.time.now_ms()
        payload = request.body if request.method == "POST" else request.query
        key, secret = self.credentials.key, self.credentials.secret
        headers = {
            "X-BAPI-API-KEY": key,
            "X-BAPI-TIMESTAMP": str(ts_ms),
            "X-BAPI-RECV-WINDOW": str(window_ms),
            "X-BAPI-SIGN": rest_signature(secret, ts_ms, key, window_ms, payload),
        }
        if request.method == "POST":
            headers["Content-Type"] = "application/json"
        return headers

    def _pause_s(self, last: RequestOutcome, attempt: int) -> float:
        """Return a random part of a doubling bound."""
        if last.kind in ("rate", "clock"):
            return 0.0  # the budget waits
        return self._rng.uniform(0.0, min(MAX_BACKOFF_MS, BACKOFF_MS << attempt)) / 1000.0


class _Body(aiohttp.BytesPayload):
    """The body of a write, which asks once more right before it is written: a connection may take seconds.

    A request without its body is none to the venue.
    """

    def __init__(self, value: bytes, too_late: Callable[[], bool]) -> None:
        super().__init__(value)
        self.withheld = False
        self._too_late = too_late

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if self._too_late():
            self.withheld = True
            raise Retryable("not wanted any more")  # aiohttp closes the connection
        await super().write_with_length(writer, content_length)


def _loop_ms() -> float:
    return asyncio.get_running_loop().time() * 1000.0


def _outcome(body: bytes, action: RequestAction, reset: str | None) -> RequestOutcome:
    try:
        envelope = decode(body, _Envelope, limit=MAX_REST_BYTES)
    except BadInput as error:
        return RequestOutcome("retry_unknown", 0, f"the answer is {error}")
    code = envelope.ret_code
    text = "" if code == SECRET_TEXT else printable(envelope.ret_msg or "")
    reset_ms = int(reset) if reset is not None and reset.isdecimal() and len(reset) < 16 else None
    return RequestOutcome(meaning(code, action=action).kind, code, text, 200, body, reset_ms)


def _describe(error: BaseException) -> str:
    """Describe a network error in words; never the request, whose headers hold the key."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "no connection in time"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {printable(str(error.os_error))}"
    return f"the connection failed ({type(error).__name__})"
