"""How numbers are written on a page: units, signs, decimals, UTC times, and the label of each metric."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from bot.service.moments import minute_cell

MISSING = "–"
"""Shown for an undefined or unknown value."""

Kind = Literal["percent", "ratio", "money", "count", "days", "hours", "times", "number"]


@dataclass(frozen=True, slots=True)
class Metric:
    """How one metric of ``metrics.summary`` is shown: its label, its unit and its meaning."""

    label: str
    kind: Kind
    meaning: str


METRICS: dict[str, Metric] = {
    "total_return": Metric("Total return", "percent", "final equity over starting equity, minus 1"),
    "net_pnl": Metric("Net result", "money", "final minus starting equity, after all costs"),
    "cagr": Metric("CAGR", "percent", "yearly rate that compounds to the total return; none below 30 days"),
    "volatility": Metric("Volatility", "percent", "standard deviation of whole days' returns, annual"),
    "sharpe": Metric("Sharpe", "ratio", "mean over deviation of whole days' returns, annual (365 days)"),
    "sortino": Metric("Sortino", "ratio", "like Sharpe, but only losses count as deviation"),
    "calmar": Metric("Calmar", "ratio", "CAGR over max drawdown"),
    "max_drawdown": Metric("Max drawdown", "percent", "deepest fall from a peak, at day ends"),
    "max_drawdown_intraday": Metric("… of every bar", "percent", "deepest fall from a peak, at every bar"),
    "max_drawdown_days": Metric("… lasted", "days", "from the peak to the recovery, or to the end"),
    "deflated_sharpe": Metric("Deflated Sharpe", "percent", "probability of skill, given all trials"),
    "days": Metric("Days", "count", "number of whole UTC days, whose returns the ratios use"),
    "length_days": Metric("Length", "days", "from the first value to the last, part days included"),
    "trades": Metric("Trades", "count", "round trips, flat to flat"),
    "win_rate": Metric("Win rate", "percent", "share of trades with a profit after costs"),
    "profit_factor": Metric("Profit factor", "ratio", "sum of gains over sum of losses"),
    "expectancy": Metric("Expectancy", "money", "mean net result of a trade"),
    "sqn": Metric("SQN", "ratio", "√trades × mean over deviation of their results"),
    "best_trade": Metric("Best trade", "money", "largest net gain of a trade"),
    "worst_trade": Metric("Worst trade", "money", "largest net loss of a trade"),
    "longest_losing_streak": Metric("Losing streak", "count", "longest run of losing trades"),
    "mean_hours_held": Metric("Mean time held", "hours", "from entry to exit"),
    "exposure": Metric("Exposure", "percent", "share of bars with an open position"),
    "turnover": Metric("Turnover", "times", "value traded over mean equity, per year"),
    "traded_notional": Metric("Value traded", "money", "sum of quantity × price of all fills"),
    "fills": Metric("Fills", "count", "number of executions"),
    "fees": Metric("Fees", "money", "paid to the exchange, minus rebates"),
    "slippage": Metric("Slippage", "money", "half-spread and impact in the fill prices"),
    "funding": Metric("Funding", "money", "received minus paid"),
}


def describe(name: str) -> Metric:
    """Return the entry of ``METRICS``. A name without an entry is shown as it is."""
    return METRICS.get(name) or Metric(name.replace("_", " "), "number", "")


def show(value: float | int | None, kind: Kind, *, signed: bool = False) -> str:
    """Write ``value`` with its unit; a fraction as percent.

    None and values that are not finite: ``MISSING``.
    """
    if value is None or not math.isfinite(value):
        return MISSING
    plus = "+" if signed else ""
    text = {
        "percent": lambda: f"{100.0 * value:{plus},.2f} %",
        "ratio": lambda: f"{value:{plus},.2f}",
        "money": lambda: f"{value:{plus},.2f}",
        "count": lambda: f"{value:{plus},.0f}",
        "days": lambda: f"{value:{plus},.1f} d",
        "hours": lambda: f"{value:{plus},.1f} h",
        "times": lambda: f"{value:{plus},.1f} ×/yr",
        "number": lambda: f"{value:{plus},.4g}",
    }[kind]()
    return text.replace("-", "−")


def signed_percent(value: float) -> str:
    """Show a fraction in percent with one decimal and its sign, without the unit: ``+1.2``."""
    return f"{100 * value:+.1f}".replace("-", "−")


def price(value: float) -> str:
    """Write six significant digits without an exponent, ``61,234.5`` or ``0.0123457``."""
    if not math.isfinite(value):
        return MISSING
    digits = 5 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{min(max(digits, 0), 12)}f}".replace("-", "−")


def quantity(value: Decimal) -> str:
    """Write every digit without trailing zeros, ``1,234.005``."""
    text = f"{value:,f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")


def when(ts_ms: int) -> str:
    """Write a UTC time, ``2024-03-01 05:35``; the words around it name the zone."""
    return minute_cell(ts_ms)


def month_name(month: int) -> str:
    """Name a month in short: ``Jan`` for 1."""
    return f"{datetime(2000, month, 1, tzinfo=UTC):%b}"


def lasted(ms: int) -> str:
    """Write a duration in its two largest units: ``3 d 4 h``, ``2 h 5 min``, ``40 s``."""
    seconds = timedelta(milliseconds=ms) // timedelta(seconds=1)
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    parts: list[str] = []
    for name, size in units:
        if seconds >= size and len(parts) < 2:
            parts.append(f"{seconds // size:,} {name}")
            seconds %= size
    return " ".join(parts) or "0 s"
