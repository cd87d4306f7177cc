"""The tables: every figure of a run by name, and why one is undefined."""

from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from bot.domain.ledger import Fill
from bot.domain.market import DAY_MS
from bot.domain.money import ZERO
from bot.metrics.curve import (
    YEAR_DAYS,
    cagr,
    calmar,
    daily_equity,
    deepest_drawdown,
    length_days,
    max_drawdown,
    sharpe,
    simple_returns,
    sortino,
    volatility,
    whole_day_returns,
)
from bot.metrics.defined import Floats, Metrics, Times, ratio
from bot.metrics.luck import deflated_sharpe
from bot.metrics.trades import Trade, trade_summary

CAGR_DAYS_MIN = 30
"""A shorter run has no CAGR: a few lucky days would be raised to a power of twelve or more."""


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
        "total_return": ratio(float(daily[-1] - daily[0]), float(daily[0])) if len(daily) > 1 else None,
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
    return ratio(traded_quote / years, float(np.mean(equity)))


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
