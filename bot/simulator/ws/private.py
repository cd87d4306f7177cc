"""The private streams: logins, subscriptions, and an account's messages to all who follow it.

Answers wait ``ack_delay_ms`` and messages a little longer, so that the answer to an order leaves before its
messages. https://bybit-exchange.github.io/docs/v5/ws/connect
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence

from aiohttp import web

from bot.bybit.serve import (
    Auth,
    BadClient,
    Ping,
    Subscribe,
    Unsubscribe,
    ack,
    already_subscribed,
    auth_reply,
    handler_not_found,
    parse_client,
    pong,
    private_push,
)
from bot.bybit.wire import ExecutionPush
from bot.simulator.account.access import AccessGate, RequestRefused
from bot.simulator.account.messages import AccountPush, topic_kind
from bot.simulator.account.rows import fast_execution
from bot.simulator.config import ExchangeConfig
from bot.simulator.faults.hooks import FaultHooks
from bot.simulator.market.clock import ExchangeClock
from bot.simulator.ws.connection import Connection

_BEHIND_ACK_S = 0.001


class Follower:
    """One private connection: its account, once it has logged in, and its topics."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.uid: int | None = None
        self.topics: dict[str, tuple[str, str]] = {}

    def wants(self, message: AccountPush) -> Iterator[tuple[str, str]]:
        """Yield the topics (as subscribed) that get this message, each with its base."""
        for topic, (base, category) in self.topics.items():
            if base.partition(".")[0] == message.kind and category in ("", "linear"):
                yield topic, base


class PrivateStreams:
    """All private connections."""

    def __init__(
        self,
        gate: AccessGate,
        clock: ExchangeClock,
        config: ExchangeConfig,
        faults: FaultHooks,
        ids: Iterator[str],
    ) -> None:
        self._gate = gate
        self._clock = clock
        self._config = config
        self._faults = faults
        self._ids = ids
        self._followers: dict[Follower, None] = {}  # in the order in which they came
        self._waiting: deque[tuple[float, int, list[AccountPush]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    # -- messages --------------------------------------------------------------------------------------------

    def emit(self, uid: int, messages: list[AccountPush]) -> None:
        """Send the messages of one operation, after its answer."""
        loop = asyncio.get_running_loop()
        self._waiting.append((loop.time() + self._delay_s + _BEHIND_ACK_S, uid, messages))
        if self._timer is None:
            self._timer = loop.call_at(self._waiting[0][0], self._flush_due)

    def flush(self) -> None:
        """Send all waiting messages now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            _, uid, messages = self._waiting.popleft()
            self._send(uid, messages)

    def _flush_due(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._waiting and self._waiting[0][0] <= loop.time():
            _, uid, messages = self._waiting.popleft()
            self._send(uid, messages)
        if self._waiting:
            self._timer = loop.call_at(self._waiting[0][0], self._flush_due)

    def _send(self, uid: int, messages: Sequence[AccountPush]) -> None:
        for message in messages:
            texts: dict[str, str] = {}
            for follower in [each for each in self._followers if each.uid == uid]:
                for topic, base in follower.wants(message):
                    if topic not in texts:
                        texts[topic] = _text(topic, base, message)
                    if texts[topic]:
                        follower.connection.send(texts[topic], topic)

    # -- clients ---------------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one private websocket until it closes."""
        config = self._config
        connection = Connection(
            request, "private", next(self._ids), self._faults, config.queue_max, config.idle_s
        )
        response = await connection.open()
        follower = Follower(connection)
        self._followers[follower] = None
        try:
            # Requests are handled after the delay, in the order they came: no push leaves before its answer.
            later = asyncio.get_running_loop().call_later
            await connection.talk(lambda text: later(self._delay_s, self._said, follower, text))
        finally:
            self._followers.pop(follower, None)
        return response

    async def close_all(self) -> None:
        """Close all connections."""
        self.flush()
        for follower in tuple(self._followers):
            await follower.connection.close()

    @property
    def _delay_s(self) -> float:
        return self._config.ack_delay_ms / 1000.0

    def _said(self, follower: Follower, text: str) -> None:
        if follower not in self._followers:
            return  # left meanwhile
        connection = follower.connection
        match parse_client(text):
            case Ping(req_id):
                answer = pong("private", req_id, connection.conn_id, self._clock.now_ms())
                connection.send(answer, "op:ping")
            case Auth() as auth:
                self._login(follower, auth)
            case Subscribe(topics, req_id):
                self._subscribe(follower, topics, req_id)
            case Unsubscribe(topics, req_id):
                for topic in topics:
                    follower.topics.pop(topic, None)
                answer = ack("private", "unsubscribe", True, "", req_id, connection.conn_id)
                connection.send(answer, "op:unsubscribe")
            case BadClient(_, "auth", req_id):
                connection.send(auth_reply("private", False, req_id, connection.conn_id), "op:auth")
            case BadClient(reason, _, req_id):
                answer = ack(
                    "private", "subscribe", False, f"error:{reason}"[:200], req_id, connection.conn_id
                )
                connection.send(answer, "op:error")
            case _:
                answer = ack("private", "subscribe", False, "error:no such op here", None, connection.conn_id)
                connection.send(answer, "op:error")

    def _login(self, follower: Follower, auth: Auth) -> None:
        connection = follower.connection
        try:
            follower.uid = self._gate.login(auth, now_ms=self._clock.now_ms(), speed=self._clock.speed).uid
            good = True
        except RequestRefused:
            good = False
        answer = auth_reply("private", good, auth.req_id, connection.conn_id)
        connection.send(answer, "op:auth")

    def _subscribe(self, follower: Follower, topics: tuple[str, ...], req_id: str | None) -> None:
        wrong = _wrong(follower, topics)
        answer = ack("private", "subscribe", not wrong, wrong, req_id, follower.connection.conn_id)
        follower.connection.send(answer, "op:subscribe")
        if not wrong:
            follower.topics.update(
                (topic, kind) for topic in topics if (kind := topic_kind(topic)) is not None
            )


def _wrong(follower: Follower, topics: tuple[str, ...]) -> str:
    """Return why a whole subscription is refused; "" if it is not."""
    if follower.uid is None:
        return "Request not authorized"
    forms: dict[str, set[bool]] = {}
    for topic in topics:
        kind = topic_kind(topic)
        if kind is None:
            return handler_not_found(topic)
        if topic in follower.topics:
            return already_subscribed(topic)
        forms.setdefault(kind[0], set()).add(bool(kind[1]))
    if any(len(each) > 1 for each in forms.values()):
        return "error:all-in-one topics and categorised topics cannot be in the same request"
    return ""


def _text(topic: str, base: str, message: AccountPush) -> str:
    """Return the text of a message for a topic; "" if the topic leaves it out."""
    if base != "execution.fast":
        return private_push(topic, message.rows, message.push_id, message.created_ms)
    trades = [
        fast_execution(row)
        for row in message.rows
        if isinstance(row, ExecutionPush) and row.execType == "Trade"
    ]
    return private_push(topic, trades, None, message.created_ms) if trades else ""
