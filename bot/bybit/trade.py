"""The trade stream, client side: orders as messages, one answer each.

An answer says "accepted" or "refused". What becomes of the order comes on the private stream. If an answer
does not come, the order's state is unknown. Demo accounts have no trade stream.
https://bybit-exchange.github.io/docs/v5/websocket/trade/guideline
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from bot.bybit.codes import SECRET_TEXT, printable
from bot.bybit.decode import MAX_WS_BYTES, UNDECODABLE, as_bytes, decoder, explain
from bot.bybit.session import (
    AuthFailed,
    BadMessage,
    ClientConnection,
    ClientSession,
    LinkLost,
    Patience,
    Ready,
)

__all__ = ["AuthFailed", "BadMessage", "LinkLost", "Ready", "TradeMessage", "TradeResponse", "TradeSession"]


class TradeResponse(msgspec.Struct, frozen=True):
    """The venue's answer to one request. ``code`` 0 is accepted; see ``codes.meaning`` for the others.

    ``req_id`` is "" if the venue refused the request before reading its id. ``reset_ms`` is the venue's time
    from which the next request is allowed, if the venue sent it.
    """

    req_id: str
    op: str
    code: int
    text: str
    order_id: str = ""
    link_id: str = ""
    reset_ms: int | None = None


TradeMessage = Ready | TradeResponse | AuthFailed | BadMessage


class _Ids(msgspec.Struct, rename="camel"):
    order_id: str = ""
    order_link_id: str = ""


class _Frame(msgspec.Struct, rename="camel"):
    op: str
    ret_code: int
    ret_msg: str | None = None
    req_id: str | int | None = None
    data: msgspec.Raw = msgspec.Raw(b"{}")
    header: dict[str, Any] | None = None


_frames = decoder(_Frame)
_ids = decoder(_Ids)
_encode = msgspec.json.encode


class TradeSession(ClientSession):
    """One connection to the trade stream: signs in, then carries requests and answers.

    The caller keeps the open requests and their deadlines. When the connection is lost, each of them is
    unknown.

    Args:
        key, secret: of the account.
        ids: makes the ids of pings.
        patience: how long the connection waits.
        clean: takes the account's key out of what the venue sends, in case the venue repeats it.
    """

    def __init__(
        self,
        key: str,
        secret: str,
        *,
        ids: Iterator[str],
        patience: Patience,
        clean: Callable[[bytes], bytes] = bytes,
    ) -> None:
        self._key = key
        self._secret = secret
        self._clean = clean
        super().__init__(ClientConnection(ids, patience, ping='{"op":"ping"}'))

    def opened(self, now_ms: float, wall_ms: int) -> list[str]:
        """Start a new connection and return the sign-in to send. ``wall_ms`` estimates the venue's clock."""
        self._line.opened(now_ms)
        self._line.sign_in(self._key, self._secret, now_ms, wall_ms)
        return self._line.texts()

    def request(
        self, op: str, arg: Mapping[str, object], req_id: str, ts_ms: int, recv_window_ms: int
    ) -> str:
        """Return the text of one request. ``req_id``: at most 36 characters, unique on the connection."""
        return _encode(
            {
                "reqId": req_id,
                "header": {"X-BAPI-TIMESTAMP": str(ts_ms), "X-BAPI-RECV-WINDOW": str(recv_window_ms)},
                "op": op,
                "args": [arg],
            }
        ).decode()

    def receive(self, text: str | bytes, now_ms: float) -> Sequence[TradeMessage]:
        """Return the values of a message. Never raises for what the peer sent: that is a ``BadMessage``."""
        if len(text) > MAX_WS_BYTES:
            return (BadMessage(f"a message of {len(text)} characters; at most {MAX_WS_BYTES} are accepted"),)
        try:
            frame: _Frame = _frames.decode(self._clean(as_bytes(text)))
            match frame.op:
                case "pong":
                    self._line.pong()
                    return ()
                case "auth":
                    return self._on_auth(frame)
                case op if op.startswith("order."):
                    return (_answer(frame),)
        except UNDECODABLE as error:
            return (BadMessage(explain(error)),)
        return (BadMessage(f"unknown op {printable(frame.op, 40)!r}"),)

    def _on_auth(self, frame: _Frame) -> tuple[TradeMessage]:
        if not self._line.settle("auth"):
            return (BadMessage("an answer to a sign-in that was not sent"),)
        if frame.ret_code != 0:
            return (AuthFailed(_text(frame), frame.ret_code),)
        return (Ready(),)


def _answer(frame: _Frame) -> TradeResponse:
    reset = str((frame.header or {}).get("X-Bapi-Limit-Reset-Timestamp", ""))
    try:
        ids: _Ids = _ids.decode(frame.data)
    except UNDECODABLE:
        ids = _Ids()  # the code alone decides
    return TradeResponse(
        "" if frame.req_id is None else str(frame.req_id),
        frame.op,
        frame.ret_code,
        _text(frame),
        ids.order_id,
        ids.order_link_id,
        int(reset) if reset.isascii() and reset.isdigit() and len(reset) <= 18 else None,
    )


def _text(frame: _Frame) -> str:
    return "" if frame.ret_code == SECRET_TEXT else printable(frame.ret_msg or "")
