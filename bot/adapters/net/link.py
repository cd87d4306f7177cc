"""One websocket to the venue that stays connected: dial, talk, notice a dead connection, wait, dial again.

``Link`` knows nothing of Bybit. A *session* (``bot.bybit.public``, ``private``, ``trade``) says what to send
and what a message means; each connection has its own session and ends with it. Every way out of a connection
leads back to the top of ``run``, so no flag can be forgotten.

All links to one address share a ``DialGate`` that counts failures: while the address fails, one link dials
and the others wait. All gates of a process share an ``AddressBudget`` with its REST clients: Bybit bans an
address of ours after 500 connections in 5 minutes, and after HTTP 403 nothing is dialled for ten minutes.
"""

import asyncio
import math
import random
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, NoReturn, Protocol, TypeVar

from aiohappyeyeballs import start_connection
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.uri import parse_uri

from bot.bybit.rate_limits import AddressBudget
from bot.domain.errors import VenueError

MAX_MESSAGE_BYTES = 256 << 10
MAX_UNSENT_BYTES = 1 << 20
"""If more bytes than this wait to be sent, the other side does not read: the connection is closed."""
CLOSE_TIMEOUT_S = 0.5
REFUSALS_MAX = 3
"""After this many connections on which the venue refuses a topic, nobody asks for that topic again."""
_SOONEST_S = 0.001
"""Least time until a deadline is looked at, so that one which does not move cannot stop the loop."""
_NEXT_ADDRESS_S = 0.25
"""An address of the venue that has not answered after this is joined by the next one. RFC 8305."""

V = TypeVar("V")
Value = TypeVar("Value", covariant=True)


class LinkSession(Protocol[Value]):
    """The protocol of one connection; pure. Times are the loop's, in ms."""

    def receive(self, text: str | bytes, now_ms: float) -> Sequence[Value]:
        """Take one message. Raises VenueError if the connection cannot be used any more."""

    def texts(self) -> Sequence[str]:
        """Return the messages to send now; called after every other call."""

    def deadline_ms(self) -> float:
        """Return when ``on_time`` must be called; it moves nearer only in calls that ``flush`` follows."""

    def on_time(self, now_ms: float) -> None:
        """Send pings and check for missing pongs. Raises VenueError if the connection is dead."""


@dataclass(frozen=True, kw_only=True)
class LinkPolicy:
    """The patience of a link, in milliseconds of the loop's time."""

    connect_timeout_ms: int = 10_000
    backoff_ms: int = 500
    max_backoff_ms: int = 60_000
    healthy_ms: int = 30_000
    """A connection that lives this long counts as a success: the next wait is short again."""


class DialGate:
    """Decides when an address may be dialled; all links to the address share it.

    A wait is a random part of a bound that doubles with each failure. At the last bound a wait lies between
    that bound and 1.3 times it, so that a long outage never uses up the ``budget``: pairs of (seconds,
    failures), the most failures in any span of that many seconds. ``address``: what the venue grants to all
    traffic of this process; by default a budget of the gate's own.
    """

    def __init__(
        self,
        policy: LinkPolicy,
        rng: random.Random,
        budget: tuple[tuple[float, int], ...] = ((300.0, 11), (3600.0, 59)),
        *,
        address: AddressBudget | None = None,
    ) -> None:
        self.failures = 0
        """Number of failures since the last success."""
        self._address = address or AddressBudget()
        self._policy = policy
        self._rng = rng
        self._budget = budget
        self._failed_s: deque[float] = deque(maxlen=max(most for _, most in budget))
        self._open_s = 0.0
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until dialling is allowed; while the address fails, one link at a time is inside."""
        if self.failures == 0 and asyncio.get_running_loop().time() >= self._open_s:
            await self._wait_for_address()
            yield
            return
        async with self._turn:
            while (wait_s := self._open_s - asyncio.get_running_loop().time()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(wait_s)
            await self._wait_for_address()
            yield

    async def _wait_for_address(self) -> None:
        """Wait for a connection of the address's budget; after a ban links dial again one after the other."""
        loop = asyncio.get_running_loop()
        while (wait_ms := self._address.dial(loop.time() * 1000.0)) > 0.0:  # noqa: ASYNC110 (time)
            await asyncio.sleep(wait_ms / 1000.0 + self.lost())

    def forbidden(self) -> None:
        """Note HTTP 403: nothing at all may leave this address for ten minutes."""
        self._address.forbid(asyncio.get_running_loop().time() * 1000.0)

    def failed(self) -> float:
        """Note that a connection failed or died young; return the seconds to wait."""
        now_s = asyncio.get_running_loop().time()
        bound_ms, last_ms = self._policy.backoff_ms * 2 ** min(self.failures, 30), self._policy.max_backoff_ms
        low_ms, high_ms = (0.0, bound_ms) if bound_ms < last_ms else (last_ms, 1.3 * last_ms)
        barred_s = self._address.barred_ms(now_s * 1000.0) / 1000.0
        wait_s = max(self._rng.uniform(low_ms, high_ms) / 1000.0, barred_s)
        self.failures += 1
        self._failed_s.append(now_s)
        for window_s, most in self._budget:
            if len(self._failed_s) >= most:
                wait_s = max(wait_s, self._failed_s[-most] + window_s - now_s)
        self._open_s = max(self._open_s, now_s + wait_s)
        return self._open_s - now_s

    def lost(self) -> float:
        """Note that a healthy connection ended; return a short random wait, so that links spread out."""
        return self._rng.uniform(0.0, self._policy.backoff_ms / 1000.0)

    def succeeded(self) -> None:
        """Note that a connection is healthy."""
        self.failures = 0


class _Dial(connect):
    """A websocket without redirects, proxies and compression."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Link(Generic[V]):
    """Keeps one connection to ``url`` alive.

    Args:
        url: ``ws://`` or ``wss://``, checked by the caller.
        start: called with the loop's ms; returns the session of a new connection and its first messages.
        on_value: called with each value of the session and the loop's time in seconds at which it arrived.
        on_up: called for each new connection, after the first messages were sent.
        on_down: called with the reason when a connection, or an attempt to connect, ends.
        policy, gate, rng: patience; give one ``gate`` to all links of an address.

    The callbacks are synchronous and quick. An error that they raise ends ``run``.

    Attributes:
        session: the session of the open connection, None while there is none.
        dials, ups: number of attempts, and of connections made.
        down_reason: why the last connection or attempt ended.
    """

    def __init__(
        self,
        url: str,
        start: Callable[[float], tuple[LinkSession[V], Sequence[str]]],
        *,
        on_value: Callable[[V, float], None],
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        rng: random.Random,
        policy: LinkPolicy | None = None,
        gate: DialGate | None = None,
    ) -> None:
        self.url = url
        self.session: LinkSession[V] | None = None
        self.dials = self.ups = 0
        self.down_reason = ""
        self._start = start
        self._on_value = on_value
        self._on_up = on_up
        self._on_down = on_down
        self._policy = policy or LinkPolicy()
        self._gate = gate or DialGate(self._policy, rng)
        self._socket: ClientConnection | None = None
        self._give_up: str | None = None
        self._bug: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = math.inf
        """When the session's deadline is looked at next; its timer runs then."""

    async def run(self) -> NoReturn:
        """Keep the connection until cancelled."""
        while True:
            wait_s = await self._once()
            await asyncio.sleep(wait_s)

    def send(self, text: str) -> bool:
        """Write ``text`` at once; return False if there is no connection. Nothing is kept for later."""
        connection = self._socket
        if connection is None or self._give_up is not None:
            return False
        try:
            connection.protocol.send_text(text.encode())
            connection.send_data()
        except (WebSocketException, OSError):
            return False
        if connection.transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self.reconnect("the venue reads nothing")
        return True

    def flush(self) -> None:
        """Send the messages that the session has queued, and look at its deadline."""
        session = self.session
        if session is None:
            return
        for text in session.texts():
            self.send(text)
        due_s = session.deadline_ms() / 1000.0
        if due_s < self._timer_s:  # a timer that runs earlier arms the next one
            self._arm(due_s, session)

    def _arm(self, due_s: float, session: LinkSession[V]) -> None:
        loop = asyncio.get_running_loop()
        self._disarm()
        self._timer_s = max(due_s, loop.time() + _SOONEST_S)
        self._timer = loop.call_at(self._timer_s, self._watch, session)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_s = None, math.inf

    def reconnect(self, reason: str) -> None:
        """Close the connection for ``reason`` and dial again."""
        if self._socket is not None and self._give_up is None:
            self._give_up = reason
            self._socket.transport.abort()

    async def _once(self) -> float:
        """Run one connection from dial to end; return the seconds to wait before the next."""
        loop = asyncio.get_running_loop()
        try:
            async with self._gate.turn():
                self.dials += 1
                connection = await self._dial()
        except InvalidStatus as error:
            status = error.response.status_code
            if status == 403:
                self._gate.forbidden()
            return self._failed(f"refused with HTTP {status}")
        except TimeoutError:
            return self._failed(f"timed out: not connected within {self._policy.connect_timeout_ms} ms")
        except (WebSocketException, OSError) as error:
            return self._failed(str(error) or type(error).__name__)
        up_s = loop.time()
        reason = await self._talk(connection)
        if (loop.time() - up_s) * 1000.0 < self._policy.healthy_ms:
            return self._failed(reason)
        self.down_reason = reason
        self._on_down(reason)
        return self._gate.lost()

    def _failed(self, reason: str) -> float:
        self.down_reason = reason
        wait_s = self._gate.failed()
        self._on_down(reason)
        return wait_s

    async def _dial(self) -> ClientConnection:
        async with asyncio.timeout(self._policy.connect_timeout_ms / 1000.0):
            return await self._shake_hands(await _open_socket(self.url))

    async def _shake_hands(self, line: socket.socket) -> ClientConnection:
        return await _Dial(
            self.url,
            sock=line,
            open_timeout=None,  # the caller's covers it
            close_timeout=CLOSE_TIMEOUT_S,
            compression=None,
            max_size=MAX_MESSAGE_BYTES,
            ping_interval=None,  # the session pings, in the venue's own words
            proxy=None,
            user_agent_header=None,
        )

    async def _talk(self, connection: ClientConnection) -> str:
        """Run a session on ``connection`` until it ends; return the reason."""
        loop = asyncio.get_running_loop()
        self._adopt(connection)
        proved = loop.call_later(self._policy.healthy_ms / 1000.0, self._gate.succeeded)
        try:
            self.session, first_words = self._start(loop.time() * 1000.0)
            for text in first_words:
                self.send(text)
            self.flush()
            self.ups += 1
            self._on_up()
            reason = await self._read(connection, self.session)
            if self._bug is not None:
                raise self._bug
            return self._give_up or reason
        finally:
            proved.cancel()
            self._disarm()
            self.session = self._socket = None
            await _close(connection)

    def _adopt(self, connection: ClientConnection) -> None:
        self._socket, self._give_up, self._bug = connection, None, None

    async def _read(self, connection: ClientConnection, session: LinkSession[V]) -> str:
        loop, on_value = asyncio.get_running_loop(), self._on_value
        while True:
            try:
                text = await connection.recv(decode=False)
                now_s = loop.time()
                values = session.receive(text, now_s * 1000.0)
            except ConnectionClosed as error:
                return f"closed by the venue: {error}"
            except VenueError as error:
                return str(error)
            for value in values:
                on_value(value, now_s)
            self.flush()

    def _watch(self, session: LinkSession[V]) -> None:
        """Call the session if its deadline has come; it may have moved away meanwhile."""
        now_ms = asyncio.get_running_loop().time() * 1000.0
        self._disarm()
        try:
            if session.deadline_ms() <= now_ms:
                session.on_time(now_ms)
            self.flush()
        except VenueError as error:
            self.reconnect(str(error))
        except Exception as error:  # raised again by _talk, which this wakes
            self._bug = error
            self.reconnect(repr(error))


async def _open_socket(url: str) -> socket.socket:
    """Connect to the first address of the host that answers.

    A loop's own ``create_connection`` with ``happy_eyeballs_delay`` does the same, but it forgets an open
    socket if it is cancelled in the moment in which it connects. (CPython 3.11)
    """
    where = parse_uri(url)
    infos = await asyncio.get_running_loop().getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)
    return await start_connection(infos, happy_eyeballs_delay=_NEXT_ADDRESS_S)


async def _close(connection: ClientConnection) -> None:
    """Close with a closing frame; after ``CLOSE_TIMEOUT_S`` the socket is closed without one."""
    try:
        async with asyncio.timeout(2 * CLOSE_TIMEOUT_S):
            await connection.close()
    except TimeoutError:
        pass
    finally:
        connection.transport.abort()
