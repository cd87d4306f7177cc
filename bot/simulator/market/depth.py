"""The order book around a price: each level keeps its size for a while, and levels change one at a time.

The size at a price is a pure function of the price, the time and the seed. So a book is computed when it is
asked for, and all who ask see the same book.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bot.exchange.ledger.book import Level
from bot.exchange.quotes.depth import Depth
from bot.simulator.market.digits import StepGrid

Ints = NDArray[np.int64]

MAX_BOOK = 500
"""Levels of the deepest book."""
HOLD_MS = 12_000
"""How long a level keeps its size."""
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_GOLD = np.uint64(0x9E3779B97F4A7C15)


class Levels(NamedTuple):
    """One side of a book, best level first: prices in ticks, sizes in lots (both (N,), whole numbers)."""

    ticks: Ints
    lots: Ints


class Ladder:
    """The books of one symbol. ``typical_lots`` is the mean size of a level, ``key`` the seed of sizes."""

    __slots__ = ("_key", "_typical_lots", "lot", "spread_ticks", "tick")

    def __init__(
        self, tick: StepGrid, lot: StepGrid, spread_ticks: int, typical_lots: float, key: int
    ) -> None:
        self.tick = tick
        self.lot = lot
        self.spread_ticks = spread_ticks
        self._typical_lots = typical_lots
        self._key = np.uint64(key & 0xFFFFFFFF)

    def side(self, best_ticks: int, step: int, count: int, ts_ms: int) -> Levels:
        """Return ``count`` levels from ``best_ticks``, down (``step`` -1) or up (1); none below 1 tick."""
        ticks = best_ticks + step * np.arange(count, dtype=np.int64)
        ticks = ticks[ticks > 0]
        place = (ticks.astype(np.uint64) << np.uint64(1)) | np.uint64(step > 0)
        own = _mixed(place * _GOLD + self._key)
        epoch = (np.uint64(ts_ms) + own % np.uint64(HOLD_MS)) // np.uint64(HOLD_MS)
        chance = (_mixed(own + epoch * _GOLD) >> np.uint64(11)).astype(np.float64) / 2.0**53
        lots = np.maximum(1, np.rint(-np.log1p(-chance) * self._typical_lots)).astype(np.int64)
        return Levels(ticks, lots)

    def texts(self, levels: Levels) -> list[tuple[str, str]]:
        """Return the levels as texts for messages."""
        price, size = self.tick.text, self.lot.text
        return [(price(a), size(b)) for a, b in zip(levels.ticks.tolist(), levels.lots.tolist(), strict=True)]

    def depth(self, bid_ticks: int, ask_ticks: int, count: int, ts_ms: int) -> Depth:
        """Return both sides in ``Decimal``."""
        return Depth(
            self._money(self.side(bid_ticks, -1, count, ts_ms)),
            self._money(self.side(ask_ticks, 1, count, ts_ms)),
        )

    def _money(self, levels: Levels) -> list[Level]:
        price, size = self.tick.decimal, self.lot.decimal
        return [(price(a), size(b)) for a, b in zip(levels.ticks.tolist(), levels.lots.tolist(), strict=True)]


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finisher (Steele et al. 2014)."""
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    mixed: NDArray[np.uint64] = state ^ (state >> np.uint64(31))
    return mixed
