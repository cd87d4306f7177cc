"""What all client sessions share: acknowledged subscriptions, pings with answers, and deadlines.

A session takes texts and the loop's time in milliseconds; it returns values and texts to send. It owns no
socket and no clock. Call ``on_time`` when ``deadline_ms`` has passed, send the texts from ``texts`` after
every call, and close the connection on ``LinkLost``.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import NamedTuple

import msgspec

from bot.bybit.codes import printable
from bot.bybit.sign import ws_signature
from bot.domain.errors import Retryable

MAX_ARGS_CHARACTERS = 21_000
"""Bybit's limit for all topics of a connection together; we use it as the limit of one request.

https://bybit-exchange.github.io/docs/v5/ws/connect
"""

AUTH_AHEAD_MS = 10_000
"""Lifetime of a signature. One second, as some clients use, is too short on a slow connection."""


class LinkLost(Retryable):
    """The peer did not answer in time. Close this connection."""


class Subscribed(msgspec.Struct, frozen=True):
    """The peer acknowledged these topics."""

    topics: tuple[str, ...]


class SubscribeFailed(msgspec.Struct, frozen=True):
    """The peer refused these topics, requested one by one."""

    topics: tuple[str, ...]
    reason: str


class BadMessage(msgspec.Struct, frozen=True):
    """A message, or one row of it, that cannot be read. It is dropped; the session continues."""

    reason: str


class Ready(msgspec.Struct, frozen=True):
    """The session has signed in, and every topic is acknowledged."""


class AuthFailed(msgspec.Struct, frozen=True):
    """The venue refused the key, the signature or its time. ``code`` is 0 if the stream sends no code."""

    reason: str
    code: int = 0


class ControlMessage(msgspec.Struct):
    """A message without data: a pong, an acknowledgement, or the result of ``auth``."""

    op: str = ""
    success: bool | None = None
    ret_msg: str | None = None
    req_id: str | int | None = None
    topic: str = ""

    @property
    def is_pong(self) -> bool:
        """Streams differ: ``op`` is ``pong``, or ``op`` is ``ping`` and ``ret_msg`` is ``pong``."""
        return self.op == "pong" or (self.op == "ping" and self.ret_msg == "pong")


class Patience(NamedTuple):
    """How long a session waits, in milliseconds of the loop's time.

    ``ping_ms`` is the time between two pings. A pong later than ``pong_timeout_ms`` means that the connection
    is dead, and so does an acknowledgement later than ``ack_timeout_ms``.
    """

    ping_ms: float
    pong_timeout_ms: float
    ack_timeout_ms: float


class _Expected(msgspec.Struct):
    """An answer that must come before ``by_ms``."""

    topics: tuple[str, ...]
    by_ms: float
    last_try: bool


class ClientConnection:
    """The state of one connection, without its data: open requests, deadlines, and texts to send.

    Args:
        ids: makes ``req_id`` values, unique on the connection.
        patience: how long it waits.
        group: topics in one request; one bad topic makes its whole request fail.
        ping: the text of a ping; None for the usual one, with an id.
    """

    def __init__(
        self, ids: Iterator[str], patience: Patience, *, group: int = 10, ping: str | None = None
    ) -> None:
        self._ids = ids
        self._patience = patience
        self._group = group
        self._ping = ping
        self._queue: list[str] = []
        self._expected: dict[str, _Expected] = {}
        self._ping_at_ms = inf
        self._pong_by_ms = inf

    def opened(self, now_ms: float) -> None:
        """Start a new connection: no requests are open, and the first ping is due after ``ping_ms``."""
        self._queue.clear()
        self._expected.clear()
        self._ping_at_ms = now_ms + self._patience.ping_ms
        self._pong_by_ms = inf

    def texts(self) -> list[str]:
        """Return the texts to send, each once."""
        queue, self._queue = self._queue, []
        return queue

    def say(self, text: str) -> None:
        """Queue a text to send."""
        self._queue.append(text)

    def sign_in(self, key: str, secret: str, now_ms: float, wall_ms: int) -> None:
        """Queue the sign-in of a private or a trade stream and expect the answer ``auth``.

        ``wall_ms`` estimates the venue's clock.
        """
        expires_ms = wall_ms + AUTH_AHEAD_MS
        args = [key, expires_ms, ws_signature(secret, expires_ms)]
        self.say(msgspec.json.encode({"op": "auth", "args": args}).decode())
        self.expect("auth", now_ms)

    def subscribe(self, topics: Sequence[str], now_ms: float) -> None:
        """Queue subscriptions to topics, in groups."""
        for start in range(0, len(topics), self._group):
            self._ask(tuple(topics[start : start + self._group]), now_ms, last_try=False)

    def renew(self, topics: Sequence[str], now_ms: float) -> None:
        """Unsubscribe and subscribe again: this wakes a silent topic on a live connection."""
        self.say(_request("unsubscribe", topics, next(self._ids)))
        self.subscribe(topics, now_ms)

    def expect(self, what: str, now_ms: float) -> None:
        """Expect an answer called ``what`` within ``ack_timeout_ms``."""
        self._expected[what] = _Expected((what,), now_ms + self._patience.ack_timeout_ms, True)

    def settle(self, what: str) -> bool:
        """Mark the answer ``what`` as received. Return False if it was not expected."""
        return self._expected.pop(what, None) is not None

    def pong(self) -> None:
        """Mark a pong as received."""
        self._pong_by_ms = inf

    def acknowledged(
        self, control: ControlMessage, now_ms: float
    ) -> Subscribed | SubscribeFailed | BadMessage | None:
        """Handle the answer to a subscription. A refused group is requested once more, topic by topic."""
        asked = self._asked(control.req_id)
        if asked is None:
            return BadMessage("an acknowledgement without a request")
        # "Already subscribed" is a success if the request had this one topic only.
        there = "already subscribed" in (control.ret_msg or "") and len(asked.topics) == 1
        if control.success or there:
            return Subscribed(asked.topics)
        if asked.last_try:
            return SubscribeFailed(asked.topics, printable(control.ret_msg or ""))
        for topic in asked.topics:
            self._ask((topic,), now_ms, last_try=True)
        return None

    def deadline_ms(self) -> float:
        """Return the latest time at which ``on_time`` must be called."""
        # Answers fall due in the order of their requests.
        first = next(iter(self._expected.values())).by_ms if self._expected else inf
        return min(first, self._ping_at_ms, self._pong_by_ms)

    def on_time(self, now_ms: float) -> None:
        """Queue a ping if one is due.

        Raises:
            LinkLost: a pong or an answer is overdue.
        """
        if now_ms >= self._pong_by_ms:
            raise LinkLost(f"no pong within {self._patience.pong_timeout_ms:g} ms")
        for asked in self._expected.values():
            if now_ms >= asked.by_ms:
                raise LinkLost(
                    f"no answer to {', '.join(asked.topics[:3])} within {self._patience.ack_timeout_ms:g} ms"
                )
            break
        if now_ms >= self._ping_at_ms:
            self._ping_at_ms = now_ms + self._patience.ping_ms
            self._pong_by_ms = min(self._pong_by_ms, now_ms + self._patience.pong_timeout_ms)
            self.say(self._ping or f'{{"req_id":"{next(self._ids)}","op":"ping"}}')

    def _ask(self, topics: tuple[str, ...], now_ms: float, *, last_try: bool) -> None:
        req_id = next(self._ids)
        self._expected[req_id] = _Expected(topics, now_ms + self._patience.ack_timeout_ms, last_try)
        self.say(_request("subscribe", topics, req_id))

    def _asked(self, req_id: str | int | None) -> _Expected | None:
        """Return the request of an acknowledgement. One without ``req_id`` belongs to the oldest request."""
        if req_id is None or req_id == "":
            oldest = next(iter(self._expected), None)
            return None if oldest is None else self._expected.pop(oldest)
        return self._expected.pop(str(req_id), None)


class ClientSession:
    """What every client session has from its connection: texts to send, and deadlines.

    Args:
        line: the connection.
    """

    def __init__(self, line: ClientConnection) -> None:
        self._line = line

    def texts(self) -> list[str]:
        """Return the texts to send, each once. Ask after every call."""
        return self._line.texts()

    def deadline_ms(self) -> float:
        """Return the latest time at which ``on_time`` must be called."""
        return self._line.deadline_ms()

    def on_time(self, now_ms: float) -> None:
        """Queue a ping if one is due.

        Raises:
            LinkLost: a pong, an acknowledgement or the answer to a sign-in is overdue.
        """
        self._line.on_time(now_ms)


def _request(op: str, topics: Iterable[str], req_id: str) -> str:
    return msgspec.json.encode({"req_id": req_id, "op": op, "args": list(topics)}).decode()
