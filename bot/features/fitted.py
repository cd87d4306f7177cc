"""A fitted model of the user's own, as an indicator.

Of a target such as ``rv_60m`` it is also a part of a forecast (``adapters.model.own``).
``app.runs.fitting`` makes it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.features.indicators import Past

Floats = NDArray[np.float64]

COMPARED_ROWS = 16
"""Rows, spread over a history, whose predictions in one call are compared with a call for each."""
BATCH_TOLERANCE = 1e-5
"""Largest difference of such a pair, by the prediction or by the root mean square of all predictions: below
it lies the rounding of models that compute in single precision."""


@dataclass(frozen=True, repr=False, kw_only=True)
class Fitted(Past):
    """A fitted model of the user's own. ``function`` is its prediction for one row."""

    predict: Callable[[Floats], Any]
    """Predictions for rows ``(n, features)``."""
    forecasts: str | None
    """The name of the target, such as ``rv_60m``, if it is a column of a forecast."""
    interval_ms: int
    """Length of the bars that it was fitted on."""
    hash: str = ""
    """Names what it learned: of its definition, and of its predictions for rows that it was fitted on."""
    training: Mapping[str, Any] | None = field(default=None, compare=False)
    """What its rows looked like: the arguments of a ``DriftReference``. None: they had no full hour."""

    def predict_all(self, rows: Floats) -> Floats | None:
        """Return predictions for ``rows`` (n, features) made in one call, NaN for rows that are not finite.

        None if the model does not take many rows, or answers otherwise than row by row: then a prediction
        would depend on other rows, perhaps on later ones. ``COMPARED_ROWS`` rows are compared.
        """
        out = np.full(len(rows), np.nan)
        known = np.flatnonzero(np.isfinite(rows).all(axis=1))
        if not len(known):
            return out
        chosen = np.unique(np.linspace(0, len(known) - 1, COMPARED_ROWS).astype(int))
        try:
            told = np.asarray(self.predict(rows[known]), np.float64).reshape(len(known))
            single = np.array([self.predict(rows[at : at + 1]) for at in known[chosen]], np.float64).ravel()
        except Exception:  # the code of a user may raise anything: row by row says where
            return None
        finite = told[np.isfinite(told)]
        scale = float(np.sqrt(np.mean(finite**2))) if len(finite) else 0.0
        if single.shape != chosen.shape or not np.allclose(
            told[chosen], single, rtol=BATCH_TOLERANCE, atol=BATCH_TOLERANCE * scale, equal_nan=True
        ):
            return None
        out[known] = told
        return out

    def __repr__(self) -> str:
        named = getattr(self.function, "__qualname__", "model").removesuffix(".predict")
        return f"<fitted {named}, {self.hash[:12]}>"
