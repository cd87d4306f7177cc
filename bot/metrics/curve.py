"""Figures of an equity curve: its daily returns, the ratios of these, and its drawdowns."""

import math

import msgspec
import numpy as np

from bot.domain.market import DAY_MS
from bot.metrics.defined import Floats, Times, deviation, finite, ratio

YEAR_DAYS = 365
"""Crypto trades every day."""


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


def volatility(returns: Floats) -> float | None:
    """Return the annual volatility ``std(r, ddof=1) · √365``, a fraction. None below two returns."""
    if len(returns) < 2:
        return None
    return finite(deviation(returns) * math.sqrt(YEAR_DAYS))


def sharpe(returns: Floats) -> float | None:
    """Return ``mean(r) / std(r, ddof=1) · √365``: risk-free rate 0 (Sharpe 1994).

    None if all returns are equal or there are fewer than two.
    """
    if len(returns) < 2:
        return None
    return ratio(float(np.mean(returns)), deviation(returns), math.sqrt(YEAR_DAYS))


def sortino(returns: Floats) -> float | None:
    """Return ``mean(r) · 365 / (√mean(min(r, 0)²) · √365)`` (Sortino & van der Meer 1991).

    None without a loss or below two returns.
    """
    if len(returns) < 2:
        return None
    downside = math.sqrt(float(np.mean(np.square(np.minimum(returns, 0.0)))))
    return ratio(float(np.mean(returns)) * YEAR_DAYS, downside * math.sqrt(YEAR_DAYS))


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
        return finite(float(np.power(growth, YEAR_DAYS / (len(returns) if days is None else days))) - 1.0)


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
    return ratio(growth, abs(drawdown))


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
