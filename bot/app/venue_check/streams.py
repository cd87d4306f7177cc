"""The two sockets of an account, as the check uses them: what was pushed, and the answer to a request."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bot.adapters.net.link import DialGate, Link, LinkPolicy
from bot.adapters.net.signed_rest import SignedRest
from bot.app.venue_check.transcript import Transcript
from bot.bybit.hosts import check_signed_url
from bot.bybit.orders import Request
from bot.bybit.private import (
    AuthFailed,
    ExecutionUpdates,
    OrderUpdates,
    PositionUpdates,
    PrivateSession,
    SubscribeFailed,
)
from bot.bybit.session import Patience, Ready
from bot.bybit.trade import TradeResponse, TradeSession
from bot.domain.errors import VenueError

WAIT_S = 10.0
"""How long to wait for a push or an answer."""
_PATIENCE = Patience(15_000.0, 8_000.0, 10_000.0)


class _Tapped:
    """A session whose messages are also noted in a transcript."""

    def __init__(self, session: Any, rest: SignedRest, transcript: Transcript) -> None:
        self._session = session
        self._rest = rest
        self._transcript = transcript

    def receive(self, text: str | bytes, now_ms: float) -> Sequence[Any]:
        raw = text.encode() if isinstance(text, str) else text
        self._transcript.pushed(self._rest.credentials.clean(raw))
        found: Sequence[Any] = self._session.receive(text, now_ms)
        return found

    def __getattr__(self, name: str) -> Any:  # texts, deadline_ms, on_time, request: as the session has them
        return getattr(self._session, name)


class PrivateStream:
    """What the private stream has told.

    Attributes:
        ups: how often it was signed in with every topic.
        statuses: the states of each order by our id, in their order.
        sizes: the size of each symbol's position.
        executed: our ids of orders with an execution.
    """

    def __init__(self) -> None:
        self.ups = 0
        self.statuses: dict[str, list[str]] = {}
        self.prices: dict[str, str] = {}
        self.sizes: dict[str, str] = {}
        self.executed: set[str] = set()
        self.refused = ""
        self._link: Link[Any] | None = None
        self._news = asyncio.Event()

    def reconnect(self) -> None:
        """Drop the connection and dial again."""
        assert self._link is not None, "it runs"
        self._link.reconnect("the check wants a new connection")

    async def until(self, true: Callable[[], bool]) -> bool:
        """Wait until something is so; return False if it takes too long.

        Raises:
            VenueError: the venue has refused the sign-in or a topic.
        """
        loop = asyncio.get_running_loop()
        by_s = loop.time() + WAIT_S
        while not true():
            if self.refused:
                raise VenueError(f"the private stream refuses: {self.refused}")
            self._news.clear()
            try:
                async with asyncio.timeout_at(by_s):
                    await self._news.wait()
            except TimeoutError:
                return true()
        return True

    @asynccontextmanager
    async def running(self, url: str, rest: SignedRest, transcript: Transcript) -> AsyncIterator[None]:
        """Keep the stream while the block lasts."""
        ids = (f"p{number}" for number in itertools.count(1))

        def start(now_ms: float) -> tuple[Any, list[str]]:
            keys = rest.credentials
            session = PrivateSession(
                keys.key,
                keys.secret,
                ids=ids,
                patience=_PATIENCE,
                clean=keys.clean,
            )
            return _Tapped(session, rest, transcript), session.opened(now_ms, rest.time.now_ms())

        self._link = _link(url, rest, start, self._value)
        async with _kept(self._link):
            yield

    def _value(self, value: Any, _: float) -> None:
        match value:
            case Ready():
                self.ups += 1
            case AuthFailed(reason) | SubscribeFailed(_, reason):
                self.refused = reason
            case OrderUpdates(_, rows):
                for order in rows:
                    self.statuses.setdefault(order.orderLinkId, []).append(order.orderStatus)
                    self.prices[order.orderLinkId] = order.price
            case ExecutionUpdates(_, rows):
                self.executed |= {row.orderLinkId for row in rows}
            case PositionUpdates(_, rows):
                self.sizes |= {row.symbol: row.size for row in rows}
        self._news.set()


class TradeStream:
    """The trade socket: one request at a time."""

    def __init__(self) -> None:
        self._ids = (f"t{number}" for number in itertools.count(1))
        self._link: Link[Any] | None = None
        self._ready = asyncio.Event()
        self._answer: asyncio.Future[TradeResponse] | None = None

    async def ready(self) -> bool:
        """Wait until it is signed in; return False if it takes too long."""
        return await _in_time(self._ready.wait())

    async def ask(self, rest: SignedRest, request: Request) -> TradeResponse | None:
        """Send a request; return its answer, None if none came."""
        assert self._link is not None, "it runs"
        assert request.op is not None, "it exists on the trade socket"
        assert request.arg is not None, "it exists on the trade socket"
        session = self._link.session
        if session is None:
            return None
        self._answer = asyncio.get_running_loop().create_future()
        text = session.request(  # type: ignore[attr-defined]  # a tapped TradeSession
            request.op, request.arg, next(self._ids), rest.time.now_ms(), rest.policy.recv_window_ms
        )
        self._link.send(text)
        return self._answer.result() if await _in_time(self._answer) else None

    @asynccontextmanager
    async def running(self, url: str, rest: SignedRest, transcript: Transcript) -> AsyncIterator[None]:
        """Keep the socket while the block lasts."""

        def start(now_ms: float) -> tuple[Any, list[str]]:
            keys = rest.credentials
            session = TradeSession(
                keys.key,
                keys.secret,
                ids=self._ids,
                patience=_PATIENCE,
                clean=keys.clean,
            )
            return _Tapped(session, rest, transcript), session.opened(now_ms, rest.time.now_ms())

        self._link = _link(url, rest, start, self._value)
        async with _kept(self._link):
            yield

    def _value(self, value: Any, _: float) -> None:
        match value:
            case Ready():
                self._ready.set()
            case TradeResponse() if self._answer is not None and not self._answer.done():
                self._answer.set_result(value)


def _link(url: str, rest: SignedRest, start: Any, on_value: Callable[[Any, float], None]) -> Link[Any]:
    rng, policy = random.Random(), LinkPolicy()  # noqa: S311 (jitter)
    return Link(
        check_signed_url(url),
        start,
        on_value=on_value,
        on_up=lambda: None,
        on_down=lambda reason: None,
        rng=rng,
        policy=policy,
        gate=DialGate(policy, rng, address=rest.budget.address),
    )


@asynccontextmanager
async def _kept(link: Link[Any]) -> AsyncIterator[None]:
    task: asyncio.Task[None] = asyncio.ensure_future(link.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _in_time(waiting: Any) -> bool:
    try:
        async with asyncio.timeout(WAIT_S):
            await waiting
    except TimeoutError:
        return False
    return True
