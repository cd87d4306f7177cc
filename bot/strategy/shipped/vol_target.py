"""A constant or trend position divided by forecast volatility: the value of the volatility forecast alone."""

from math import inf, log, sqrt
from typing import ClassVar, Literal

from bot.domain.errors import BadUsage
from bot.strategy.signal import Target, View
from bot.strategy.volatility import leverage_for, price_away

_COLD = Target(0.0, "cold")
_NO_SIGNAL = Target(0.0, "no_signal")


class VolTarget:
    """Holds ``base`` × ``vol_target`` / forecast volatility, times equity, at most ``max_leverage``.

    ``base`` ``constant`` is +1 (-1 with ``direction`` ``short``). ``base`` ``trend`` is the log distance of
    the close from its EMA over ``trend_hours``, in forecast deviations of that time, cut to ±1. Forecast
    variance is averaged over ``smooth_hours`` (0: no average), because the hour of the day alone moves it by
    a factor of two, and trading on this is not worth its cost. The position changes only if it is off by more
    than ``band`` of the full-strength position. The stop lies ``stop_k`` forecast deviations of a day away; 0
    sets no stop.
    """

    needs_forecast: ClassVar[bool] = True
    forecast_fields: ClassVar[tuple[str, ...]] = ("variance",)

    def __init__(
        self,
        base: Literal["trend", "constant"] = "trend",
        direction: Literal["both", "long", "short"] = "both",
        trend_hours: float = 240.0,
        vol_target: float = 0.2,
        max_leverage: float = 2.0,
        band: float = 0.25,
        smooth_hours: float = 24.0,
        stop_k: float = 0.0,
    ) -> None:
        if not (trend_hours >= 1.0 and vol_target > 0.0 and max_leverage > 0.0):
            raise BadUsage("vol_target needs trend_hours >= 1, vol_target > 0 and max_leverage > 0")
        if not (band >= 0.0 and smooth_hours >= 0.0 and stop_k >= 0.0):
            raise BadUsage("vol_target needs band, smooth_hours and stop_k >= 0")
        self._trend = base == "trend"
        self._lowest = 0.0 if direction == "long" else -1.0
        self._highest = 0.0 if direction == "short" else 1.0
        self._trend_hours, self._smooth_hours = trend_hours, smooth_hours
        self._vol_target, self._max_leverage = vol_target, max_leverage
        self._band, self._stop_k = band, stop_k
        self._bars = 0
        self._ema = 0.0
        self._variance = 0.0

    def on_bar(self, view: View) -> Target | None:
        """Return flat until trend and model are warm, then the base divided by volatility."""
        self._follow_price(view)
        if not view.warm or (self._trend and self._bars <= self._trend_hours * view.bars_per_hour):
            self._variance = 0.0
            return _COLD
        forecast = view.forecast
        if forecast is None or not 0.0 < forecast.hourly_variance < inf:
            return _NO_SIGNAL
        self._follow_variance(forecast.hourly_variance, view.bars_per_hour)
        close, hour_vol = view.bar.close, sqrt(self._variance)
        full_qty = view.worth(leverage_for(self._vol_target, hour_vol, self._max_leverage))
        qty = self._strength(close, hour_vol) * full_qty
        if not qty:
            return _NO_SIGNAL
        if abs(qty - view.position) <= self._band * full_qty:
            return None if view.position else _NO_SIGNAL
        return Target(qty, "base", stop_loss=self._stop(close, qty, hour_vol))

    def state(self) -> list[float]:
        """Return the number of bars seen, the average log price and the average variance."""
        return [self._bars, self._ema, self._variance]

    def restore(self, state: tuple[int, float, float]) -> None:
        """Take over what ``state`` returned."""
        self._bars, self._ema, self._variance = state

    def _follow_price(self, view: View) -> None:
        alpha = _alpha(self._trend_hours * view.bars_per_hour) if self._bars else 1.0
        self._ema += (log(view.bar.close) - self._ema) * alpha
        self._bars += 1

    def _follow_variance(self, hourly: float, bars_per_hour: float) -> None:
        alpha = _alpha(self._smooth_hours * bars_per_hour) if self._variance else 1.0
        self._variance += (hourly - self._variance) * alpha

    def _strength(self, close: float, hour_vol: float) -> float:
        """Return the signed strength, within ±1 and the allowed ``direction``."""
        if self._trend:
            strength = (log(close) - self._ema) / (hour_vol * sqrt(self._trend_hours))
        else:
            strength = self._highest or self._lowest
        return min(max(strength, self._lowest), self._highest)

    def _stop(self, close: float, qty: float, hour_vol: float) -> float | None:
        if not self._stop_k:
            return None
        distance = self._stop_k * hour_vol * sqrt(24.0)
        return price_away(close, -distance if qty > 0.0 else distance)


def _alpha(bars: float) -> float:
    """Return the weight of the newest value in an exponential mean over ``bars``; 1 for one bar or less."""
    return 2.0 / (max(1.0, bars) + 1.0)
