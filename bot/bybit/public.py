"""The public stream, client side: candles, tickers and the top of the book of linear contracts.

::

    session = PublicSession(["kline.1.BTCUSDT"], ids=ids, patience=patience)
    send(session.opened(now_ms))
    for value in session.receive(text, now_ms):   # Kline, TickerUpdate, Top, Subscribed, ...
        ...
    send(session.texts())

https://bybit-exchange.github.io/docs/v5/ws/connect
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import msgspec

from bot.bybit.codes import printable
from bot.bybit.decode import MAX_WS_BYTES, UNDECODABLE, decoder, explain
from bot.bybit.rest import WIRE_INTERVALS
from bot.bybit.session import (
    BadMessage,
    ClientConnection,
    ClientSession,
    ControlMessage,
    LinkLost,
    Patience,
    Subscribed,
    SubscribeFailed,
)
from bot.bybit.wire import Count
from bot.domain.errors import BadInput
from bot.domain.market import HOUR_MS, Bar

__all__ = [
    "BadMessage",
    "Kline",
    "LinkLost",
    "PublicMessage",
    "PublicSession",
    "SubscribeFailed",
    "Subscribed",
    "TickerUpdate",
    "TopOfBook",
]

INTERVALS_MS: dict[str, int] = {name: ms for ms, name in WIRE_INTERVALS.items()}


class Kline(msgspec.Struct, frozen=True, gc=False):
    """One push of a candle: closed and final if ``confirm``, else the candle as it was at ``ts_ms``.

    The numbers are as Bybit sent them. ``bar`` checks that they can belong to one candle.
    """

    symbol: str
    interval_ms: int
    start_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    turnover: float | None
    """None if the venue left it blank."""
    confirm: bool
    ts_ms: int

    def bar(self) -> Bar:
        """Return the candle as a bar.

        Raises:
            BadBar: the numbers cannot belong to one candle.
        """
        return Bar(
            self.symbol,
            self.interval_ms,
            self.start_ms,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.turnover,
        )


class TickerUpdate(msgspec.Struct, frozen=True, gc=False):
    """A symbol's ticker with every field received so far; None for a field that was never sent.

    ``funding_rate`` is the current estimate of the rate that will be settled at ``next_funding_ms``.
    """

    symbol: str
    ts_ms: int
    bid: float | None = None
    ask: float | None = None
    last: float | None = None
    mark: float | None = None
    index: float | None = None
    funding_rate: float | None = None
    next_funding_ms: int | None = None
    funding_interval_ms: int | None = None
    """Time between two settlements from now on; Bybit changes it without notice."""


class TopOfBook(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask with their sizes in base; None if a side is empty."""

    symbol: str
    ts_ms: int
    bid: float | None
    bid_qty: float | None
    ask: float | None
    ask_qty: float | None


PublicMessage = Kline | TickerUpdate | TopOfBook | Subscribed | SubscribeFailed | BadMessage

_Number = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
"""The bounds refuse "nan" and "inf", which msgspec's lax decoding accepts as numbers."""


class _KlineData(msgspec.Struct, gc=False):
    start: Count
    open: _Number
    close: _Number
    high: _Number
    low: _Number
    volume: _Number
    confirm: bool
    turnover: _Number | Literal[""] = ""
    interval: str = ""


class _KlinePush(msgspec.Struct, gc=False):
    topic: str
    ts: Count
    data: list[_KlineData]


class _TickerData(msgspec.Struct, rename="camel", gc=False):
    """The fields we use. A missing field is unchanged; the text "" is a value and means "none"."""

    symbol: str
    bid1_price: str | None = None
    ask1_price: str | None = None
    last_price: str | None = None
    mark_price: str | None = None
    index_price: str | None = None
    funding_rate: str | None = None
    next_funding_time: str | None = None
    funding_interval_hour: str | None = None


class _TickerPush(msgspec.Struct, gc=False):
    topic: str
    ts: Count
    data: _TickerData
    type: str = "snapshot"


class _BookData(msgspec.Struct, gc=False):
    s: str
    b: list[tuple[_Number, _Number]]
    a: list[tuple[_Number, _Number]]


class _BookPush(msgspec.Struct, gc=False):
    topic: str
    ts: Count
    data: _BookData


_klines = decoder(_KlinePush)
_tickers = decoder(_TickerPush)
_books = decoder(_BookPush)
_controls = decoder(ControlMessage)


class PublicSession(ClientSession):
    """One connection to the public stream of linear contracts, for a fixed list of topics.

    Args:
        topics: ``kline.{interval}.{symbol}``, ``tickers.{symbol}``, ``orderbook.1.{symbol}``.
        group: topics in one request; one bad topic makes its request fail, which is then repeated topic by
            topic.
        ids: makes the ids of requests.
        patience: how long the connection waits.

    Raises:
        BadInput: this session cannot read a topic.
    """

    def __init__(
        self,
        topics: Sequence[str],
        *,
        group: int = 10,
        ids: Iterator[str],
        patience: Patience,
    ) -> None:
        self._topics = {topic: _read_topic(topic) for topic in topics}
        self._state: dict[str, TickerUpdate] = {}
        super().__init__(ClientConnection(ids, patience, group=group))

    def opened(self, now_ms: float) -> list[str]:
        """Start a new connection: forget the earlier one and return the subscriptions to send."""
        self._state.clear()
        self._line.opened(now_ms)
        self._line.subscribe(list(self._topics), now_ms)
        return self._line.texts()

    def renew(self, topics: Sequence[str], now_ms: float) -> None:
        """Queue an unsubscription and a new subscription for topics that fell silent."""
        self._line.renew([topic for topic in topics if topic in self._topics], now_ms)

    def receive(self, text: str | bytes, now_ms: float) -> Sequence[PublicMessage]:
        """Return the values of a message. Never raises for what the peer sent: that is a ``BadMessage``."""
        try:
            if len(text) > MAX_WS_BYTES:
                return (
                    BadMessage(f"a message of {len(text)} characters; at most {MAX_WS_BYTES} are accepted"),
                )
            match _kind(text):
                case "k":
                    return self._on_klines(_klines.decode(text))
                case "t":
                    return self._on_ticker(_tickers.decode(text))
                case "o":
                    return self._on_book(_books.decode(text))
                case _:
                    return self._on_control(_controls.decode(text), text, now_ms)
        except UNDECODABLE as error:
            return (BadMessage(explain(error)),)
        except BadInput as error:
            return (BadMessage(str(error)),)

    def _on_klines(self, push: _KlinePush) -> list[PublicMessage]:
        symbol, interval = self._known(push.topic, "kline")
        interval_ms = INTERVALS_MS[interval]
        found: list[PublicMessage] = []
        for row in push.data:  # the last push of one candle and the first of the next may share a message
            if row.interval not in ("", interval):
                found.append(
                    BadMessage(f"{push.topic}: candle with interval {printable(row.interval, 20)!r}")
                )
                continue
            found.append(
                Kline(
                    symbol,
                    interval_ms,
                    row.start,
                    row.open,
                    row.high,
                    row.low,
                    row.close,
                    row.volume,
                    row.turnover if isinstance(row.turnover, float) else None,
                    row.confirm,
                    push.ts,
                )
            )
        return found

    def _on_ticker(self, push: _TickerPush) -> tuple[PublicMessage]:
        symbol, _ = self._known(push.topic, "tickers")
        row = push.data
        if row.symbol != symbol:
            raise BadInput(f"{push.topic}: ticker for {printable(row.symbol, 40)!r}")
        old = self._state.get(symbol) if push.type == "delta" else None
        old = old or _NOTHING
        update = TickerUpdate(
            symbol,
            push.ts,
            old.bid if row.bid1_price is None else _float(row.bid1_price),
            old.ask if row.ask1_price is None else _float(row.ask1_price),
            old.last if row.last_price is None else _float(row.last_price),
            old.mark if row.mark_price is None else _float(row.mark_price),
            old.index if row.index_price is None else _float(row.index_price),
            old.funding_rate if row.funding_rate is None else _float(row.funding_rate),
            old.next_funding_ms if row.next_funding_time is None else _int(row.next_funding_time),
            old.funding_interval_ms
            if row.funding_interval_hour is None
            else _hours(row.funding_interval_hour),
        )
        self._state[symbol] = update
        return (update,)

    def _on_book(self, push: _BookPush) -> tuple[PublicMessage]:
        symbol, _ = self._known(push.topic, "orderbook")
        if push.data.s != symbol:
            raise BadInput(f"{push.topic}: book for {printable(push.data.s, 40)!r}")
        bid, bid_qty = push.data.b[0] if push.data.b else (None, None)
        ask, ask_qty = push.data.a[0] if push.data.a else (None, None)
        return (TopOfBook(symbol, push.ts, bid, bid_qty, ask, ask_qty),)

    def _on_control(
        self, control: ControlMessage, text: str | bytes, now_ms: float
    ) -> Sequence[PublicMessage]:
        if control.is_pong:
            self._line.pong()
            return ()
        if control.op == "subscribe":
            answer = self._line.acknowledged(control, now_ms)
            return () if answer is None else (answer,)
        if control.op == "unsubscribe":
            return ()
        # The JSON has other spaces than Bybit's, so ``_kind`` did not find the topic.
        match control.topic.partition(".")[0]:
            case "kline":
                return self._on_klines(_klines.decode(text))
            case "tickers":
                return self._on_ticker(_tickers.decode(text))
            case "orderbook":
                return self._on_book(_books.decode(text))
        return (
            BadMessage(f"unknown op {printable(control.op, 40)!r}, topic {printable(control.topic, 40)!r}"),
        )

    def _known(self, topic: str, kind: str) -> tuple[str, str]:
        """Return the symbol and the interval of a subscribed topic."""
        found = self._topics.get(topic)
        if found is None or found[0] != kind:
            raise BadInput(f"data of {printable(topic, 60)!r}, which is not subscribed")
        return found[1], found[2]


_NOTHING = TickerUpdate("", 0)


def _kind(text: str | bytes) -> str:
    """Find the topic's first letter without decoding, so that each message is decoded once, by its type."""
    if isinstance(text, bytes):
        at = text.find(b'"topic":"')
        return chr(text[at + 9]) if 0 <= at < len(text) - 9 else ""
    at = text.find('"topic":"')
    return text[at + 9 : at + 10] if at >= 0 else ""


def _read_topic(topic: str) -> tuple[str, str, str]:
    """Return kind, symbol and interval ("" if the topic has none)."""
    match topic.split("."):
        case ["kline", interval, symbol] if interval in INTERVALS_MS and symbol:
            return "kline", symbol, interval
        case ["tickers", symbol] if symbol:
            return "tickers", symbol, ""
        case ["orderbook", "1", symbol] if symbol:
            return "orderbook", symbol, ""
    raise BadInput(f"unknown public topic: {printable(topic, 60)!r}")


def _float(text: str) -> float | None:
    """Read a decimal text; None for "".

    Raises:
        BadInput: not a finite decimal number.
    """
    if not text:
        return None
    try:
        number: float = _number.decode(text)
    except UNDECODABLE as error:
        raise BadInput(f"not a number: {printable(text, 40)!r}") from error
    return number


def _int(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadInput(f"not a time in ms: {printable(text, 40)!r}")
    return int(text)


def _hours(text: str) -> int | None:
    """Read a number of hours as milliseconds; None for "" and anything that is no span of time."""
    hours = _float(text)
    return round(hours * HOUR_MS) if hours is not None and 0.0 < hours <= 24.0 else None


_number = decoder(_Number)
