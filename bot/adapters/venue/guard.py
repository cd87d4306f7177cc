"""How far the venue's prices stray from the feed's, where the two are different markets. Pure."""

import math
from decimal import Decimal

SHARE = 1.0 / 1024.0
"""Of one look in the usual distance: at one look a second the memory is about a quarter of an hour."""


class Divergence:
    """Compares each symbol's distance between two markets with its own past.

    A test venue never follows the market, so its distance to the feed says nothing; a sudden change of that
    distance says that one of the two has gone astray, and nothing is entered until it is as before or has
    become usual.
    """

    def __init__(self, max_frac: Decimal) -> None:
        self._bound = math.log1p(float(max_frac))
        self._feed: dict[str, float] = {}
        self._usual: dict[str, float] = {}
        self.astray: frozenset[str] = frozenset()
        """Symbols whose distance is unusual now."""

    def feed(self, symbol: str, price: float) -> None:
        """The feed's latest price."""
        if 0.0 < price < math.inf:
            self._feed[symbol] = price

    def venue(self, symbol: str, price: float) -> None:
        """The venue's latest price: the moment at which the two are compared."""
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
