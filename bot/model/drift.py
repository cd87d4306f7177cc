"""What the training data of a model looked like, and the measures that compare the present with it.

A model's manifest holds a ``DriftReference``; ``bot.engine.drift`` measures a running model against it. Both
take one row an hour: neighbouring rows of a shorter bar are nearly the same.
"""

from math import log
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bot.domain.errors import BadModel, BadSettings

Floats = NDArray[np.float64]

BINS = 10
"""Bins of a feature: the deciles of its training rows."""
SHARE_MIN = 1e-3
"""Smallest share of a bin in ``psi``: an empty bin must not make it infinite."""
HAR_HOURS = (1, 4, 24, 168)
"""The past of each term of HAR-RV, in hours."""
_HAR_WEIGHTS = len(HAR_HOURS) + 24 + 1


class DriftReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Training rows in short, and the plain forecast that the model must not fall behind."""

    rows: int
    """Training rows, one an hour of each file."""
    edges: list[list[float]]
    """For each feature the nine inner deciles of its training rows, unscaled."""
    shares: list[list[float]]
    """For each feature the share of training rows in each of the ten bins."""
    har_weights: list[float] | None = None
    """Of ``har_hour`` for ln of the variance ahead: one a term (``HAR_HOURS``), one an hour of the day (UTC),
    a constant. None: the model forecasts no variance, or too few hours were known; a manifest always has
    them."""
    har_factor: float = 1.0
    """What exp of that is multiplied by to give the mean."""

    def check(self, features: int) -> None:
        """Check the shapes and numbers.

        Raises:
            BadModel: they are not those of a model with so many features.
        """
        edges, shares = np.array(self.edges, np.float64), np.array(self.shares, np.float64)
        fits = edges.shape == (features, BINS - 1) and shares.shape == (features, BINS)
        weights = self.har_weights or []
        known = len(weights) == _HAR_WEIGHTS and np.isfinite([*weights, self.har_factor]).all()
        if not (
            fits and known and np.isfinite(edges).all() and (shares >= 0.0).all() and self.har_factor > 0.0
        ):
            raise BadModel("drift: needs nine deciles and ten shares a feature, and the weights of har_hour")


class DriftBounds(msgspec.Struct, frozen=True, kw_only=True):
    """What counts as drift. Settings ``[drift]`` have the same names.

    Raises:
        BadSettings: ``min_days`` is above ``half_life_days``: so much recent evidence might never be there.
    """

    reduces: bool = True
    """Whether drift stops entries; False only tells it."""
    half_life_days: float = 14.0
    """After so many days an hour counts half."""
    min_days: float = 7.0
    """Nothing is judged on less evidence."""
    max_psi: float = 1.25
    max_qlike_excess: float = 0.05
    max_band_gap_frac: float = 0.2
    recover_frac: float = 0.8

    def __post_init__(self) -> None:
        if self.min_days > self.half_life_days:
            raise BadSettings(
                f"drift.min_days must be at most drift.half_life_days ({self.half_life_days:g}), "
                f"was {self.min_days:g}"
            )


def describe(rows: Floats) -> dict[str, Any]:
    """Return ``rows``, ``edges`` and ``shares`` of a ``DriftReference`` for training rows ``(T, F)``."""
    edges = np.quantile(rows, np.arange(1, BINS) / BINS, axis=0).T
    bins = (np.searchsorted(each, column) for each, column in zip(edges, rows.T, strict=True))
    shares = [(np.bincount(each, minlength=BINS) / len(rows)).tolist() for each in bins]
    return {"rows": len(rows), "edges": edges.tolist(), "shares": shares}


def bins_of(row: Floats, edges: Floats) -> NDArray[np.int64]:
    """Return the bin of each feature of a row, ``(F,)``, for ``edges`` ``(9, F)``.

    A value on an edge belongs to the bin below.
    """
    bins: NDArray[np.int64] = (row > edges).sum(axis=0)
    return bins


def psi(shares: Floats, present: Floats) -> Floats:
    """Return the population stability index of each feature, ``(F,)``, from shares ``(F, 10)``.

    The sum over bins of (present - training) · ln(present / training): 0 for equal shares. Rows of one market
    are alike for days, so even an ordinary month is far above the 0.1 or 0.25 that textbooks name for
    independent rows.
    """
    p, q = np.maximum(present, SHARE_MIN), np.maximum(shares, SHARE_MIN)
    index: Floats = ((p - q) * np.log(p / q)).sum(axis=1)
    return index


def qlike(rv: float, forecast: float) -> float:
    """Return rv/f - ln(rv/f) - 1: 0 for a forecast that came true (Patton 2011)."""
    ratio = rv / forecast
    return ratio - log(ratio) - 1.0
