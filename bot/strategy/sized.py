"""Targets by fraction of equity and by volatility: what quantity they are at a close."""

from math import inf, isfinite, log, sqrt

import msgspec

from bot.domain.errors import BadUsage
from bot.domain.market import HOUR_MS, Bar
from bot.strategy.signal import SizedTarget, Target, View
from bot.strategy.volatility import HOURS_PER_YEAR, leverage_for

NO_EQUITY, NO_VOLATILITY = "no_equity", "no_volatility"
"""Why a quantity is not known."""


def quantity_of(target: SizedTarget, view: View, equity: float) -> tuple[Target | None, str]:
    """Return the target with its quantity at the close of the view; or None, and why that is not known."""
    if not 0.0 < equity < inf:
        return None, NO_EQUITY
    leverage = target.size
    if target.by == "volatility":
        hour_vol = _hour_vol(view)
        if not 0.0 < hour_vol < inf:
            return None, NO_VOLATILITY
        leverage = leverage_for(abs(target.size), hour_vol, target.max_leverage)
        leverage = leverage if target.size > 0.0 else -leverage
    qty, held = leverage * equity / view.bar.close, view.position
    if held * qty > 0.0 and abs(qty - held) <= target.band * abs(qty):
        qty = held
    terms = {name: getattr(target, name) for name in Target.__struct_fields__ if name != "qty"}
    return Target(qty, **terms), ""


def _hour_vol(view: View) -> float:
    """Return the deviation of an hour's log return, of the forecast or the trailing one; NaN if unknown."""
    forecast = view.forecast
    if forecast is not None and 0.0 < forecast.hourly_variance < inf:
        return sqrt(forecast.hourly_variance)
    return view.trailing_volatility / sqrt(HOURS_PER_YEAR)


class TrailingVolatility(msgspec.Struct):
    """Volatility of the last hours: squared log returns of bars, averaged.

    A plain mean of the first ``bars`` returns, then an exponential one with weight 2 / (``bars`` + 1). It is
    known from the ``bars``-th return on. The return across a missing bar is left out.
    """

    bars: int
    seen: int = 0
    variance: float = 0.0
    """Of the log return of one bar."""
    last_close: float = 0.0
    next_ms: int = 0

    def follow(self, view: View) -> None:
        """Take the bar of a view that has just closed, and show the view the volatility."""
        bar = view.bar
        if bar.start_ms == self.next_ms:
            self._add(log(bar.close / self.last_close))
        self.last_close, self.next_ms = bar.close, bar.close_ms
        self.show(view)

    def show(self, view: View) -> None:
        """Show what ``follow`` has shown at the bar of the view."""
        view.trailing_volatility = self._annual(view.bar)

    def _add(self, log_return: float) -> None:
        self.seen += 1
        weight = 1.0 / self.seen if self.seen <= self.bars else 2.0 / (self.bars + 1)
        self.variance += weight * (log_return * log_return - self.variance)

    def _annual(self, bar: Bar) -> float:
        if self.seen < self.bars or not self.variance > 0.0:
            return float("nan")
        return sqrt(self.variance * HOUR_MS / bar.interval_ms * HOURS_PER_YEAR)


def trailing_volatility(strategy: object, interval_ms: int) -> TrailingVolatility | None:
    """Return what measures the volatility that a strategy, or its class, asks for; None if it asks for none.

    Raises:
        BadUsage: ``volatility_hours`` is no number, or so short that it holds fewer than 2 bars.
    """
    hours = getattr(strategy, "volatility_hours", None)
    if hours is None:
        return None
    cls = strategy if isinstance(strategy, type) else type(strategy)
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not isfinite(hours):
        raise BadUsage(f"{cls.__name__}.volatility_hours must be a number of hours, was {hours!r}")
    bars = round(hours * HOUR_MS / interval_ms)
    if bars < 2:
        raise BadUsage(f"{cls.__name__}.volatility_hours must hold at least 2 bars, was {hours}")
    return TrailingVolatility(bars)


def volatility_warmup_bars(strategy: object, interval_ms: int) -> int:
    """Return how many bars the trailing volatility of a strategy needs; 0 if it asks for none."""
    made = trailing_volatility(strategy, interval_ms)
    return 0 if made is None else made.bars + 1
