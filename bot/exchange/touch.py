"""What the paper venue knows of one symbol's market between two events."""

from decimal import Decimal

import msgspec

from bot.exchange.terms import UNLIMITED


class Seen(msgspec.Struct, frozen=True):
    """An open candle up to its latest update."""

    high: float
    low: float
    volume: float


class Touch:
    """The last known quote of one symbol and the volume that our orders may still use."""

    __slots__ = ("acted_ms", "left", "marked", "quoted_ms", "seen", "start_ms")

    def __init__(self) -> None:
        self.acted_ms = -(10**15)
        """When an order of ours last arrived or filled."""
        self.quoted_ms = -(10**15)
        self.left: Decimal = UNLIMITED
        """Base that may still be executed until the next close."""
        self.marked = False
        self.start_ms = -1
        self.seen = Seen(0.0, 0.0, 0.0)
