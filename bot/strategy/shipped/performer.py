"""The product: trade if the forecast return pays for a round trip; size and stops from forecast volatility.

Returns are hardly predictable and a round trip costs about ten basis points. So after most bars the target is
flat, and its reason says why. The volatility forecast is good: it sets the size, the distance of the stops
and the holding time.
"""

from math import copysign, inf, sqrt
from typing import ClassVar, Literal

from bot.domain.errors import BadUsage
from bot.strategy.edge import Edge
from bot.strategy.signal import Target, View
from bot.strategy.volatility import leverage_for, price_away

_COLD = Target(0.0, "cold")
_NO_SIGNAL = Target(0.0, "no_signal")
_COST = Target(0.0, "cost")


class PerformerStrategy:
    """Compares the forecast return with the cost of a round trip, with hysteresis.

    Enters if the forecast return over ``horizon`` is more than ``k_in`` round trips. Stays while it is more
    than ``k_out`` round trips; after the holding time it needs ``k_in`` again. The holding time is the time
    in which forecast volatility moves the price by ``hold_k`` round trips, between one hour and
    ``max_hold_hours``. The position's value is ``vol_target`` (annualised, of equity) over forecast
    volatility, at most ``max_leverage`` times equity. It is resized only if it is off by more than ``band``.
    Stops lie ``stop_k`` and ``take_k`` forecast deviations of the holding time away; 0 sets no stop.
    A backtest without a trade, the status and the summary of a flat day say which forecast an entry needs.
    """

    needs_forecast: ClassVar[bool] = True

    def __init__(
        self,
        horizon: Literal["60m", "15m"] = "60m",
        direction: Literal["both", "long", "short"] = "both",
        k_in: float = 2.5,
        k_out: float = 0.25,
        min_edge_bps: float = 0.5,
        vol_target: float = 0.2,
        max_leverage: float = 1.0,
        band: float = 0.25,
        hold_k: float = 3.0,
        max_hold_hours: float = 8.0,
        stop_k: float = 3.0,
        take_k: float = 0.0,
    ) -> None:
        if not 0.0 <= k_out < k_in < inf:
            raise BadUsage(f"performer needs 0 <= k_out < k_in, were {k_out} and {k_in}")
        if not (vol_target > 0.0 and max_leverage > 0.0 and max_hold_hours >= 1.0):
            raise BadUsage("performer needs vol_target > 0, max_leverage > 0 and max_hold_hours >= 1")
        if not (min_edge_bps >= 0.0 and band >= 0.0 and hold_k >= 0.0 and stop_k >= 0.0 and take_k >= 0.0):
            raise BadUsage("performer needs min_edge_bps, band, hold_k, stop_k and take_k >= 0")
        self._hourly = horizon == "60m"
        self.forecast_fields = ("rv_60m", f"ret_{horizon}")
        self._long, self._short = direction != "short", direction != "long"
        self._k_in, self._k_out, self._min_edge_bps = k_in, k_out, min_edge_bps
        self._vol_target, self._max_leverage, self._band = vol_target, max_leverage, band
        self._hold_k, self._max_hold_hours = hold_k, max_hold_hours
        self._stop_k, self._take_k = stop_k, take_k
        self.edge, self.edge_horizon = Edge(), horizon

    def entry_bps(self, round_trip_bps: float) -> float:
        """Return the forecast return that an entry needs, in bps, if a round trip costs so much."""
        return self._needed_bps(self._k_in, round_trip_bps)

    def on_bar(self, view: View) -> Target | None:
        """Return flat if the model is cold or has no forecast; else compare the edge with the cost.

        The sign of the edge sets the side, volatility sets the size.
        """
        if not view.warm:
            return _COLD
        forecast = view.forecast
        if forecast is None or not 0.0 < forecast.rv_60m < inf:
            return _NO_SIGNAL
        ret = forecast.ret_60m if self._hourly else forecast.ret_15m
        hour_vol = sqrt(forecast.rv_60m)
        hold_hours = self._hold_hours(hour_vol, view.round_trip_bps)
        edge_bps = self._allowed(1e4 * ret)
        if view.live:
            self.edge.see(edge_bps)
        held = view.position != 0.0 and edge_bps * view.position > 0.0
        stays = held and view.bars_held < hold_hours * view.bars_per_hour
        needed_bps = self._needed_bps(self._k_out if stays else self._k_in, view.round_trip_bps)
        if not abs(edge_bps) > needed_bps:
            return _COST if abs(edge_bps) > self._min_edge_bps else _NO_SIGNAL
        return self._sized(view, copysign(1.0, edge_bps), hour_vol, hold_hours, held=held)

    def state(self) -> None:
        """Return None: no decision depends on earlier bars."""

    def restore(self, state: None) -> None:
        """Do nothing: there is nothing to remember."""

    def _needed_bps(self, k: float, round_trip_bps: float) -> float:
        """Return the forecast return that pays for ``k`` round trips, never less than ``min_edge_bps``."""
        return max(k * round_trip_bps, self._min_edge_bps)

    def _allowed(self, edge_bps: float) -> float:
        if (edge_bps > 0.0 and not self._long) or (edge_bps < 0.0 and not self._short):
            return 0.0
        return edge_bps

    def _hold_hours(self, hour_vol: float, round_trip_bps: float) -> float:
        """Return the hours until volatility (∝ √time) reaches ``hold_k`` round trips."""
        ratio = self._hold_k * 1e-4 * round_trip_bps / hour_vol
        return min(max(1.0, ratio * ratio), self._max_hold_hours)

    def _sized(
        self, view: View, side: float, hour_vol: float, hold_hours: float, *, held: bool
    ) -> Target | None:
        close = view.bar.close
        qty = side * view.worth(leverage_for(self._vol_target, hour_vol, self._max_leverage))
        if held and abs(qty - view.position) <= self._band * abs(qty):
            return None
        spread = side * hour_vol * sqrt(hold_hours)
        return Target(
            qty,
            "edge",
            stop_loss=price_away(close, -self._stop_k * spread) if self._stop_k else None,
            take_profit=price_away(close, self._take_k * spread) if self._take_k else None,
        )
