"""Round trips: fills become trades, and trades become figures."""

import math
from collections.abc import Sequence
from decimal import Context, Decimal

import msgspec
import numpy as np

from bot.domain.ledger import Fill
from bot.domain.messages import FundingPaid
from bot.domain.money import ZERO
from bot.domain.orders import Side, sign
from bot.metrics.defined import Floats, Metrics, Times, deviation, ratio


class Trade(msgspec.Struct, frozen=True):
    """One round trip of one symbol, from flat to flat.

    ``side`` is the entry's side. ``qty`` is the total base quantity that entered; ``entry_price`` and
    ``exit_price`` are averages. ``pnl_quote`` is the change of cash: after ``fees_quote``, including
    ``funding_quote`` (received minus paid). ``mae_frac`` ≤ 0 and ``mfe_frac`` ≥ 0 are the worst and the best
    price of the bars in which the trade was open, as fractions of the entry price. The first and the last of
    these bars count as a whole.
    """

    symbol: str
    side: Side
    qty: Decimal
    entry_ms: int
    exit_ms: int
    entry_price: Decimal
    exit_price: Decimal
    pnl_quote: Decimal
    fees_quote: Decimal
    funding_quote: Decimal = ZERO
    bars_held: int | None = None
    mae_frac: float | None = None
    mfe_frac: float | None = None

    @property
    def return_frac(self) -> float:
        """Net result as a fraction of the entry value."""
        return float(self.pnl_quote / (self.qty * self.entry_price))


_EXACT = Context(prec=100)
"""Precise enough that sums and products of prices, quantities and fees never round."""
_FEE_GRID = Decimal("1e-18")


def round_trips(
    fills: Sequence[Fill], *, funding: Sequence[FundingPaid] = (), interval_ms: int | None = None
) -> list[Trade]:
    """Return the closed trades in order of exit. Scaling in and out is one trade; a flip makes two.

    Args: ``fills`` in time order; ``interval_ms``, if given, sets ``bars_held``.

    The sums are exact: when every symbol ends flat, ``Σ pnl_quote`` equals the cash that fills and funding
    moved, to the last digit. Funding of an instant is settled before the fills of that instant and belongs to
    the open trade. A position that is still open at the end is not a trade.
    """
    open_trips: dict[str, _Trip] = {}
    trades: list[Trade] = []
    payments = sorted(funding, key=lambda paid: paid.ts_ms)
    settled = 0
    for fill in fills:
        while settled < len(payments) and payments[settled].ts_ms <= fill.ts_ms:
            _settle(open_trips, payments[settled])
            settled += 1
        _book(open_trips, trades, fill, interval_ms)
    return trades


class _Trip:
    """An open trade with exact running sums."""

    def __init__(self, fill: Fill) -> None:
        self.side: Side = fill.side
        self.entry_ms = fill.ts_ms
        self.qty = self.entered = self.entry_value = self.exit_value = self.fees = self.funding = ZERO

    def add(self, fill: Fill, qty: Decimal, fee: Decimal) -> None:
        """Book ``qty`` of ``fill``. On the closing side ``qty`` is never more than the open quantity."""
        value = _EXACT.multiply(qty, fill.price)
        self.fees = _EXACT.add(self.fees, fee)
        if fill.side == self.side:
            self.qty = _EXACT.add(self.qty, qty)
            self.entered = _EXACT.add(self.entered, qty)
            self.entry_value = _EXACT.add(self.entry_value, value)
        else:
            self.qty = _EXACT.subtract(self.qty, qty)
            self.exit_value = _EXACT.add(self.exit_value, value)

    def close(self, fill: Fill, interval_ms: int | None) -> Trade:
        """Return the finished trade."""
        gain = _EXACT.multiply(_EXACT.subtract(self.exit_value, self.entry_value), Decimal(sign(self.side)))
        return Trade(
            symbol=fill.symbol,
            side=self.side,
            qty=self.entered,
            entry_ms=self.entry_ms,
            exit_ms=fill.ts_ms,
            entry_price=self.entry_value / self.entered,
            exit_price=self.exit_value / self.entered,
            pnl_quote=_EXACT.add(_EXACT.subtract(gain, self.fees), self.funding),
            fees_quote=self.fees,
            funding_quote=self.funding,
            bars_held=None if interval_ms is None else (fill.ts_ms - self.entry_ms) // interval_ms,
        )


def _settle(open_trips: dict[str, _Trip], paid: FundingPaid) -> None:
    trip = open_trips.get(paid.symbol)
    if trip is not None:
        trip.funding = _EXACT.add(trip.funding, paid.amount_quote)


def _book(open_trips: dict[str, _Trip], trades: list[Trade], fill: Fill, interval_ms: int | None) -> None:
    """Book one fill: open, scale or close the symbol's trade. The part beyond zero opens the next trade."""
    qty, fee = fill.qty, fill.fee_quote
    trip = open_trips.get(fill.symbol)
    if trip is not None and fill.side != trip.side:
        closing = min(qty, trip.qty)
        share = fee if closing == qty else _fee_share(fee, closing, qty)
        trip.add(fill, closing, share)
        qty, fee = _EXACT.subtract(qty, closing), _EXACT.subtract(fee, share)
        if not trip.qty:
            trades.append(open_trips.pop(fill.symbol).close(fill, interval_ms))
    if qty:
        open_trips.setdefault(fill.symbol, _Trip(fill)).add(fill, qty, fee)


def _fee_share(fee: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """Return ``fee × part / whole``, rounded to a grid so that the rest of the fee stays exact."""
    return _EXACT.quantize(_EXACT.divide(_EXACT.multiply(fee, part), whole), _FEE_GRID)


def with_excursions(trades: Sequence[Trade], start_ms: Times, high: Floats, low: Floats) -> list[Trade]:
    """Return the trades with ``mae_frac`` and ``mfe_frac`` (Sweeney 1996) from the bars of their symbol.

    Uses every bar from the one that contains the entry to the last one that opens before the exit, and the
    exit price. So the first and the last bar count as a whole, also their part before the entry and after the
    exit.
    """
    first = np.maximum(
        np.searchsorted(start_ms, [trade.entry_ms for trade in trades], side="right") - 1, 0
    ).tolist()
    after = np.searchsorted(start_ms, [trade.exit_ms for trade in trades], side="left").tolist()
    out = []
    for trade, a, b in zip(trades, first, after, strict=True):
        entry, exit_ = float(trade.entry_price), float(trade.exit_price)
        top = max(float(high[a:b].max(initial=0.0)), exit_, entry) / entry - 1.0
        bottom = min(float(low[a:b].min(initial=math.inf)), exit_, entry) / entry - 1.0
        worst, best = (bottom, top) if trade.side == "Buy" else (-top, -bottom)
        out.append(msgspec.structs.replace(trade, mae_frac=worst, mfe_frac=best))
    return out


# Statistics of trades: arrays of net results in quote, (trades,)


def profit_factor(pnl: Floats) -> float | None:
    """Return ``Σ gains / |Σ losses|``. None without a losing trade."""
    return ratio(float(pnl[pnl > 0.0].sum()), -float(pnl[pnl < 0.0].sum()))


def win_rate(pnl: Floats) -> float | None:
    """Return the share of trades with a profit after fees. None without trades."""
    return float(np.mean(pnl > 0.0)) if len(pnl) else None


def expectancy(pnl: Floats) -> float | None:
    """Return the mean net result of a trade, in quote. None without trades."""
    return float(np.mean(pnl)) if len(pnl) else None


def sqn(pnl: Floats) -> float | None:
    """Return the system quality number ``√n · mean / std(ddof=1)`` (Van Tharp 2008).

    None below two trades, or if all results are equal.
    """
    if len(pnl) < 2:
        return None
    return ratio(float(np.mean(pnl)), deviation(pnl), math.sqrt(len(pnl)))


def longest_losing_streak(pnl: Floats) -> int:
    """Return the largest number of trades in a row without a profit."""
    longest = current = 0
    for lost in (pnl <= 0.0).tolist():
        current = current + 1 if lost else 0
        longest = max(longest, current)
    return longest


def trade_summary(trades: Sequence[Trade]) -> Metrics:
    """Return the figures of the round trips. Money in quote, after fees and including funding."""
    pnl = np.array([float(trade.pnl_quote) for trade in trades])
    held_ms = [trade.exit_ms - trade.entry_ms for trade in trades]
    return {
        "trades": len(trades),
        "win_rate": win_rate(pnl),
        "profit_factor": profit_factor(pnl),
        "expectancy": expectancy(pnl),
        "sqn": sqn(pnl),
        "best_trade": float(pnl.max()) if len(pnl) else None,
        "worst_trade": float(pnl.min()) if len(pnl) else None,
        "longest_losing_streak": longest_losing_streak(pnl),
        "mean_hours_held": float(np.mean(held_ms)) / 3_600_000 if held_ms else None,
    }
