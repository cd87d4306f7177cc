"""Buy and hold, the benchmark of a backtest: it pays fee, half-spread and funding like every strategy.

It decides at the first close, buys each symbol in equal parts at the next bar's open, and holds. That is what
the engine does with the strategy ``buy_and_hold``, except that its orders move no price and always fill.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bot.adapters.files.candles import Candles, Funding
from bot.exchange.terms import Terms
from bot.metrics import Metrics

Floats = NDArray[np.float64]
Times = NDArray[np.int64]


@dataclass(frozen=True)
class Held:
    """The equity of buy and hold at given times, quote, and what it paid in all."""

    equity: Floats
    fees_quote: float = 0.0
    slippage_quote: float = 0.0
    funding_quote: float = 0.0
    """Received minus paid."""

    @property
    def costs(self) -> Metrics:
        """The costs by the names of ``metrics.summary``."""
        return {"fees": self.fees_quote, "slippage": self.slippage_quote, "funding": self.funding_quote}


def hold(
    candles: Sequence[Candles],
    funding: Sequence[Funding],
    terms: Terms,
    ts_ms: Times,
    initial_quote: float,
    *,
    settled: bool,
) -> Held:
    """Return what buying each symbol in equal parts and holding it is worth at the times ``ts_ms``.

    ``settled``: at the last of them every position is closed for the taker fee, as a backtest ends. A symbol
    that is listed later is bought then; one that ends earlier keeps its last price.
    """
    if not len(ts_ms):
        return Held(np.empty(0))
    rates: Mapping[str, Funding] = {each.symbol: each for each in funding}
    budget = initial_quote / len(candles)
    each_held = [
        _hold_one(one, rates.get(one.symbol), terms, ts_ms, budget, settled=settled) for one in candles
    ]
    return Held(
        np.sum([one.equity for one in each_held], axis=0),
        sum(one.fees_quote for one in each_held),
        sum(one.slippage_quote for one in each_held),
        sum(one.funding_quote for one in each_held),
    )


def _hold_one(
    candles: Candles, rates: Funding | None, terms: Terms, ts_ms: Times, budget: float, *, settled: bool
) -> Held:
    opens, closes = candles.ohlcv[:, 0], candles.ohlcv[:, 3]
    close_ms = candles.start_ms + candles.interval_ms
    decided = int(np.searchsorted(close_ms, ts_ms[0]))
    entry = decided + 1
    if entry >= len(candles) or candles.start_ms[entry] >= ts_ms[-1]:
        return Held(np.full(len(ts_ms), budget))
    entry_ms = int(candles.start_ms[entry])
    fee_frac, half_spread_frac = float(terms.taker_fee_frac), float(terms.half_spread_frac(candles.symbol))
    qty = budget / float(closes[decided])
    price = float(opens[entry]) * (1.0 + half_spread_frac)
    fee = fee_frac * qty * price

    def mark(at_ms: Times) -> Floats:
        at = np.searchsorted(close_ms, at_ms, side="right") - 1
        return closes[np.clip(at, decided, len(closes) - 1)]

    paid_ms, paid = _funding(rates, entry_ms, int(ts_ms[-1]), qty, mark)
    # A settlement at the instant of a close comes after the mark of that close; the end includes it.
    received = np.append(0.0, np.cumsum(paid))
    held = ts_ms > entry_ms
    profit = qty * (mark(ts_ms) - price) - fee + received[np.searchsorted(paid_ms, ts_ms)]
    equity = budget + np.where(held, profit, 0.0)
    exit_fee = 0.0
    if settled:
        exit_fee = fee_frac * qty * float(mark(ts_ms[-1:])[0])
        equity[-1] = budget + qty * float(mark(ts_ms[-1:])[0] - price) - fee - exit_fee + received[-1]
    funding = received[-1] if settled else received[np.searchsorted(paid_ms, ts_ms[-1])]
    slippage = qty * (price - float(opens[entry]))
    return Held(equity, fee + exit_fee, slippage, float(funding))


def _funding(
    rates: Funding | None, after_ms: int, to_ms: int, qty: float, mark: Callable[[Times], Floats]
) -> tuple[Times, Floats]:
    """Return the settlements of a position that was opened at ``after_ms``: times and amounts received."""
    if rates is None:
        return np.empty(0, np.int64), np.empty(0)
    due = (rates.start_ms > after_ms) & (rates.start_ms <= to_ms)
    times = rates.start_ms[due]
    return times, -qty * mark(times) * rates.rate[due]
