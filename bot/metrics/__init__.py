"""Figures of a run: pure functions of an equity curve, its fills and its round trips.

Ratios use the returns of whole UTC days and a year of 365 days. The part of a day at the start or the end of
a curve is left out of them, because its return is of a shorter time. Total return, drawdown and CAGR use
every value; CAGR counts the real length. On whole days all equal empyrical-reloaded at ``annualization=365``.
An undefined figure is None, never 0, NaN or infinity: a ratio whose returns are all equal, a profit factor
without losses, a CAGR of less than 30 days; ``why_undefined`` says why.

Imports the domain only. Read ``figures.py`` first: ``summary`` returns all figures of a run. ``curve.py`` has
those of an equity curve, ``trades.py`` turns fills into round trips, ``forecasts.py`` judges a forecast, and
``luck.py`` says how much a figure can be trusted.
"""

from bot.metrics.curve import (
    YEAR_DAYS,
    Drawdown,
    cagr,
    calmar,
    daily_equity,
    deepest_drawdown,
    length_days,
    max_drawdown,
    monthly_returns,
    rolling_sharpe,
    sharpe,
    simple_returns,
    sortino,
    volatility,
    whole_day_returns,
)
from bot.metrics.defined import Floats, Metrics, Times
from bot.metrics.figures import CAGR_DAYS_MIN, curve_summary, exposure, summary, turnover, why_undefined
from bot.metrics.forecasts import qlike
from bot.metrics.luck import Estimate, day_bootstrap, deflated_probability, deflated_sharpe, too_good
from bot.metrics.trades import (
    Trade,
    expectancy,
    longest_losing_streak,
    profit_factor,
    round_trips,
    sqn,
    trade_summary,
    win_rate,
    with_excursions,
)

__all__ = [
    "CAGR_DAYS_MIN",
    "YEAR_DAYS",
    "Drawdown",
    "Estimate",
    "Floats",
    "Metrics",
    "Times",
    "Trade",
    "cagr",
    "calmar",
    "curve_summary",
    "daily_equity",
    "day_bootstrap",
    "deepest_drawdown",
    "deflated_probability",
    "deflated_sharpe",
    "expectancy",
    "exposure",
    "length_days",
    "longest_losing_streak",
    "max_drawdown",
    "monthly_returns",
    "profit_factor",
    "qlike",
    "rolling_sharpe",
    "round_trips",
    "sharpe",
    "simple_returns",
    "sortino",
    "sqn",
    "summary",
    "too_good",
    "trade_summary",
    "turnover",
    "volatility",
    "whole_day_returns",
    "why_undefined",
    "win_rate",
    "with_excursions",
]
