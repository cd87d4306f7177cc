"""Candle files as the events that a feed would have sent, in the order of ``domain.messages``."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from bot.adapters.files.candles import Candles, Funding
from bot.domain.errors import BadInput
from bot.domain.market import Bar
from bot.domain.messages import BarsClosed, FundingRate
from bot.domain.money import to_decimal


@dataclass(frozen=True)
class History:
    """The candles and funding rates of one run, one file for each symbol.

    Raises:
        BadInput: two files for one symbol.
    """

    candles: tuple[Candles, ...]
    funding: tuple[Funding, ...] = ()

    def __post_init__(self) -> None:
        symbols = [each.symbol for each in self.candles]
        twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
        if twice:
            raise BadInput(
                f"--data: more than one candle file for {', '.join(twice)}; give one file a symbol"
            )

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols in the order of their bars within a close."""
        return tuple(sorted(each.symbol for each in self.candles))

    def events(self, from_ms: int = 0, to_ms: int | None = None) -> Iterator[BarsClosed | FundingRate]:
        """Return closes of bars that open in ``[from_ms, to_ms)``, with the rates settled until the last."""
        closes, rates = self._closes(from_ms, to_ms), _rates(self.funding, from_ms)
        return _with_rates(closes, iter(rates)) if rates else closes

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


def _with_rates(
    closes: Iterator[BarsClosed], rates: Iterator[FundingRate]
) -> Iterator[BarsClosed | FundingRate]:
    due = next(rates, None)
    last_ms = 0
    for closed in closes:
        while due is not None and due.ts_ms < closed.close_ms:
            yield due
            due = next(rates, None)
        yield closed
        last_ms = closed.close_ms
    while due is not None and due.ts_ms <= last_ms:  # a position held to the end still pays
        yield due
        due = next(rates, None)


def _bars(candles: Candles, from_ms: int, to_ms: int | None) -> Iterator[Bar]:
    first, last = candles.start_ms.searchsorted([from_ms, to_ms if to_ms is not None else 1 << 62])
    return candles.bars(int(first), int(last))


def _close_key(bar: Bar) -> tuple[int, int]:
    return bar.start_ms + bar.interval_ms, bar.interval_ms


def _rates(funding: Iterable[Funding], from_ms: int) -> list[FundingRate]:
    """Return the rates settled after ``from_ms``, and the last earlier one of each symbol."""
    rates = []
    for each in funding:
        first = max(0, int(each.start_ms.searchsorted(from_ms, side="right")) - 1)
        for ts_ms, rate in zip(each.start_ms[first:].tolist(), each.rate[first:].tolist(), strict=True):
            rates.append(FundingRate(ts_ms, each.symbol, to_decimal(rate)))
    return sorted(rates, key=lambda rate: (rate.ts_ms, rate.symbol))
