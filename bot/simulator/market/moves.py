"""What moves the orders of accounts where a recording is replayed: trades, the book, marks."""

from decimal import Decimal

import msgspec

from bot.exchange.quotes.depth import Depth


class Traded(msgspec.Struct, frozen=True):
    """Others traded; ``depth`` is the first book that was recorded after it, None if there is none soon."""

    ts_ms: int
    price: Decimal
    qty: Decimal
    depth: Depth | None


class Quoted(msgspec.Struct, frozen=True):
    """The book changed; it is empty while nobody knows it, after a lost connection."""

    ts_ms: int
    depth: Depth


class MarksMoved(msgspec.Struct, frozen=True):
    """Mark and index changed."""

    ts_ms: int
    mark: Decimal
    index: Decimal


Move = Traded | Quoted | MarksMoved
