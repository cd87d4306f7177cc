"""The offers of others at one moment as price levels, and how an order takes from them."""

from collections.abc import Iterable, Iterator
from decimal import Decimal

import msgspec

from bot.domain.money import ZERO, ceil_to, floor_to
from bot.domain.orders import Side
from bot.exchange.ledger.book import Level
from bot.exchange.terms import UNLIMITED


class Depth(msgspec.Struct, frozen=True, gc=False):
    """Levels (price, qty) of both sides, best first; the touch is the first of each. Either may be empty."""

    bids: list[Level]
    asks: list[Level]

    @classmethod
    def touch(cls, bid: Decimal, ask: Decimal, qty: Decimal = UNLIMITED) -> "Depth":
        """One level a side."""
        return cls([(bid, qty)], [(ask, qty)])

    def moved_to(self, price: Decimal, tick: Decimal) -> "Depth":
        """The touch after a trade at ``price``; unchanged if the trade lies within bid and ask.

        A trade outside the touch proves that the touch is out of date. Nothing is known of the new one, so
        it keeps its spread and sizes and is centred on ``price``; each side is rounded away from ``price``.
        Levels behind the touch are dropped. An empty side stays empty.
        """
        bids, asks = self.bids, self.asks
        if (not bids or bids[0][0] <= price) and (not asks or price <= asks[0][0]):
            return self
        half = (asks[0][0] - bids[0][0]) / 2 if bids and asks else ZERO
        bid = max(floor_to(price - half, tick), tick)
        ask = ceil_to(price + half, tick)
        return Depth([(bid, bids[0][1])] if bids else [], [(ask, asks[0][1])] if asks else [])

    def against(self, side: Side) -> list[Level]:
        """The levels that an order of ``side`` takes from."""
        return self.asks if side == "Buy" else self.bids

    def best(self, side: Side) -> Decimal | None:
        """The first price that an order of ``side`` would take at."""
        levels = self.asks if side == "Buy" else self.bids
        return levels[0][0] if levels else None

    def mid(self) -> Decimal | None:
        """Half-way between the touches; None while a side is empty."""
        return (self.bids[0][0] + self.asks[0][0]) / 2 if self.bids and self.asks else None

    def within(self, side: Side, limit: Decimal) -> Decimal:
        """The quantity that an order of ``side`` can take at ``limit`` or better."""
        return sum((qty for _, qty in _reached(self.against(side), side, limit)), ZERO)

    def without(self, side: Side, qty: Decimal) -> "Depth":
        """The depth left after an order of ``side`` has taken ``qty``, best prices first."""
        left: list[Level] = []
        for price, offered in self.against(side):
            gone = min(offered, qty)
            qty -= gone
            if gone < offered:
                left.append((price, offered - gone))
        return Depth(self.bids, left) if side == "Buy" else Depth(left, self.asks)

    def takes(self, side: Side, qty: Decimal, limit: Decimal) -> Iterator[Level]:
        """The executions (price, qty) of an order of ``side`` for ``qty`` at ``limit`` or better."""
        for price, offered in _reached(self.against(side), side, limit):
            taken = min(offered, qty)
            if taken > ZERO:
                yield price, taken
                qty -= taken
            if qty <= ZERO:
                return


NO_DEPTH = Depth([], [])


def crosses(side: Side, limit: Decimal, price: Decimal | None) -> bool:
    """Whether an order of ``side`` at ``limit`` can be executed against ``price``."""
    return price is not None and (limit >= price if side == "Buy" else limit <= price)


def _reached(levels: Iterable[Level], side: Side, limit: Decimal) -> Iterator[Level]:
    for price, qty in levels:
        if not crosses(side, limit, price):
            return
        yield price, qty
