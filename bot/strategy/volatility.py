"""From a forecast variance to a position size and a stop."""

from math import exp, sqrt

HOURS_PER_YEAR = 365 * 24
"""Crypto trades every hour of the year."""


def leverage_for(vol_target: float, hour_vol: float, max_leverage: float) -> float:
    """Return the position value over equity at which equity has a volatility of ``vol_target`` a year.

    At most ``max_leverage``. ``hour_vol`` is the forecast standard deviation of the hourly log return, > 0.
    """
    return min(vol_target / (hour_vol * sqrt(HOURS_PER_YEAR)), max_leverage)


def price_away(price: float, log_distance: float) -> float:
    """Return ``price`` moved by a log return. The return is cut to ±2 (a factor of 7.4), against overflow."""
    return price * exp(min(max(log_distance, -2.0), 2.0))
