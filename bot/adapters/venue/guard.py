"""Compares the venue's prices with the feed's, if the two are different markets. Pure."""

import math
from decimal import Decimal

SHARE = 1.0 / 1024.0
"""Weight of one comparison in the usual distance: at one a second the memory is about 15 minutes."""


class Divergence:
    """Compares each symbol's distance between two markets with the usual distance.

    A test venue never follows the market, so the distance alone means nothing. A sudden change of it means
    that one of the two prices is wrong: no entry may leave until the distance is usual again.
    """

    def __init__(self, max_frac: Decimal) -> None:
        self._bound = math.log1p(float(max_frac))
        self._feed: dict[str, float] = {}
        self._usual: dict[str, float] = {}
        self.astray: frozenset[str] = frozenset()
        """Symbols whose distance is unusual."""

    def feed(self, symbol: str, price: float) -> None:
        """Note the feed's latest price."""
        if 0.0 < price < math.inf:
            self._feed[symbol] = price

    def venue(self, symbol: str, price: float) -> None:
        """Note the venue's latest price, and compare the two."""
        feed = self._feed.get(symbol)
        if feed is None or not 0.0 < price < math.inf:
            return
        distance = math.log(price / feed)
        usual = self._usual.setdefault(symbol, distance)
        self._usual[symbol] = usual + SHARE * (distance - usual)
        if abs(distance - usual) > self._bound:
            self.astray |= {symbol}
        else:
            self.astray -= {symbol}
