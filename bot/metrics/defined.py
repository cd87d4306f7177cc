"""What a figure is: a number, or None where it is undefined. Never NaN or infinity, and never 0 instead."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
Metrics = dict[str, float | int | None]


def ratio(numerator: float, denominator: float, factor: float = 1.0) -> float | None:
    """Return ``numerator / denominator · factor``; None for a denominator of 0 or less."""
    return finite(numerator / denominator * factor) if denominator > 0.0 else None


def finite(value: float) -> float | None:
    """Return the value; None for NaN and infinity."""
    return value if math.isfinite(value) else None


def deviation(returns: Floats) -> float:
    """Return the sample standard deviation; exactly 0 for values that are equal but for rounding.

    A return is a quotient near 1, so equal moves of an equity curve differ by up to a few 1e-16.
    """
    return float(np.std(returns, ddof=1)) if np.ptp(returns) > 1e-14 else 0.0
