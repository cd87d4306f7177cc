"""Figures of a run: pure functions of an equity curve, its fills and its round trips.

Ratios use the returns of whole UTC days and a year of 365 days. The part of a day at the start or the end of
a curve is left out of them, because its return is of a shorter time. Total return, drawdown and CAGR use
every value; CAGR counts the real length. On whole days all equal empyrical-reloaded at ``annualization=365``.
An undefined figure is None, never 0, NaN or infinity: a ratio whose returns are all equal, a profit factor
without losses, a CAGR of less than 30 days; ``why_undefined`` says why. ``summary`` returns all figures;
``round_trips`` turns fills into trades; ``day_bootstrap`` and ``deflated_sharpe`` say how much a figure can
be trusted.
"""

import math
from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from statistics import NormalDist
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bot.domain.ledger import Fill
from bot.domain.market import DAY_MS
from bot.domain.messages import FundingPaid
from bot.domain.money import ZERO
from bot.domain.orders import Side, sign

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
Metrics = dict[str, float | int | None]

YEAR_DAYS = 365
"""Crypto trades every day."""
CAGR_DAYS_MIN = 30
"""A shorter run has no CAGR: a few lucky days would be raised to a power of twelve or more."""


# Daily equity and its returns


def daily_equity(ts_ms: Times, equity: Floats) -> tuple[Times, Floats]:
    """Return the first value and then the last value of each UTC day, so that no return is lost.

    A value at exactly midnight belongs to the day that ends then (a bar's close is its end). A day without
    values keeps the last value, so its return is 0. Returns the times (day ends; the last one is the time of
    the last value) and the equity, both ``(days + 1,)``, or ``(days,)`` if the first value is also the last
    value of its day.
    """
    if len(ts_ms) == 0:
        return np.empty(0, np.int64), np.empty(0)
    day = (np.asarray(ts_ms) - 1) // DAY_MS
    days = np.arange(day[0], day[-1] + 1)
    last = np.searchsorted(day, days, side="right") - 1
    ends = np.minimum((days + 1) * DAY_MS, ts_ms[-1])
    if last[0] > 0:
        last, ends = np.append(0, last), np.append(ts_ms[0], ends)
    return ends, np.asarray(equity, np.float64)[last]


def whole_day_returns(ts_ms: Times, equity: Floats) -> tuple[Times, Floats]:
    """Return the ends and the returns of the UTC days that the curve covers from midnight to midnight.

    A curve that begins or ends within a day has no return for that day: it would be one of a shorter time.
    Stops after the day that ruins the account. Both are ``(whole days,)``.
    """
    ends, daily = daily_equity(ts_ms, equity)
    returns = simple_returns(daily)
    whole = (np.diff(ends) == DAY_MS)[: len(returns)]
    return ends[1 : len(returns) + 1][whole], returns[whole]


def length_days(ts_ms: Times) -> float:
    """Return the time from the first to the last value, in days; 0 without values."""
    return float(ts_ms[-1] - ts_ms[0]) / DAY_MS if len(ts_ms) else 0.0


def simple_returns(equity: Floats) -> Floats:
    """Return ``equity[t] / equity[t-1] − 1``. Stops after the return that ruins the account (equity ≤ 0)."""
    ruined = np.flatnonzero(equity <= 0.0)
    alive = equity[: ruined[0] + 1] if ruined.size else equity
    return alive[1:] / alive[:-1] - 1.0


def monthly_returns(ts_ms: Times, equity: Floats) -> list[tuple[int, int, float]]:
    """Return ``(year, month, return)`` per UTC month. Together the months compound to the total return.

    The first and the last month cover only the days in the data.
    """
    ends, daily = daily_equity(ts_ms, equity)
    if len(daily) < 2:
        return []
    growth = 1.0 + simple_returns(daily)
    month = ((ends[1 : len(growth) + 1] - 1).astype("datetime64[ms]")).astype("datetime64[M]").astype(int)
    months, first = np.unique(month, return_index=True)
    products = np.multiply.reduceat(growth, first)
    return [
        (1970 + int(m) // 12, int(m) % 12 + 1, float(g) - 1.0) for m, g in zip(months, products, strict=True)
    ]


def rolling_sharpe(returns: Floats, window_days: int) -> Floats:
    """Return the annual Sharpe ratio of the last ``window_days`` returns, ``(len(returns),)``.

    NaN where the ratio is undefined.
    """
    out = np.full(len(returns), np.nan)
    for end in range(window_days, len(returns) + 1):
        ratio = sharpe(returns[end - window_days : end])
        out[end - 1] = np.nan if ratio is None else ratio
    return out


# Ratios of daily returns


def volatility(returns: Floats) -> float | None:
    """Return the annual volatility ``std(r, ddof=1) · √365``, a fraction. None below two returns."""
    if len(returns) < 2:
        return None
    return _finite(_deviation(returns) * math.sqrt(YEAR_DAYS))


def sharpe(returns: Floats) -> float | None:
    """Return ``mean(r) / std(r, ddof=1) · √365``: risk-free rate 0 (Sharpe 1994).

    None if all returns are equal or there are fewer than two.
    """
    if len(returns) < 2:
        return None
    return _ratio(float(np.mean(returns)), _deviation(returns), math.sqrt(YEAR_DAYS))


def sortino(returns: Floats) -> float | None:
    """Return ``mean(r) · 365 / (√mean(min(r, 0)²) · √365)`` (Sortino & van der Meer 1991).

    None without a loss or below two returns.
    """
    if len(returns) < 2:
        return None
    downside = math.sqrt(float(np.mean(np.square(np.minimum(returns, 0.0)))))
    return _ratio(float(np.mean(returns)) * YEAR_DAYS, downside * math.sqrt(YEAR_DAYS))


def cagr(returns: Floats, days: float | None = None) -> float | None:
    """Return ``Π(1 + r)^(365 / days) − 1``, the yearly rate that compounds to the result.

    ``days`` is the time that the returns cover together; None if each covers one day. None below two returns
    of one day.
    """
    if days is None and len(returns) < 2:
        return None
    growth = float(np.prod(1.0 + returns))
    if growth < 0.0:
        return None
    with np.errstate(over="ignore"):
        return _finite(float(np.power(growth, YEAR_DAYS / (len(returns) if days is None else days))) - 1.0)


def max_drawdown(returns: Floats) -> float | None:
    """Return ``min(equity / running peak) − 1``, a fraction ≤ 0. The start counts as a peak.

    None without returns.
    """
    if len(returns) == 0:
        return None
    wealth = np.append(1.0, np.cumprod(1.0 + returns))
    peak = np.maximum.accumulate(wealth)
    return float(np.min((wealth - peak) / peak))


def calmar(returns: Floats, days: float | None = None) -> float | None:
    """Return ``cagr / |max_drawdown|`` (Young 1991); ``days`` as in ``cagr``. None without a drawdown."""
    growth, drawdown = cagr(returns, days), max_drawdown(returns)
    if growth is None or drawdown is None:
        return None
    return _ratio(growth, abs(drawdown))


class Drawdown(msgspec.Struct, frozen=True):
    """The deepest fall from a peak: ``depth_frac`` < 0.

    ``end_ms`` is when the old peak is reached again (``recovered``), or the end of the data.
    """

    depth_frac: float
    peak_ms: int
    trough_ms: int
    end_ms: int
    recovered: bool

    @property
    def duration_ms(self) -> int:
        """Time from the peak to the recovery, or to the end of the data."""
        return self.end_ms - self.peak_ms


def deepest_drawdown(ts_ms: Times, equity: Floats) -> Drawdown | None:
    """Return the deepest drawdown and its times.

    None for an empty curve, for a start at or below 0, or if the curve never falls.
    """
    if len(equity) == 0 or equity[0] <= 0.0:
        return None
    peak = np.maximum.accumulate(equity)
    below = equity / peak - 1.0
    trough = int(np.argmin(below))
    if below[trough] >= 0.0:
        return None
    start = int(np.flatnonzero(equity[:trough] == peak[trough])[-1])
    back = np.flatnonzero(equity[trough:] >= peak[trough])
    end = trough + int(back[0]) if back.size else len(equity) - 1
    return Drawdown(
        float(below[trough]), int(ts_ms[start]), int(ts_ms[trough]), int(ts_ms[end]), bool(back.size)
    )


def _deviation(returns: Floats) -> float:
    """Return the sample standard deviation; exactly 0 for values that are equal but for rounding.

    A return is a quotient near 1, so equal moves of an equity curve differ by up to a few 1e-16.
    """
    return float(np.std(returns, ddof=1)) if np.ptp(returns) > 1e-14 else 0.0


def _ratio(numerator: float, denominator: float, factor: float = 1.0) -> float | None:
    return _finite(numerator / denominator * factor) if denominator > 0.0 else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


# Round trips


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
    return _ratio(float(pnl[pnl > 0.0].sum()), -float(pnl[pnl < 0.0].sum()))


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
    return _ratio(float(np.mean(pnl)), _deviation(pnl), math.sqrt(len(pnl)))


def longest_losing_streak(pnl: Floats) -> int:
    """Return the largest number of trades in a row without a profit."""
    longest = current = 0
    for lost in (pnl <= 0.0).tolist():
        current = current + 1 if lost else 0
        longest = max(longest, current)
    return longest


# Activity


def exposure(notional: Floats) -> float | None:
    """Return the share of bars with an open position. None without bars.

    ``notional`` is the position value at each bar.
    """
    return float(np.mean(notional != 0.0)) if len(notional) else None


def turnover(ts_ms: Times, equity: Floats, traded_quote: float) -> float | None:
    """Return how often a year the account is traded: ``traded value / mean equity · 365 days / length``."""
    if len(ts_ms) < 2 or ts_ms[-1] <= ts_ms[0]:
        return None
    years = float(ts_ms[-1] - ts_ms[0]) / (YEAR_DAYS * DAY_MS)
    return _ratio(traded_quote / years, float(np.mean(equity)))


# The tables


def curve_summary(ts_ms: Times, equity: Floats) -> Metrics:
    """Return the figures of an equity curve: the same rows for a strategy and for buy and hold.

    ``ts_ms`` ``(T,)`` ascending; pass the starting equity as the first value. Fractions, not percent.
    ``max_drawdown`` uses day ends, ``max_drawdown_intraday`` uses every value. ``days`` is the number of
    whole days, whose returns the ratios use; ``length_days`` the whole time.
    """
    day_ends, daily = daily_equity(ts_ms, equity)
    every, (_, returns) = simple_returns(daily), whole_day_returns(ts_ms, equity)
    length = length_days(ts_ms)
    yearly = length >= CAGR_DAYS_MIN
    deepest = deepest_drawdown(day_ends, daily)
    within = deepest_drawdown(ts_ms, np.asarray(equity, np.float64))
    return {
        "total_return": _ratio(float(daily[-1] - daily[0]), float(daily[0])) if len(daily) > 1 else None,
        "cagr": cagr(every, length) if yearly else None,
        "volatility": volatility(returns),
        "sharpe": sharpe(returns),
        "sortino": sortino(returns),
        "calmar": calmar(every, length) if yearly else None,
        "max_drawdown": max_drawdown(every),
        "max_drawdown_days": deepest.duration_ms / DAY_MS if deepest else None,
        "max_drawdown_intraday": within.depth_frac if within else max_drawdown(simple_returns(equity)),
        "days": len(returns),
        "length_days": length,
    }


def why_undefined(figures: Metrics) -> dict[str, str]:
    """Return, for each figure of ``curve_summary`` or ``summary`` that is None, why, in words."""
    return {name: _why(name, figures) for name, value in figures.items() if value is None}


def _why(name: str, figures: Metrics) -> str:
    days, length = figures.get("days") or 0, figures.get("length_days") or 0.0
    if not length:
        return "there are no bars to measure"
    if name in ("cagr", "calmar") and length < CAGR_DAYS_MIN:
        return f"the time measured is {length:.4g} days; a yearly rate needs {CAGR_DAYS_MIN}"
    if name in ("sharpe", "sortino", "volatility", "deflated_sharpe") and days < 2:
        return f"{days} whole UTC days are measured; it needs 2"
    if name in _OF_TRADES and not figures.get("trades"):
        return "there are no trades"
    return _UNDEFINED.get(name, "the account falls to zero or below")


_OF_TRADES = (
    "win_rate",
    "profit_factor",
    "expectancy",
    "sqn",
    "best_trade",
    "worst_trade",
    "mean_hours_held",
)
_UNDEFINED = {
    "sharpe": "all daily returns are equal",
    "deflated_sharpe": "all daily returns are equal",
    "sortino": "no day lost",
    "calmar": "the equity never fell",
    "max_drawdown_days": "the equity never fell",
    "profit_factor": "no trade lost",
    "sqn": "it needs two trades with different results",
}


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


def summary(
    ts_ms: Times,
    equity: Floats,
    *,
    notional: Floats,
    trades: Sequence[Trade],
    fills: Sequence[Fill],
    funding_quote: Decimal = ZERO,
    trials: int | None = None,
) -> Metrics:
    """Return every metric of a run by name; None where undefined.

    ``ts_ms``, ``equity`` and ``notional`` are ``(T,)``, one per bar's close. ``notional`` is the signed
    position value; only whether it is 0 matters. ``funding_quote`` is received minus paid. ``trials`` is how
    many settings were tried before this run; it adds ``deflated_sharpe``.
    """
    notional = np.asarray(notional, np.float64)
    traded = float(sum((fill.qty * fill.price for fill in fills), ZERO))
    out = curve_summary(ts_ms, equity) | trade_summary(trades)
    out |= {
        "exposure": exposure(notional),
        "turnover": turnover(ts_ms, equity, traded),
        "fills": len(fills),
        "traded_notional": traded,
        "net_pnl": float(equity[-1] - equity[0]) if len(equity) else None,
        "fees": float(sum((fill.fee_quote for fill in fills), ZERO)),
        "slippage": float(sum((fill.slippage_quote for fill in fills), ZERO)),
        "funding": float(funding_quote),
    }
    if trials is not None:
        out["deflated_sharpe"] = deflated_sharpe(whole_day_returns(ts_ms, equity)[1], trials)
    return out


# How much to trust a figure


class Estimate(NamedTuple):
    """A figure and its interval: ``low`` and ``high``."""

    value: float
    low: float
    high: float


def _mean(values: Floats) -> float:
    return float(np.mean(values))


def day_bootstrap(
    values_by_day: Floats,
    statistic: Callable[[Floats], float] = _mean,
    *,
    seed: int,
    n: int = 1000,
    level: float = 0.95,
) -> Estimate | None:
    """Return the percentile interval of ``statistic`` from whole days drawn with replacement (Efron 1979).

    ``values_by_day`` is ``(days,)`` or ``(days, columns)``: one row per day, for example the day's mean loss
    of a model minus the loss of a baseline, or its sums and counts. ``statistic`` is called with the same
    number of rows. Days are drawn, not bars, because bars of one day are not independent. None below two days
    or if a draw is undefined.
    """
    values = np.asarray(values_by_day, np.float64)
    if len(values) < 2:
        return None
    rng = np.random.default_rng(seed)
    draws = np.array([statistic(values[rng.integers(0, len(values), len(values))]) for _ in range(n)])
    value = statistic(values)
    if not (math.isfinite(value) and np.isfinite(draws).all()):
        return None
    low, high = np.quantile(draws, ((1.0 - level) / 2.0, (1.0 + level) / 2.0))
    return Estimate(value, float(low), float(high))


def qlike(rv: Floats, forecast: Floats) -> float | None:
    """Return ``mean(rv/f − ln(rv/f) − 1)`` (Patton 2011): 0 for a perfect forecast of variance.

    None without rows, or if a value is not positive and finite.
    """
    if len(rv) == 0 or not (np.all(rv > 0.0) and np.all(forecast > 0.0)):
        return None
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        ratio = rv / forecast
        return _finite(float(np.mean(ratio - np.log(ratio) - 1.0)))


def deflated_sharpe(returns: Floats, trials: int, trial_variance: float | None = None) -> float | None:
    """Return the probability that the true Sharpe ratio beats the best of ``trials`` runs without skill.

    ``trial_variance`` is the variance of the daily (not annual) Sharpe ratios of the trials. If None, it is
    the variance of trials without skill, ``1 / (n − 1)``. A result below 0.95 may be luck.
    """
    daily = sharpe(returns)
    if daily is None:
        return None
    standard = (returns - np.mean(returns)) / np.std(returns)
    return deflated_probability(
        daily / math.sqrt(YEAR_DAYS),
        days=len(returns),
        skew=float(np.mean(standard**3)),
        kurtosis=float(np.mean(standard**4)),
        trials=trials,
        trial_variance=1.0 / (len(returns) - 1) if trial_variance is None else trial_variance,
    )


def deflated_probability(
    daily_sharpe: float, *, days: int, skew: float, kurtosis: float, trials: int, trial_variance: float
) -> float | None:
    """Return ``Φ((SR − SR₀) √(n−1) / √(1 − γ₃ SR + (γ₄ − 1)/4 SR²))`` (Bailey & López de Prado 2014).

    ``SR₀ = √V ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e)))`` with Euler's γ. For one trial ``SR₀`` is 0 and
    the result is the probabilistic Sharpe ratio. ``kurtosis`` is 3 for a normal distribution.
    """
    normal = NormalDist()
    benchmark = 0.0
    if trials > 1:
        best = (1.0 - np.euler_gamma) * normal.inv_cdf(1.0 - 1.0 / trials)
        best += np.euler_gamma * normal.inv_cdf(1.0 - 1.0 / (trials * math.e))
        benchmark = math.sqrt(trial_variance) * best
    variance = 1.0 - skew * daily_sharpe + (kurtosis - 1.0) / 4.0 * daily_sharpe**2
    if not variance > 0.0:
        return None
    return normal.cdf((daily_sharpe - benchmark) * math.sqrt(days - 1.0) / math.sqrt(variance))
