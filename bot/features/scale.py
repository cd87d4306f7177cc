"""Scaling constants, fitted on training rows only and stored with the model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.domain.errors import BadModel
from bot.features.vm import Floats


@dataclass(frozen=True, eq=False)
class Scale:
    """Scales a feature row to float32: standard deviations from the training mean, clipped to ±``clip``.

    Raises:
        BadModel: means or deviations are not finite, differ in number, or a deviation or ``clip`` is not > 0.
    """

    mean: Floats
    std: Floats
    clip: float = 8.0

    def __post_init__(self) -> None:
        shapes_fit = self.mean.ndim == 1 and self.mean.shape == self.std.shape
        if not (shapes_fit and np.isfinite(self.mean).all() and (self.std > 0).all() and self.clip > 0):
            raise BadModel("scale needs finite means, as many positive deviations, and a positive clip")

    @classmethod
    def fit(cls, rows: Floats, clip: float = 8.0) -> "Scale":
        """Fit the scale to training rows (T, F).

        Rows with a NaN (the features are not warm) are ignored. A constant column gets deviation 1.

        Raises:
            BadModel: no row is warm.
        """
        warm = rows[np.isfinite(rows).all(axis=1)]
        if not len(warm):
            raise BadModel(f"none of {len(rows)} training rows is warm")
        mean, std = warm.mean(axis=0), warm.std(axis=0)
        constant = std <= 1e-9 * np.maximum(1.0, np.abs(mean))
        return cls(mean, np.where(constant, 1.0, std), clip)

    def apply(self, rows: Floats) -> NDArray[np.float32]:
        """Return scaled rows, (..., F). NaN stays NaN."""
        return np.clip((rows - self.mean) / self.std, -self.clip, self.clip).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Return the scale as lists and numbers. Floats survive a round trip through JSON exactly."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist(), "clip": self.clip}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Scale":
        """Read back what ``to_json`` returned.

        Raises:
            BadModel: a field is missing or is not a list of numbers.
        """
        try:
            return cls(_vector(fields["mean"]), _vector(fields["std"]), float(fields["clip"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BadModel(f"scale is not readable: {error!r}") from error


def _vector(values: Sequence[float]) -> Floats:
    return np.asarray(values, np.float64)
