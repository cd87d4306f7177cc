"""Candle files as the events a feed would have sent, in the order ``domain.messages`` fixes."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

from bot.adapters.candles import Candles, Funding
from bot.domain.errors import BadInput
from bot.domain.market import Bar
from bot.domain.messages import BarsClosed, FundingRate
from bot.domain.money import to_decimal


@dataclass(frozen=True)
class History:
    """The candles and funding rates of one run: one file a symbol.

    Raises:
        BadInput: two files for one symbol.
    """

    candles: tuple[Candles, ...]
    funding: tuple[Funding, ...] = ()

    def __post_init__(self) -> None:
        symbols = [each.symbol for each in self.candles]
        twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
        if twice:
            raise BadInput(f"--data: more than one candle file for {', '.join(twice)}; give one file a symbol")

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols in the order their bars share a close."""
        return tuple(sorted(each.symbol for each in self.candles))

    def events(self, from_ms: int = 0, to_ms: int | None = None) -> Iterator[BarsClosed | FundingRate]:
        """Events of bars that open in ``[from_ms, to_ms)``, with the funding settled meanwhile."""
        closes = self._closes(from_ms, to_ms)
        rates = _rates(self.funding)
        due = next(rates, None)
        while due is not None and due.ts_ms <= from_ms:  # settled before the first bar: known from the start
            yield due
            due = next(rates, None)
        for closed in closes:
            while due is not None and due.ts_ms < closed.close_ms:
                yield due
                due = next(rates, None)
            yield closed

    def _closes(self, from_ms: int, to_ms: int | None) -> Iterator[BarsClosed]:
        if len(self.candles) == 1:
            (only,) = self.candles
            interval_ms = only.interval_ms
            for bar in _bars(only, from_ms, to_ms):
                yield BarsClosed(bar.start_ms + interval_ms, interval_ms, (bar,))
            return
        ordered = sorted(self.candles, key=lambda each: each.symbol)
        merged = heapq.merge(*(_bars(each, from_ms, to_ms) for each in ordered), key=_close_key)
        for (close_ms, interval_ms), bars in groupby(merged, key=_close_key):
            yield BarsClosed(close_ms, interval_ms, tuple(bars))


def _bars(candles: Candles, from_ms: int, to_ms: int | None) -> Iterator[Bar]:
    first, last = candles.start_ms.searchsorted([from_ms, to_ms if to_ms is not None else 1 << 62])
    return candles.bars(int(first), int(last))


def _close_key(bar: Bar) -> tuple[int, int]:
    return bar.start_ms + bar.interval_ms, bar.interval_ms


def _rates(funding: Iterable[Funding]) -> Iterator[FundingRate]:
    rates = [
        FundingRate(int(ts_ms), each.symbol, _rate(rate))
        for each in funding
        for ts_ms, rate in zip(each.start_ms.tolist(), each.rate.tolist(), strict=True)
    ]
    return iter(sorted(rates, key=lambda each: (each.ts_ms, each.symbol)))


def _rate(rate: float) -> Decimal:
    return to_decimal(rate)
