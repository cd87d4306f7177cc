"""The distribution of the longer return in units of its forecast volatility, for VaR and calibration.

Returns have fatter tails than the normal distribution: a VaR of 99 % with normal quantiles was exceeded
almost twice as often as it should be. The distribution here begins as the one that the model showed on the
hours before those that are judged. Then it is followed hour by hour, as ``strategy.ranges`` does it live.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bot.domain.market import HOUR_MS
from bot.model.config import STUDENT_T_NU
from bot.ports import Floats
from bot.research.dataset import RET_LONG, RV, LabelledRows
from bot.strategy.ranges import Quantiles, student_t4_quantile

ROWS_MIN = 1_000
"""Earlier rows below which their quantiles say too little: ten of them lie beyond a VaR of 99 %."""


@dataclass(frozen=True)
class Tails:
    """Quantiles of return / sqrt(forecast variance).

    ``z`` are these ratios of earlier rows, sorted, one each ``horizon_ms``; empty: Student's t with
    ``STUDENT_T_NU`` degrees of freedom and variance 1 is taken instead, the distribution that the model's
    returns are trained with.
    """

    z: Floats = field(default_factory=lambda: np.empty(0))
    horizon_ms: int = HOUR_MS

    def quantile(self, probability: float) -> float:
        """Return the value that the ratio stays below with this probability, between 0 and 1."""
        if len(self.z):
            return float(np.quantile(self.z, probability))
        return student_t4_quantile(probability) * math.sqrt((STUDENT_T_NU - 2.0) / STUDENT_T_NU)

    def to_json(self) -> dict[str, Any]:
        """Return what the quantiles come from, and those of the VaR levels."""
        made: dict[str, Any] = (
            {"kind": "earlier_hours", "hours": len(self.z) * self.horizon_ms // HOUR_MS}
            if len(self.z)
            else {"kind": "student_t", "nu": STUDENT_T_NU}
        )
        levels = (0.01, 0.05, 0.95, 0.99)
        return made | {"quantiles": {f"{level:g}": self.quantile(level) for level in levels}}


@dataclass(frozen=True)
class Followed:
    """Quantiles at each of ``T`` hours in order of time; each row knows the hours before it alone."""

    levels: Sequence[float]
    table: Floats  # (T, levels)

    def quantile(self, probability: float) -> Floats:
        """Return the value that the ratio of each hour stays below with one of ``levels``, ``(T,)``."""
        column: Floats = self.table[:, self.levels.index(probability)]
        return column


def follow(x: Floats, levels: Sequence[float], start: Sequence[float]) -> Followed:
    """Follow quantiles over ``x`` (T,), hours without overlap; NaN moves nothing."""
    quantiles, table = Quantiles(levels, start), np.empty((len(x), len(levels)))
    for at, value in enumerate(x.tolist()):
        table[at] = quantiles.values
        quantiles.learn(value)
    return Followed(levels, table)


def fit_tails(files: Iterable[tuple[LabelledRows, Floats]], cut_ms: int) -> Tails:
    """Return the tails of rows without overlap whose targets end by ``cut_ms``; later rows change nothing.

    Args:
        files: the rows of each file with the forecasts of the model for them, ``(T, 3)``.
        cut_ms: where the rows that are judged begin.
    """
    found, horizon_ms = [], HOUR_MS
    for rows, forecast in files:
        horizon_ms = rows.horizons.long_ms
        earlier = (rows.close_ms % horizon_ms == 0) & rows.within(0, cut_ms)
        with np.errstate(invalid="ignore", divide="ignore"):
            z = rows.targets[earlier, RET_LONG] / np.sqrt(forecast[earlier, RV])
        found.append(z[np.isfinite(z)])
    z = np.sort(np.concatenate(found)) if found else np.empty(0)
    return Tails(z, horizon_ms) if len(z) >= ROWS_MIN else Tails()
