"""How good a forecast is."""

import numpy as np

from bot.metrics.defined import Floats, finite


def qlike(rv: Floats, forecast: Floats) -> float | None:
    """Return ``mean(rv/f − ln(rv/f) − 1)`` (Patton 2011): 0 for a perfect forecast of variance.

    None without rows, or if a value is not positive and finite.
    """
    if len(rv) == 0 or not (np.all(rv > 0.0) and np.all(forecast > 0.0)):
        return None
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        ratio = rv / forecast
        return finite(float(np.mean(ratio - np.log(ratio) - 1.0)))
