"""From a forecast variance to a size and a stop."""

from math import exp, sqrt

HOURS_PER_YEAR = 365 * 24
"""Crypto trades every hour of the year."""


def leverage_for(vol_target: float, hour_vol: float, max_leverage: float) -> float:
    """Position value over equity that makes the account swing by ``vol_target`` a year, capped.

    ``hour_vol`` is the forecast standard deviation of the hourly log return, > 0.
    """
    return min(vol_target / (hour_vol * sqrt(HOURS_PER_YEAR)), max_leverage)


def price_away(price: float, log_distance: float) -> float:
    """``price`` moved by a log return, cut to ±2 (a factor of 7.4), so a wild forecast is no overflow."""
    return price * exp(min(max(log_distance, -2.0), 2.0))
