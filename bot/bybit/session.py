"""What all client sessions share: subscriptions that are acknowledged, pings that are answered, deadlines.

A session takes texts and the loop's time in milliseconds and gives values and texts to send; it owns no
socket and no clock. Call ``on_time`` when ``deadline_ms`` has passed, send what ``texts`` hands out after
every call, and close the connection on ``LinkLost``.
"""

from collections.abc import Iterable, Iterator, Sequence
from math import inf

import msgspec

from bot.bybit.codes import printable
from bot.domain.errors import Retryable

MAX_ARGS_CHARACTERS = 21_000
"""A connection's topics may not be longer together; ours is a bound for one request.

https://bybit-exchange.github.io/docs/v5/ws/connect
"""


class LinkLost(Retryable):
    """The peer did not answer in time: this connection is of no more use."""


class Subscribed(msgspec.Struct, frozen=True):
    """These topics are acknowledged."""

    topics: tuple[str, ...]


class SubscribeFailed(msgspec.Struct, frozen=True):
    """These topics were refused, asked for one by one."""

    topics: tuple[str, ...]
    reason: str


class Bad(msgspec.Struct, frozen=True):
    """A message, or a row of one, that could not be read. It is dropped; the reader goes on."""

    reason: str


class Ready(msgspec.Struct, frozen=True):
    """Signed in, and every topic acknowledged."""


class AuthFailed(msgspec.Struct, frozen=True):
    """The venue refused the key, the signature or its time; ``code`` is 0 where the stream tells none."""

    reason: str
    code: int = 0


class Control(msgspec.Struct):
    """An answer that is no data: a pong, an acknowledgement, the result of ``auth``."""

    op: str = ""
    success: bool | None = None
    ret_msg: str | None = None
    req_id: str | int | None = None
    topic: str = ""

    @property
    def is_pong(self) -> bool:
        """Streams differ: ``op`` is ``pong``, or ``op`` is ``ping`` and the text ``pong``."""
        return self.op == "pong" or (self.op == "ping" and self.ret_msg == "pong")


class _Expected(msgspec.Struct):
    """An answer that is due."""

    topics: tuple[str, ...]
    by_ms: float
    last_try: bool


class Line:
    """The state of one connection, apart from its data: what was asked, what is due, what to send.

    Args:
        ids: makes ``req_id`` values, unique on the connection.
        ping_ms: between two pings.
        pong_timeout_ms: a pong later than this is a dead line.
        ack_timeout_ms: so is an acknowledgement later than this.
        group: topics in one request; one bad topic fails its whole request.
    """

    def __init__(
        self,
        ids: Iterator[str],
        *,
        ping_ms: float,
        pong_timeout_ms: float,
        ack_timeout_ms: float,
        group: int = 10,
    ) -> None:
        self._ids = ids
        self._ping_ms = ping_ms
        self._pong_timeout_ms = pong_timeout_ms
        self._ack_timeout_ms = ack_timeout_ms
        self._group = group
        self._queue: list[str] = []
        self._expected: dict[str, _Expected] = {}
        self._ping_at_ms = inf
        self._pong_by_ms = inf

    def opened(self, now_ms: float) -> None:
        """A fresh connection: nothing is asked, nothing is due but the first ping."""
        self._queue.clear()
        self._expected.clear()
        self._ping_at_ms = now_ms + self._ping_ms
        self._pong_by_ms = inf

    def texts(self) -> list[str]:
        """What to send, once."""
        queue, self._queue = self._queue, []
        return queue

    def say(self, text: str) -> None:
        """Queue a text."""
        self._queue.append(text)

    def subscribe(self, topics: Sequence[str], now_ms: float) -> None:
        """Ask for topics, in groups."""
        for start in range(0, len(topics), self._group):
            self._ask(tuple(topics[start : start + self._group]), now_ms, last_try=False)

    def renew(self, topics: Sequence[str], now_ms: float) -> None:
        """Give topics up and ask for them again: the cure for a silent topic on a live connection."""
        self.say(_request("unsubscribe", topics, next(self._ids)))
        self.subscribe(topics, now_ms)

    def expect(self, what: str, now_ms: float) -> None:
        """An answer called ``what`` is due within the acknowledgement's time."""
        self._expected[what] = _Expected((what,), now_ms + self._ack_timeout_ms, True)

    def settle(self, what: str) -> bool:
        """That answer came; False if none was due."""
        return self._expected.pop(what, None) is not None

    def pong(self) -> None:
        """A pong came."""
        self._pong_by_ms = inf

    def acknowledged(self, control: Control, now_ms: float) -> Subscribed | SubscribeFailed | Bad | None:
        """An answer to a subscription; a refused group is asked for once more, topic by topic."""
        asked = self._asked(control.req_id)
        if asked is None:
            return Bad("an acknowledgement of nothing that was asked")
        # One of the topics is there already: the goal, if it was the only one.
        there = "already subscribed" in (control.ret_msg or "") and len(asked.topics) == 1
        if control.success or there:
            return Subscribed(asked.topics)
        if asked.last_try:
            return SubscribeFailed(asked.topics, printable(control.ret_msg or ""))
        for topic in asked.topics:
            self._ask((topic,), now_ms, last_try=True)
        return None

    def deadline_ms(self) -> float:
        """When ``on_time`` wants to be called at the latest."""
        # Answers fall due in the order they were asked for.
        first = next(iter(self._expected.values())).by_ms if self._expected else inf
        return min(first, self._ping_at_ms, self._pong_by_ms)

    def on_time(self, now_ms: float, ping: str | None = None) -> None:
        """Queue a ping when one is due (``ping``, or the usual one).

        Raises:
            LinkLost: a pong or an answer is overdue.
        """
        if now_ms >= self._pong_by_ms:
            raise LinkLost(f"no pong within {self._pong_timeout_ms:g} ms")
        for asked in self._expected.values():
            if now_ms >= asked.by_ms:
                raise LinkLost(
                    f"no answer to {', '.join(asked.topics[:3])} within {self._ack_timeout_ms:g} ms"
                )
            break
        if now_ms >= self._ping_at_ms:
            self._ping_at_ms = now_ms + self._ping_ms
            self._pong_by_ms = min(self._pong_by_ms, now_ms + self._pong_timeout_ms)
            self.say(ping or f'{{"req_id":"{next(self._ids)}","op":"ping"}}')

    def _ask(self, topics: tuple[str, ...], now_ms: float, *, last_try: bool) -> None:
        req_id = next(self._ids)
        self._expected[req_id] = _Expected(topics, now_ms + self._ack_timeout_ms, last_try)
        self.say(_request("subscribe", topics, req_id))

    def _asked(self, req_id: str | int | None) -> _Expected | None:
        """The request that an acknowledgement belongs to; one that names none belongs to the oldest."""
        if req_id is None or req_id == "":
            oldest = next(iter(self._expected), None)
            return None if oldest is None else self._expected.pop(oldest)
        return self._expected.pop(str(req_id), None)


def auth_request(key: str, expires_ms: int, signature: str) -> str:
    """The text that opens a private or a trade stream."""
    return msgspec.json.encode({"op": "auth", "args": [key, expires_ms, signature]}).decode()


def _request(op: str, topics: Iterable[str], req_id: str) -> str:
    return msgspec.json.encode({"req_id": req_id, "op": op, "args": list(topics)}).decode()
