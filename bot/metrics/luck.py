"""How much of a figure may be luck: intervals of drawn days, and the best of many trials."""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from bot.metrics.curve import YEAR_DAYS, sharpe
from bot.metrics.defined import Floats, Metrics

_TOO_GOOD = (
    ("sharpe", "Sharpe", 3.0),
    ("profit_factor", "Profit factor", 3.0),
    ("win_rate", "Win rate", 0.8),
)
"""Figures above these are nearly always a leak or a cost that is missing."""
_ENOUGH = 30
"""Trades, and whole days, below which such a figure is chance rather than a leak."""


def too_good(figures: Metrics) -> str | None:
    """Say which figures of a run are too good to be true; None if none is, or the run is short."""
    if min(figures.get("trades") or 0, figures.get("days") or 0) < _ENOUGH:
        return None
    high = [label for name, label, limit in _TOO_GOOD if (figures.get(name) or 0.0) > limit]
    if not high:
        return None
    return f"Too good to be true ({', '.join(high)}): look for a leak or for missing costs first"


class Estimate(NamedTuple):
    """A figure and its interval: ``low`` and ``high``."""

    value: float
    low: float
    high: float


def _mean(values: Floats) -> float:
    return float(np.mean(values))


def day_bootstrap(
    values_by_day: Floats,
    statistic: Callable[[Floats], float] = _mean,
    *,
    seed: int,
    n: int = 1000,
    level: float = 0.95,
) -> Estimate | None:
    """Return the percentile interval of ``statistic`` from whole days drawn with replacement (Efron 1979).

    ``values_by_day`` is ``(days,)`` or ``(days, columns)``: one row per day, for example the day's mean loss
    of a model minus the loss of a baseline, or its sums and counts. ``statistic`` is called with the same
    number of rows. Days are drawn, not bars, because bars of one day are not independent. None below two days
    or if a draw is undefined.
    """
    values = np.asarray(values_by_day, np.float64)
    if len(values) < 2:
        return None
    rng = np.random.default_rng(seed)
    draws = np.array([statistic(values[rng.integers(0, len(values), len(values))]) for _ in range(n)])
    value = statistic(values)
    if not (math.isfinite(value) and np.isfinite(draws).all()):
        return None
    low, high = np.quantile(draws, ((1.0 - level) / 2.0, (1.0 + level) / 2.0))
    return Estimate(value, float(low), float(high))


def deflated_sharpe(returns: Floats, trials: int, trial_variance: float | None = None) -> float | None:
    """Return the probability that the true Sharpe ratio beats the best of ``trials`` runs without skill.

    ``trial_variance`` is the variance of the daily (not annual) Sharpe ratios of the trials. If None, it is
    the variance of trials without skill, ``1 / (n − 1)``. A result below 0.95 may be luck.
    """
    daily = sharpe(returns)
    if daily is None:
        return None
    standard = (returns - np.mean(returns)) / np.std(returns)
    return deflated_probability(
        daily / math.sqrt(YEAR_DAYS),
        days=len(returns),
        skew=float(np.mean(standard**3)),
        kurtosis=float(np.mean(standard**4)),
        trials=trials,
        trial_variance=1.0 / (len(returns) - 1) if trial_variance is None else trial_variance,
    )


def deflated_probability(
    daily_sharpe: float, *, days: int, skew: float, kurtosis: float, trials: int, trial_variance: float
) -> float | None:
    """Return ``Φ((SR − SR₀) √(n−1) / √(1 − γ₃ SR + (γ₄ − 1)/4 SR²))`` (Bailey & López de Prado 2014).

    ``SR₀ = √V ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e)))`` with Euler's γ. For one trial ``SR₀`` is 0 and
    the result is the probabilistic Sharpe ratio. ``kurtosis`` is 3 for a normal distribution.
    """
    normal = NormalDist()
    benchmark = 0.0
    if trials > 1:
        best = (1.0 - np.euler_gamma) * normal.inv_cdf(1.0 - 1.0 / trials)
        best += np.euler_gamma * normal.inv_cdf(1.0 - 1.0 / (trials * math.e))
        benchmark = math.sqrt(trial_variance) * best
    variance = 1.0 - skew * daily_sharpe + (kurtosis - 1.0) / 4.0 * daily_sharpe**2
    if not variance > 0.0:
        return None
    return normal.cdf((daily_sharpe - benchmark) * math.sqrt(days - 1.0) / math.sqrt(variance))
