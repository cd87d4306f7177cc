"""The range in which the next hour will fall: quantiles that learn from how earlier forecasts came out.

A model is fitted once; the market moves on. So its quantiles are followed: after each hour every quantile
moves a little towards where it should have been. One that is gone beyond too often moves outwards until it is
not, on every symbol by itself. Nothing later than the hour that has ended is used.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

from bot.domain.errors import BadUsage
from bot.domain.market import HOUR_MS, Forecast
from bot.strategy.signal import View

RET_LEVELS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Probabilities of the quantiles of return / √(forecast variance)."""
RV_LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
"""Probabilities of the quantiles of the logarithm of the variance, in its forecast deviations."""
STEP = 0.008
"""What a quantile moves for one hour at most, in forecast deviations: chosen on the hours before 2025-12-01
by the quantile loss of the variance."""
_RETURN_CLIP = 0.1


class Quantiles:
    """Quantiles of a stream of numbers, each followed by itself.

    The quantile of probability p moves up by ``STEP``·p if a number is not below it, else down by
    ``STEP``·(1-p): the gradient of the quantile loss. The share of numbers below it then tends to p whatever
    the numbers do (Gibbs and Candès 2021, arXiv 2106.00170; Angelopoulos, Candès and Tibshirani 2023, arXiv
    2307.16895).
    """

    __slots__ = ("levels", "values")

    def __init__(self, levels: Sequence[float], start: Sequence[float]) -> None:
        self.levels = tuple(levels)
        self.values = list(start)

    def learn(self, x: float) -> None:
        """Take one more number; NaN is ignored."""
        if x != x:  # NaN
            return
        moved = [v - STEP * ((x < v) - p) for v, p in zip(self.values, self.levels, strict=True)]
        self.values = sorted(moved)  # quantiles never cross

    def at(self, probability: float) -> float:
        """Return a quantile; between two that are followed by interpolation.

        Raises:
            BadUsage: the probability lies outside of those that are followed.
        """
        levels, values = self.levels, self.values
        if not levels[0] <= probability <= levels[-1]:
            raise BadUsage(f"a range knows probabilities from {levels[0]} to {levels[-1]}, not {probability}")
        i = bisect_left(levels, probability)
        if levels[i] == probability:
            return values[i]
        share = (probability - levels[i - 1]) / (levels[i] - levels[i - 1])
        return values[i - 1] + share * (values[i] - values[i - 1])


class NextHour:
    """The range of one symbol's next hour. A strategy shows it every view, then asks.

    It begins with the distribution that models are trained with. Keep it over a restart with ``state`` and
    ``restore`` in those of the strategy.
    """

    def __init__(self) -> None:
        self.ret = Quantiles(RET_LEVELS, [student_t4_quantile(p) / math.sqrt(2.0) for p in RET_LEVELS])
        self.rv = Quantiles(RV_LEVELS, [NormalDist().inv_cdf(p) for p in RV_LEVELS])
        self._begun: tuple[int, float, float, float] | None = None
        """Time, close, variance and deviation of its logarithm, of the forecast whose hour runs."""
        self._seen_ms, self._close, self._rv = 0, math.nan, 0.0

    def see(self, view: View) -> None:
        """Take one closed bar. An hour that has ended is learned from; a hole in the bars drops its hour."""
        bar, forecast = view.bar, view.forecast
        if bar.start_ms != self._seen_ms:
            self._begun = None
        if self._begun is not None:
            moved = math.log(bar.close / self._close)
            self._rv += min(abs(moved), _RETURN_CLIP) ** 2
            self._learn(bar.close_ms, bar.close)
        self._seen_ms, self._close = bar.close_ms, bar.close
        if bar.close_ms % HOUR_MS == 0:
            known = view.warm and forecast is not None and 0.0 < forecast.rv_60m < math.inf
            self._rv = 0.0
            self._begun = None
            if known and forecast is not None:
                self._begun = bar.close_ms, bar.close, forecast.rv_60m, forecast.rv_log_sd

    def return_at(self, probability: float, forecast: Forecast) -> float:
        """Return the log return of the next hour that is undercut with this probability.

        ``return_at(0.05, forecast)`` is the VaR of 95 % of a long position, as a negative number.
        """
        return self.ret.at(probability) * math.sqrt(forecast.rv_60m)

    def variance_at(self, probability: float, forecast: Forecast) -> float:
        """Return the realised variance of the next hour that is undercut with this probability."""
        sd = forecast.rv_log_sd
        return forecast.rv_60m * math.exp(self.rv.at(probability) * sd - sd * sd / 2.0)

    def state(self) -> list[object]:
        """Return all that later ranges depend on, as a JSON value."""
        begun = None if self._begun is None else list(self._begun)
        return [self.ret.values, self.rv.values, begun, self._seen_ms, self._close, self._rv]

    def restore(self, state: list[Any]) -> None:
        """Take over what ``state`` returned."""
        ret, rv, begun, self._seen_ms, self._close, self._rv = state
        self.ret.values, self.rv.values = list(ret), list(rv)
        self._begun = None if begun is None else (begun[0], begun[1], begun[2], begun[3])

    def _learn(self, now_ms: int, close: float) -> None:
        if self._begun is None or now_ms < self._begun[0] + HOUR_MS:
            return
        _, began, rv, sd = self._begun
        self.ret.learn(math.log(close / began) / math.sqrt(rv))
        self.rv.learn(log_surprise(self._rv, rv, sd))


def log_surprise(realised: float, forecast: float, log_sd: float) -> float:
    """Return how many deviations the logarithm of a variance lies above its median forecast; NaN if unknown.

    The forecast is the mean of a log-normal, so its median is e^(-sd²/2) of it.
    """
    if not (forecast > 0.0 and log_sd > 0.0):
        return math.nan
    return (math.log(max(realised, 1e-9) / forecast) + log_sd * log_sd / 2.0) / log_sd


def student_t4_quantile(probability: float) -> float:
    """Return the quantile of Student's t with 4 degrees of freedom, in closed form.

    With a = 4p(1 - p): sign(p - 1/2)·2·sqrt(cos(arccos(sqrt(a)) / 3) / sqrt(a) - 1) (Shaw 2006, Journal of
    Computational Finance 9(4), 37-73).
    """
    a = math.sqrt(4.0 * probability * (1.0 - probability))
    value = 2.0 * math.sqrt(max(math.cos(math.acos(min(a, 1.0)) / 3.0) / a - 1.0, 0.0))
    return math.copysign(value, probability - 0.5)
