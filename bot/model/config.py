"""The definition of a Performer without its weights and without torch: shapes, kernel, half-lives, horizons.

Used by the torch model (``performer``) and by the streaming kernel (``kernel``), and stored in the manifest
beside the weights.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import ceil, isfinite, log2
from typing import Any, Literal, Self, get_args

import numpy as np

from bot.domain.errors import BadInput, BadModel
from bot.domain.horizons import HOUR, Horizons

Kernel = Literal["positive", "hyperbolic", "relu"]
"""Feature map φ of the attention kernel (see ``favor``)."""

Norms = Literal["chi", "sqrtd", "iid"]
"""Lengths of the projections: χ(d) (unbiased), √d (lower variance, biased), or independent Gaussian rows."""

OUTPUTS = 6
"""Number of raw outputs and of forecast columns (see ``performer.forecast`` for both orders)."""

SCALE_MAX = 1.5
"""Bound of a head's learned length |q| = |k|. Above it FAVOR+ no longer approximates softmax."""

STUDENT_T_NU = 4.0
"""Degrees of freedom of Student's t, the distribution of a return over its forecast volatility."""

RETURN_CLIP = 0.1
"""One-bar log returns are clipped at ± this before they are squared: one bad bar must not dominate."""

RV_MIN = 1e-9
"""Floor of every realised-variance target and of every variance forecast."""

RV_MAX = 1.0
"""Cap of every variance forecast. An hour's target stays below it: 60 returns, each clipped at ±0.1, sum to
0.6. Over longer horizons nothing came near it: a week of 1.0 is 700 % a year."""

RELU_EPSILON = 1e-3
"""Added to each feature of the ReLU kernel, because all of them could be 0."""

RMS_EPSILON = 1e-6
"""Added to the mean square inside RMSNorm."""

_SHORTEST_HALF_LIFE_BARS = 32.0
_LONGEST_HALF_LIFE_BARS = 4096.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformerConfig:
    """Everything that fixes a Performer's shape and arithmetic. Can be written as JSON; validated.

    ``half_lives`` are in bars, one per head; None means that the head never forgets. If empty, they become a
    geometric series from 32 to 4096. ``skip_vol`` and ``skip_ret`` are the inputs of the linear skip to the
    volatility head and to both return heads. ``qk_norm=False`` with every half-life None is the paper's
    formula.

    ``horizons_minutes`` are how far ahead it forecasts. ``bars_15m`` and ``bars_60m``, named after the
    default, are the bars in the shorter and in the longer; the first is 0 if a bar is longer (that head then
    has no target).

    Raises:
        BadModel: a value is out of range.
    """

    n_in: int
    d_model: int = 64
    heads: int = 4
    layers: int = 2
    features: int = 16
    mlp_ratio: int = 4
    half_lives: tuple[float | None, ...] = ()
    kernel: Kernel = "positive"
    norms: Norms = "chi"
    qk_norm: bool = True
    dropout: float = 0.0
    seed: int = 0
    skip_vol: tuple[int, ...] = ()
    skip_ret: tuple[int, ...] = ()
    bars_15m: int = 3
    bars_60m: int = 12
    horizons_minutes: tuple[int, int] = HOUR.minutes

    def __post_init__(self) -> None:
        if not self.half_lives and self.heads > 0:
            object.__setattr__(self, "half_lives", _geometric_half_lives(self.heads))
        for name in ("half_lives", "skip_vol", "skip_ret", "horizons_minutes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for message in self._complaints():
            raise BadModel(f"model config: {message}")

    @property
    def horizons(self) -> Horizons:
        """How far ahead the model forecasts."""
        return Horizons.of_minutes(self.horizons_minutes)

    @property
    def d_head(self) -> int:
        return self.d_model // self.heads

    @property
    def d_mlp(self) -> int:
        """Width of the hidden layer in each block's MLP."""
        return self.d_model * self.mlp_ratio

    @property
    def projection_rows(self) -> int:
        """Rows of one head's projection matrix. The hyperbolic map makes two features from each row."""
        return self.features // 2 if self.kernel == "hyperbolic" else self.features

    @property
    def state_shape(self) -> tuple[int, int, int, int]:
        """Shape of one symbol's streaming state: ``(layers, heads, features, d_head + 1)``."""
        return (self.layers, self.heads, self.features, self.d_head + 1)

    @property
    def gammas(self) -> tuple[float, ...]:
        """For each head the factor that one bar leaves of its past, in (0, 1]."""
        return tuple(gamma(half_life) for half_life in self.half_lives)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types, for a manifest."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read back what ``to_json`` returned.

        Raises:
            BadModel: a key is unknown or missing, or a value is out of range.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(document) - known)
        if unknown:
            raise BadModel(f"model config: unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
        if "n_in" not in document:
            raise BadModel("model config: n_in is missing")
        try:
            return cls(**document)
        except TypeError as error:
            raise BadModel(f"model config: {error}") from error

    def _complaints(self) -> list[str]:
        sizes = ("n_in", "d_model", "heads", "layers", "features", "mlp_ratio", "bars_60m")
        found = [
            f"{name} must be at least 1, was {getattr(self, name)}"
            for name in sizes
            if getattr(self, name) < 1
        ]
        if found:
            return found
        if self.d_model % self.heads:
            found.append(f"d_model {self.d_model} is not a multiple of heads {self.heads}")
        if self.kernel not in get_args(Kernel):
            found.append(f"kernel must be one of {get_args(Kernel)}, was {self.kernel!r}")
        if self.norms not in get_args(Norms):
            found.append(f"norms must be one of {get_args(Norms)}, was {self.norms!r}")
        if self.kernel == "hyperbolic" and self.features % 2:
            found.append(f"features must be even with the hyperbolic kernel, was {self.features}")
        if len(self.half_lives) != self.heads:
            found.append(f"half_lives must be one per head ({self.heads}), were {len(self.half_lives)}")
        if not all(h is None or (isfinite(h) and h > 0.0) for h in self.half_lives):
            found.append(f"half_lives must be positive bars or None, were {self.half_lives}")
        if not 0.0 <= self.dropout < 1.0:
            found.append(f"dropout must be in [0, 1), was {self.dropout}")
        if not 0 <= self.seed < 2**31:
            found.append(f"seed must be in [0, 2**31), was {self.seed}")
        if not 0 <= self.bars_15m <= self.bars_60m:
            found.append(f"bars_15m must be in [0, bars_60m {self.bars_60m}], was {self.bars_15m}")
        try:
            Horizons.of_minutes(self.horizons_minutes)
        except BadInput as error:
            found.append(f"horizons_minutes: {error}")
        found += [
            f"skip index {index} must be in [0, n_in {self.n_in})"
            for index in self.skip_vol + self.skip_ret
            if not 0 <= index < self.n_in
        ]
        return found


def gamma(half_life_bars: float | None) -> float:
    """Return 2^(-1/half-life); 1 for None. Rounded to float32, so all forms and precisions use one value."""
    return 1.0 if half_life_bars is None else float(np.float32(0.5 ** (1.0 / half_life_bars)))


def bars_ahead(horizons: Horizons, interval_ms: int) -> tuple[int, int]:
    """Return the bars of this length in both horizons: of 5 minutes in an hour's (3, 12), of 1 hour (0, 1).

    A bar longer than the shorter horizon has no target over it (0). The longer is at least one bar. If a bar
    is longer than it, its target is the bar's own value, scaled down by time.
    """
    return horizons.short_ms // interval_ms, max(1, horizons.long_ms // interval_ms)


def warmup_bars(half_lives: tuple[float | None, ...], share: float = 0.01) -> int | None:
    """Return the bars until at most ``share`` of a head's weight comes from before the stream.

    None if a head never forgets.
    """
    finite = [half_life for half_life in half_lives if half_life is not None]
    return ceil(max(finite) * log2(1.0 / share)) if len(finite) == len(half_lives) else None


def _geometric_half_lives(heads: int) -> tuple[float, ...]:
    if heads == 1:
        return (_LONGEST_HALF_LIFE_BARS,)
    ratio = _LONGEST_HALF_LIFE_BARS / _SHORTEST_HALF_LIFE_BARS
    return tuple(float(round(_SHORTEST_HALF_LIFE_BARS * ratio ** (i / (heads - 1)))) for i in range(heads))
