"""The private stream, client side: orders, executions, positions and the wallet of one account.

No topic starts with a snapshot and Bybit never repeats a message. So read the account by REST after
``Ready``, and again after a ``BadMessage``, because the unreadable message may have been a fill.
https://bybit-exchange.github.io/docs/v5/ws/connect
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from bot.bybit.codes import printable
from bot.bybit.decode import MAX_WS_BYTES, UNDECODABLE, as_bytes, decode, decoder, explain, rows
from bot.bybit.session import (
    AuthFailed,
    BadMessage,
    ClientConnection,
    ClientSession,
    ControlMessage,
    LinkLost,
    Patience,
    Ready,
    Subscribed,
    SubscribeFailed,
)
from bot.bybit.wire import ExecutionPush, OrderPush, PositionPush, WalletRow
from bot.domain.errors import BadInput

__all__ = [
    "AuthFailed",
    "BadMessage",
    "ExecutionUpdates",
    "LinkLost",
    "OrderUpdates",
    "PositionUpdates",
    "PrivateMessage",
    "PrivateSession",
    "Ready",
    "SubscribeFailed",
    "WalletUpdates",
]

TOPICS = ("order", "execution", "position", "wallet")


class OrderUpdates(msgspec.Struct, frozen=True):
    """Orders that changed; one message may hold several. ``ts_ms`` is when the venue made the message."""

    ts_ms: int
    rows: tuple[OrderPush, ...]


class ExecutionUpdates(msgspec.Struct, frozen=True):
    """Executions. ``execId`` is unique for each."""

    ts_ms: int
    rows: tuple[ExecutionPush, ...]


class PositionUpdates(msgspec.Struct, frozen=True):
    """Positions. Bybit sends them after every order event of their symbol."""

    ts_ms: int
    rows: tuple[PositionPush, ...]


class WalletUpdates(msgspec.Struct, frozen=True):
    """Wallets, with only the coins that changed."""

    ts_ms: int
    rows: tuple[WalletRow, ...]


PrivateMessage = (
    Ready
    | OrderUpdates
    | ExecutionUpdates
    | PositionUpdates
    | WalletUpdates
    | AuthFailed
    | SubscribeFailed
    | BadMessage
)


class _Push(msgspec.Struct):
    topic: str
    data: msgspec.Raw
    creationTime: int = 0  # noqa: N815  (Bybit's name)


class PrivateSession(ClientSession):
    """One connection to the private stream: signs in, subscribes, then returns what happens.

    Args:
        key, secret: of the account.
        topics: of ``TOPICS``, plain or with a category, such as ``order.linear``.
        ids: makes the ids of requests.
        patience: how long the connection waits.
        clean: takes the account's key out of what the venue sends, in case the venue repeats it.

    Raises:
        BadInput: this session cannot read a topic.
    """

    def __init__(
        self,
        key: str,
        secret: str,
        topics: Sequence[str] = TOPICS,
        *,
        ids: Iterator[str],
        patience: Patience,
        clean: Callable[[bytes], bytes] = bytes,
    ) -> None:
        if unknown := [topic for topic in topics if topic.partition(".")[0] not in TOPICS]:
            raise BadInput(f"unknown private topics: {', '.join(unknown)}")
        self._key = key
        self._secret = secret
        self._clean = clean
        self._topics = tuple(topics)
        self._missing: set[str] = set()
        super().__init__(ClientConnection(ids, patience))

    def opened(self, now_ms: float, wall_ms: int) -> list[str]:
        """Start a new connection and return the sign-in to send. ``wall_ms`` estimates the venue's clock."""
        self._line.opened(now_ms)
        self._missing = set(self._topics)
        self._line.sign_in(self._key, self._secret, now_ms, wall_ms)
        return self._line.texts()

    def receive(self, text: str | bytes, now_ms: float) -> Sequence[PrivateMessage]:
        """Return the values of a message. Never raises for what the peer sent: that is a ``BadMessage``."""
        try:
            if len(text) > MAX_WS_BYTES:
                return (
                    BadMessage(f"a message of {len(text)} characters; at most {MAX_WS_BYTES} are accepted"),
                )
            text = self._clean(as_bytes(text))
            control = _controls.decode(text)
            if not control.topic:
                return self._on_control(control, now_ms)
            return self._on_push(decode(text, _Push))
        except UNDECODABLE as error:
            return (BadMessage(explain(error)),)
        except BadInput as error:
            return (BadMessage(str(error)),)

    def _on_push(self, push: _Push) -> list[PrivateMessage]:
        if push.topic not in self._topics:
            return [BadMessage(f"data of {printable(push.topic, 60)!r}, which is not subscribed")]
        read = _READ[push.topic.partition(".")[0]]
        return read(push.creationTime, push.data)

    def _on_control(self, control: ControlMessage, now_ms: float) -> Sequence[PrivateMessage]:
        if control.is_pong:
            self._line.pong()
            return ()
        match control.op:
            case "auth":
                if not self._line.settle("auth"):
                    return (BadMessage("an answer to a sign-in that was not sent"),)
                if not control.success:
                    return (AuthFailed(printable(control.ret_msg or "")),)
                self._line.subscribe(self._topics, now_ms)
                return ()
            case "subscribe":
                return self._on_acknowledged(self._line.acknowledged(control, now_ms))
        return (BadMessage(f"unknown op {printable(control.op, 40)!r}"),)

    def _on_acknowledged(
        self, answer: Subscribed | SubscribeFailed | BadMessage | None
    ) -> tuple[()] | tuple[PrivateMessage]:
        if not isinstance(answer, Subscribed):
            return () if answer is None else (answer,)
        waiting = bool(self._missing)
        self._missing.difference_update(answer.topics)
        return (Ready(),) if waiting and not self._missing else ()


def _orders(ts_ms: int, raw: msgspec.Raw) -> list[PrivateMessage]:
    found = rows(raw, OrderPush)
    return [OrderUpdates(ts_ms, tuple(found.good)), *map(BadMessage, found.bad)]


def _executions(ts_ms: int, raw: msgspec.Raw) -> list[PrivateMessage]:
    found = rows(raw, ExecutionPush)
    return [ExecutionUpdates(ts_ms, tuple(found.good)), *map(BadMessage, found.bad)]


def _positions(ts_ms: int, raw: msgspec.Raw) -> list[PrivateMessage]:
    found = rows(raw, PositionPush)
    return [PositionUpdates(ts_ms, tuple(found.good)), *map(BadMessage, found.bad)]


def _wallets(ts_ms: int, raw: msgspec.Raw) -> list[PrivateMessage]:
    found = rows(raw, WalletRow)
    return [WalletUpdates(ts_ms, tuple(found.good)), *map(BadMessage, found.bad)]


_READ: dict[str, Callable[[int, msgspec.Raw], list[PrivateMessage]]] = {
    "order": _orders,
    "execution": _executions,
    "position": _positions,
    "wallet": _wallets,
}
_controls = decoder(ControlMessage)
