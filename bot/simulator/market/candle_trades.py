"""The trades inside one candle, and the open candle at any moment.

Prices follow ``bot/exchange/bars/path.py``: open, one extreme, the other, close, evenly spread over the
candle. A symbol trades at those four moments and on its own grid of moments. Last price, open candle and
volume are always those of the latest trade. All of it is a pure function of the candle and the seed: nothing
is stored, and a stream, a query and a second run agree.
"""

from bisect import bisect_right
from hashlib import blake2b
from typing import Literal, NamedTuple, Protocol

import msgspec

from bot.domain.market import Bar, Instrument
from bot.exchange.bars.path import path, uniform
from bot.simulator.market.digits import StepGrid

Side = Literal["Buy", "Sell"]


def trade_id(symbol: str, ts_ms: int) -> str:
    """Return the id of a trade as a UUID: the same in the stream, in a query and in the next run."""
    text = blake2b(f"{symbol}{ts_ms}".encode(), digest_size=16).hexdigest()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Contract(msgspec.Struct, frozen=True):
    """What all candles of one symbol share: the steps of prices and quantities, and the moments of trade.

    A trade happens at every ``t`` with ``t % every_ms == phase_ms``.
    """

    instrument: Instrument
    tick: StepGrid
    lot: StepGrid
    every_ms: int
    phase_ms: int
    seed: int
    price_places: int
    """Decimals of prices in tickers and trades (Bybit's ``priceScale``)."""


class PartialCandle(NamedTuple):
    """A candle up to a moment: ``traded_ms`` is the time of its latest trade."""

    start_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    turnover: float
    traded_ms: int


class MarketTrade(NamedTuple):
    """One trade. ``side`` is the taker's side; ``plus`` and ``zero`` say how the price moved."""

    ts_ms: int
    price: float
    qty: float
    side: Side
    direction: str
    exec_id: str = ""
    """Its id where it was recorded; else ``trade_id`` makes one."""


class InsideCandle(Protocol):
    """A base candle at any moment of it."""

    def candle(self, ts_ms: int) -> PartialCandle:
        """Return the candle as it is at ``ts_ms``."""

    def piece(self, start_ms: int, end_ms: int, ts_ms: int) -> PartialCandle:
        """Return the part that opens at ``start_ms`` and ends before ``end_ms``, as it is at ``ts_ms``."""


class CandleTrades:
    """The trades of one base candle. ``before`` is the close of the candle before it."""

    __slots__ = ("_moments", "_prices", "bar", "before", "contract", "end_ms", "start_ms")

    def __init__(self, bar: Bar, before: float, contract: Contract) -> None:
        self.bar = bar
        self.before = before
        self.contract = contract
        self.start_ms = bar.start_ms
        self.end_ms = bar.start_ms + bar.interval_ms - 1
        third = bar.interval_ms // 3
        self._moments = (self.start_ms, self.start_ms + third, self.start_ms + 2 * third, self.end_ms)
        self._prices = path(bar, contract.seed)

    def latest_trade(self, ts_ms: int) -> int:
        """Return the time of the latest trade at or before ``ts_ms``, a moment inside the candle."""
        every_ms = self.contract.every_ms
        grid_ms = ts_ms - (ts_ms - self.contract.phase_ms) % every_ms
        return max(grid_ms, self._moments[bisect_right(self._moments, ts_ms) - 1])

    def price(self, trade_ms: int) -> float:
        """Return the price of the trade at a moment, on the tick grid."""
        moments, prices = self._moments, self._prices
        leg = bisect_right(moments, trade_ms) - 1
        if leg >= 3 or moments[leg] == trade_ms:
            return prices[min(leg, 3)]
        here, there = prices[leg], prices[leg + 1]
        if here == there:
            return here
        share = (trade_ms - moments[leg]) / (moments[leg + 1] - moments[leg])
        tick = self.contract.tick
        on_grid = tick.value(tick.nearest(here + (there - here) * share))
        return min(max(on_grid, self.bar.low), self.bar.high)

    def traded(self, trade_ms: int) -> float:
        """Return the volume from the open up to that trade, on the lot grid; all of it at the end."""
        if trade_ms >= self.end_ms:
            return self.bar.volume
        lot = self.contract.lot
        share = (trade_ms - self.start_ms + 1) / self.bar.interval_ms
        return lot.value(lot.below(self.bar.volume * share))

    def candle(self, ts_ms: int) -> PartialCandle:
        """Return the base candle at ``ts_ms``; it is complete from its last millisecond on."""
        bar = self.bar
        turnover = bar.turnover or 0.0
        if ts_ms >= self.end_ms:
            return PartialCandle(
                bar.start_ms, bar.open, bar.high, bar.low, bar.close, bar.volume, turnover, self.end_ms
            )
        trade_ms = self.latest_trade(ts_ms)
        return self._piece(self.start_ms, trade_ms)

    def piece(self, start_ms: int, end_ms: int, ts_ms: int) -> PartialCandle:
        """Return the part that opens at ``start_ms`` and ends before ``end_ms``, as it is at ``ts_ms``.

        For candles finer than the base. Together the parts have the prices and volume of the base candle.
        """
        return self._piece(start_ms, self.latest_trade(min(ts_ms, end_ms - 1, self.end_ms)))

    def _piece(self, start_ms: int, trade_ms: int) -> PartialCandle:
        at_ms = max(start_ms, trade_ms)  # a part without a trade stays at its open
        first, last = self.price(start_ms), self.price(at_ms)
        seen = [first, last]
        seen += [
            price for at, price in zip(self._moments, self._prices, strict=True) if start_ms <= at <= at_ms
        ]
        before = self._traded_before(start_ms)
        volume = round(self.traded(trade_ms) - before, 8)
        whole = self.bar.volume
        turnover = round((self.bar.turnover or 0.0) * (volume / whole), 4) if whole else 0.0
        return PartialCandle(start_ms, first, max(seen), min(seen), last, volume, turnover, at_ms)

    def moments(self, after_ms: int, to_ms: int) -> list[int]:
        """Return the moments of trade in ``(after_ms, to_ms]``, in order."""
        after_ms, to_ms = max(after_ms, self.start_ms - 1), min(to_ms, self.end_ms)
        every_ms, phase_ms = self.contract.every_ms, self.contract.phase_ms
        first_ms = after_ms + 1 + (phase_ms - after_ms - 1) % every_ms
        found = set(range(first_ms, to_ms + 1, every_ms))
        found.update(at for at in self._moments if after_ms < at <= to_ms)
        return sorted(found)

    def trades(self, after_ms: int, to_ms: int) -> list[MarketTrade]:
        """Return trades in ``(after_ms, to_ms]``. A moment without volume trades only if the price moved."""
        lot = self.contract.lot
        made = []
        for at in self.moments(after_ms, to_ms):
            price, earlier = self.price(at), self.price_before(at)
            qty = round(self.traded(at) - self._traded_before(at), 8)
            if qty <= 0.0:
                if price == earlier:
                    continue
                qty = lot.value(1)
            side, direction = self.taker(at, price, earlier)
            made.append(MarketTrade(at, price, qty, side, direction))
        return made

    def price_before(self, trade_ms: int) -> float:
        """Return the price of the trade before the one at ``trade_ms``."""
        if trade_ms <= self.start_ms:
            return self.before
        return self.price(self.latest_trade(trade_ms - 1))

    def _traded_before(self, trade_ms: int) -> float:
        return self.traded(self.latest_trade(trade_ms - 1)) if trade_ms > self.start_ms else 0.0

    def taker(self, trade_ms: int, price: float, earlier: float) -> tuple[Side, str]:
        """Return taker's side and tick direction: a buyer if the price rose, by chance if it did not move."""
        if price > earlier:
            return "Buy", "PlusTick"
        if price < earlier:
            return "Sell", "MinusTick"
        if uniform(self.contract.seed, trade_ms, self.bar.symbol) < 0.5:
            return "Buy", "ZeroPlusTick"
        return "Sell", "ZeroMinusTick"
