"""Public frames as they come: a session that passes every frame on, and the state that frames add up to.

``FrameSession`` decodes nothing but the topic's name. ``KeptState`` puts books and tickers together again, so
that a later part of a stream can begin with snapshots; Bybit sends them only after a subscription.
https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from bot.bybit.decode import UNDECODABLE, decode, explain
from bot.bybit.serve import push
from bot.bybit.session import (
    BadMessage,
    ClientConnection,
    ClientSession,
    ControlMessage,
    Patience,
    Subscribed,
    SubscribeFailed,
)
from bot.bybit.wire import BookRow, Count, Level
from bot.domain.errors import BadInput


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A message of a topic, as it came."""

    topic: str
    text: bytes


RawMessage = Frame | Subscribed | SubscribeFailed | BadMessage


class FrameSession(ClientSession):
    """One connection to the public stream whose frames are passed on unread.

    Args: as ``PublicSession``; ``topics`` may be any topics of the stream.
    """

    def __init__(
        self,
        topics: Sequence[str],
        *,
        ids: Iterator[str],
        patience: Patience,
    ) -> None:
        self._topics = list(topics)
        super().__init__(ClientConnection(ids, patience))

    def opened(self, now_ms: float) -> list[str]:
        """Start a new connection; return the subscriptions to send."""
        self._line.opened(now_ms)
        self._line.subscribe(self._topics, now_ms)
        return self._line.texts()

    def renew(self, topics: Sequence[str], now_ms: float) -> None:
        """Queue an unsubscription and a new subscription: the answer is a new snapshot."""
        self._line.renew(topics, now_ms)

    def receive(self, text: str | bytes, now_ms: float) -> Sequence[RawMessage]:
        """Return the frame, or the answer to a subscription."""
        raw = text.encode() if isinstance(text, str) else text
        if topic := _topic_of(raw):
            return (Frame(topic, raw),)
        try:
            control = decode(raw, ControlMessage)
        except BadInput as error:
            return (BadMessage(str(error)),)
        if control.is_pong:
            self._line.pong()
        elif control.op == "subscribe":
            answer = self._line.acknowledged(control, now_ms)
            return () if answer is None else (answer,)
        elif control.topic:
            return (Frame(control.topic, raw),)
        return ()


def _topic_of(raw: bytes) -> str:
    """Find the topic's name without decoding; "" if the message has none in Bybit's usual spelling."""
    at = raw.find(b'"topic":"')
    end = raw.find(b'"', at + 9)
    return raw[at + 9 : end].decode("ascii", "replace") if at >= 0 and end > 0 else ""


# What frames add up to


class BookData(msgspec.Struct):
    """A book, or the changes to it; size "0" removes a level."""

    s: str
    b: list[Level]
    a: list[Level]
    u: Count
    seq: Count = 0


class BookFrame(msgspec.Struct):
    """A frame of ``orderbook.{depth}.{symbol}``."""

    topic: str
    type: Literal["snapshot", "delta"]
    ts: Count
    data: BookData
    cts: Count = 0


class TickerFrame(msgspec.Struct):
    """A frame of ``tickers.{symbol}``."""

    topic: str
    type: Literal["snapshot", "delta"]
    ts: Count
    data: dict[str, object]
    cs: Count = 0


class KeptBook:
    """A book put together from its frames. ``known`` is False before a snapshot and after a missed frame."""

    def __init__(self) -> None:
        self.known = False
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self.last: BookFrame | None = None

    def apply(self, frame: BookFrame) -> tuple[int, int] | None:
        """Take a frame. If frames before it are missing, return the last number seen and this frame's."""
        before, self.last = self.last, frame
        if frame.type == "snapshot":
            self.known = True
            self.bids, self.asks = dict(frame.data.b), dict(frame.data.a)
            return None
        missed = None
        if self.known and before is not None and frame.data.u != before.data.u + 1:
            self.known, missed = False, (before.data.u, frame.data.u)
        if self.known:
            _change(self.bids, frame.data.b)
            _change(self.asks, frame.data.a)
        return missed

    def forget(self) -> None:
        """The connection is lost: the book is not known any more."""
        self.known = False

    def levels(self) -> tuple[list[Level], list[Level]]:
        """Return bids and asks, best first."""
        bids = sorted(self.bids.items(), key=lambda level: -float(level[0]))
        asks = sorted(self.asks.items(), key=lambda level: float(level[0]))
        return bids, asks

    def snapshot(self) -> str | None:
        """Return the book as a snapshot in Bybit's form; None while it is not known."""
        if not self.known or self.last is None:
            return None
        bids, asks = self.levels()
        last = self.last
        row = BookRow(last.data.s, bids, asks, last.data.u, last.data.seq)
        return push(last.topic, row, last.ts, cts_ms=last.cts)


class KeptTicker:
    """A ticker put together from its frames."""

    def __init__(self) -> None:
        self.known = False
        self.fields: dict[str, object] = {}
        self.last: TickerFrame | None = None

    def apply(self, frame: TickerFrame) -> None:
        """Take a frame; a delta before any snapshot is no ticker."""
        if frame.type == "snapshot":
            self.known, self.fields = True, {}
        self.last = frame
        self.fields.update(frame.data)

    def forget(self) -> None:
        """The connection is lost: the ticker is not known any more."""
        self.known = False

    def snapshot(self) -> str | None:
        """Return the ticker as a snapshot in Bybit's form; None while it is not known."""
        if not self.known or self.last is None:
            return None
        return push(self.last.topic, self.fields, self.last.ts, cs=self.last.cs)


class KeptState:
    """The books and tickers of a stream, by topic."""

    def __init__(self) -> None:
        self.books: dict[str, KeptBook] = {}
        self.tickers: dict[str, KeptTicker] = {}

    def apply(self, topic: str, text: bytes) -> tuple[int, int] | None:
        """Take a frame; return the two numbers between which frames of a book are missing, if any.

        Raises:
            BadInput: a frame of a book or ticker that is not as documented.
        """
        try:
            if topic.startswith("orderbook."):
                return self.books.setdefault(topic, KeptBook()).apply(_books.decode(text))
            if topic.startswith("tickers."):
                self.tickers.setdefault(topic, KeptTicker()).apply(_tickers.decode(text))
        except UNDECODABLE as error:
            raise BadInput(f"{topic}: not the documented JSON: {explain(error)}") from error
        return None

    def forget(self, topics: Sequence[str]) -> None:
        """Forget the state of topics whose connection is lost."""
        for topic in topics:
            for kept in (self.books.get(topic), self.tickers.get(topic)):
                if kept is not None:
                    kept.forget()

    def snapshots(self) -> list[str]:
        """Return what is known as snapshots in Bybit's form."""
        found = [kept.snapshot() for kept in self.books.values()]
        found += [kept.snapshot() for kept in self.tickers.values()]
        return [text for text in found if text is not None]


def _change(side: dict[str, str], changes: list[Level]) -> None:
    for price, size in changes:
        if float(size) == 0.0:
            side.pop(price, None)
        else:
            side[price] = size


_books = msgspec.json.Decoder(BookFrame)
_tickers = msgspec.json.Decoder(TickerFrame)
