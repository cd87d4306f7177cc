# ruff: noqa: N815  (the attributes have Bybit's names)
"""The server side of the protocol: clients' texts to requests, answers and pushes to compact JSON.

Streams have dialects: public and private streams use ``success``/``conn_id``/``req_id``, the trade stream
uses ``retCode``/``connId``/``reqId``. Replies are compact JSON because some clients search for substrings
such as ``ret_msg":"pong``. https://bybit-exchange.github.io/docs/v5/ws/connect
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from bot.bybit.decode import MAX_WS_BYTES, decode
from bot.domain.errors import BadInput

Stream = Literal["public", "spot", "option", "private", "trade"]
"""The dialect. ``public`` is linear and inverse; spot and option differ in their pongs and acks."""

_encode = msgspec.json.encode


# Messages of a client


class Ping(msgspec.Struct, frozen=True):
    """A JSON ping. ``req_id`` as text, None if absent."""

    req_id: str | None = None


class Subscribe(msgspec.Struct, frozen=True):
    """A subscription. If one topic is bad, all are refused."""

    topics: tuple[str, ...]
    req_id: str | None = None


class Unsubscribe(msgspec.Struct, frozen=True):
    """The end of a subscription."""

    topics: tuple[str, ...]
    req_id: str | None = None


class Auth(msgspec.Struct, frozen=True):
    """The sign-in of a private or trade stream. ``expires`` is the text that was signed."""

    key: str
    expires: str
    signature: str
    req_id: str | None = None


class TradeRequest(msgspec.Struct, frozen=True):
    """An ``op`` of the trade stream with its argument or batch. A number missing in the header is None."""

    op: str
    args: tuple[dict[str, Any], ...]
    ts_ms: int | None
    recv_window_ms: int | None
    req_id: str | None = None


class BadClient(msgspec.Struct, frozen=True):
    """A message that is none of the above. ``op`` and ``req_id`` are the parts that could be read."""

    reason: str
    op: str = ""
    req_id: str | None = None


ClientMessage = Ping | Subscribe | Unsubscribe | Auth | TradeRequest | BadClient


class _Frame(msgspec.Struct):
    op: str = ""
    req_id: str | int | None = None
    reqId: str | int | None = None
    args: msgspec.Raw = msgspec.Raw(b"[]")
    header: dict[str, Any] = {}


def parse_client(text: str | bytes) -> ClientMessage:
    """Read a client's message. Never raises."""
    try:
        frame = decode(text, _Frame, limit=MAX_WS_BYTES)
    except BadInput as error:
        return BadClient(str(error))
    given = frame.req_id if frame.req_id is not None else frame.reqId
    req_id = None if given is None else str(given)
    try:
        return _request(frame, req_id)
    except BadInput as error:
        return BadClient(str(error), frame.op, req_id)


def _request(frame: _Frame, req_id: str | None) -> ClientMessage:
    match frame.op:
        case "ping":
            return Ping(req_id)
        case "subscribe":
            return Subscribe(tuple(decode(bytes(frame.args), list[str])), req_id)
        case "unsubscribe":
            return Unsubscribe(tuple(decode(bytes(frame.args), list[str])), req_id)
        case "auth":
            # Clients send ``expires`` as a number or as text.
            key, expires, signature = decode(bytes(frame.args), tuple[str, int | str, str])
            return Auth(key, str(expires), signature, req_id)
        case op if op.startswith("order."):
            args = decode(bytes(frame.args), list[dict[str, Any]])
            ts_ms = _number(frame.header.get("X-BAPI-TIMESTAMP"))
            recv_window_ms = _number(frame.header.get("X-BAPI-RECV-WINDOW"))
            return TradeRequest(op, tuple(args), ts_ms, recv_window_ms, req_id)
        case op:
            return BadClient("unknown op", op, req_id)


def _number(value: object) -> int | None:
    """Read a header value: a number or text; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) <= 19 and value.isascii() and value.isdigit():
        return int(value)
    return None


# Answers on a stream


class _PublicReply(msgspec.Struct):
    success: bool
    ret_msg: str
    conn_id: str
    req_id: str | UnsetType
    op: str


class _PrivateReply(msgspec.Struct):
    req_id: str | UnsetType
    success: bool
    ret_msg: str
    op: str
    conn_id: str


class _PrivatePong(msgspec.Struct):
    req_id: str | UnsetType
    op: str
    args: list[str]
    conn_id: str | UnsetType


class _OptionReply(msgspec.Struct):
    success: bool
    conn_id: str
    data: dict[str, list[str]]
    type: str = "COMMAND_RESP"


class _TradeReply(msgspec.Struct, kw_only=True):
    reqId: str | UnsetType = UNSET
    retCode: int
    retMsg: str
    op: str
    data: Any = UNSET
    retExtInfo: Any = UNSET
    header: dict[str, str] | UnsetType = UNSET
    connId: str


def pong(stream: Stream, req_id: str | None, conn_id: str, now_ms: int) -> str:
    """Return the answer to a JSON ping, in the stream's dialect."""
    given = UNSET if req_id is None else req_id
    reply: msgspec.Struct
    match stream:
        case "public":
            reply = _PublicReply(True, "pong", conn_id, req_id or "", "ping")
        case "spot":
            reply = _PublicReply(True, "pong", conn_id, given, "ping")
        case "option":
            reply = _PrivatePong(UNSET, "pong", [str(now_ms)], UNSET)
        case "private":
            reply = _PrivatePong(given, "pong", [str(now_ms)], conn_id)
        case "trade":
            reply = _TradeReply(
                reqId=given, retCode=0, retMsg="OK", op="pong", data=[str(now_ms)], connId=conn_id
            )
    return _encode(reply).decode()


def ack(
    stream: Stream,
    op: Literal["subscribe", "unsubscribe"],
    success: bool,
    ret_msg: str,
    req_id: str | None,
    conn_id: str,
    *,
    topics: Sequence[str] = (),
) -> str:
    """Return the answer to a subscribe or unsubscribe request.

    ``ret_msg`` is "" on success, else for example ``handler_not_found``. Only option streams return
    ``topics``.
    """
    given = UNSET if req_id is None else req_id
    reply: msgspec.Struct
    match stream:
        case "public" | "trade":
            reply = _PublicReply(success, ret_msg, conn_id, req_id or "", op)
        case "spot":
            reply = _PublicReply(success, ret_msg or op, conn_id, req_id or "", op)
        case "option":
            good, bad = (list(topics), []) if success else ([], list(topics))
            reply = _OptionReply(success, conn_id, {"failTopics": bad, "successTopics": good})
        case "private":
            reply = _PrivateReply(given, success, ret_msg, op, conn_id)
    return _encode(reply).decode()


def handler_not_found(topic: str) -> str:
    """Return the ``ret_msg`` of a subscription to an unknown topic or symbol."""
    return f"error:handler not found,topic:{topic}"


def already_subscribed(topic: str) -> str:
    """Return the ``ret_msg`` of a second subscription to a topic on one connection."""
    return f"error:already subscribed,topic:{topic}"


def auth_reply(
    stream: Stream, success: bool, req_id: str | None, conn_id: str, *, code: int = 10004, text: str = ""
) -> str:
    """Return the answer to ``auth``.

    A refusal on a private stream says ``Params Error`` and has no code; on a trade stream it has a retCode.
    """
    given = UNSET if req_id is None else req_id
    if stream == "trade":
        code, text = (0, "OK") if success else (code, text or "error sign!")
        return _encode(
            _TradeReply(reqId=given, retCode=code, retMsg=text, op="auth", connId=conn_id)
        ).decode()
    text = "" if success else text or "Params Error"
    return _encode(_PrivateReply(given, success, text, "auth", conn_id)).decode()


class RateLimitHeaders(msgspec.Struct, frozen=True):
    """The content of the rate-limit headers: quota a second, requests left, and the reset time (ms)."""

    quota: int
    left: int
    reset_ms: int

    def headers(self) -> dict[str, str]:
        """Return the headers of an answer."""
        return {
            "X-Bapi-Limit": str(self.quota),
            "X-Bapi-Limit-Status": str(self.left),
            "X-Bapi-Limit-Reset-Timestamp": str(self.reset_ms),
        }


def trade_reply(
    op: str,
    req_id: str | None,
    conn_id: str,
    *,
    code: int = 0,
    text: str = "OK",
    data: Any = None,
    ext: Any = None,
    limit: RateLimitHeaders | None = None,
    trace_id: str = "",
    now_ms: int = 0,
) -> str:
    """Return the answer to a trade request.

    Without ``limit`` the request was refused before it was counted: the answer has no data and no header.
    ``data`` is ``OrderIds`` or a batch's ``{"list": ...}``; the data of a refusal are ``{}``.
    """
    reply = _TradeReply(
        reqId=UNSET if req_id is None else req_id, retCode=code, retMsg=text, op=op, connId=conn_id
    )
    if limit is not None:
        reply.data = {} if data is None else data
        reply.header = {**limit.headers(), "Traceid": trace_id, "Timenow": str(now_ms)}
        if code == 0 or ext is not None:
            reply.retExtInfo = {} if ext is None else ext
    return _encode(reply).decode()


# Pushes


class _PublicPush(msgspec.Struct):
    topic: str
    type: str
    ts: int
    data: Any
    cts: int | UnsetType
    cs: int | UnsetType


class _PrivatePush(msgspec.Struct):
    topic: str
    id: str | UnsetType
    creationTime: int
    data: Any


def push(
    topic: str,
    data: Any,
    ts_ms: int,
    *,
    kind: Literal["snapshot", "delta"] = "snapshot",
    cts_ms: int | None = None,
    cs: int | None = None,
) -> str:
    """Return a public push. ``data``: a list of ``KlineRow``/``TradeRow``, a ``TickerRow`` or a ``BookRow``.

    ``cts_ms`` (the matching engine's time) goes with books, ``cs`` (cross sequence) with tickers.
    """
    return _encode(
        _PublicPush(
            topic, kind, ts_ms, data, UNSET if cts_ms is None else cts_ms, UNSET if cs is None else cs
        )
    ).decode()


def private_push(topic: str, data: Sequence[Any], push_id: str | None, creation_ms: int) -> str:
    """Return a private push. ``topic`` is the subscribed text. Only ``execution.fast`` has no id."""
    return _encode(_PrivatePush(topic, UNSET if push_id is None else push_id, creation_ms, data)).decode()


# REST


class _Envelope(msgspec.Struct):
    retCode: int
    retMsg: str
    result: Any
    retExtInfo: Any
    time: int


def envelope(result: Any = None, code: int = 0, msg: str = "OK", *, time_ms: int, ext: Any = None) -> bytes:
    """Return a REST answer.

    ``result`` is a mapping or a struct, ``{}`` if None. A refusal also has HTTP 200.
    """
    return _encode(
        _Envelope(code, msg, {} if result is None else result, {} if ext is None else ext, time_ms)
    )


def listing(
    rows: Sequence[Any], cursor: str | None = None, category: str | None = None, **more: Any
) -> Mapping[str, Any]:
    """Return the ``result`` of a list endpoint: rows, and cursor and category if it has them."""
    result: dict[str, Any] = dict(more)
    if cursor is not None:
        result["nextPageCursor"] = cursor
    if category is not None:
        result["category"] = category
    result["list"] = rows
    return result
