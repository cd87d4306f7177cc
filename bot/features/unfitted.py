"""A model of the user's own before it is fitted. Loads no compiler, unlike ``fitted``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.domain.horizons import span_of

if TYPE_CHECKING:
    from bot.features.ops import Op

Target = Callable[[Any], Any]
"""A function of candles that returns one number a bar."""

DEFAULT_HORIZON_BARS = 12


@dataclass(frozen=True, repr=False)
class Unfitted:
    """A model of the user's own before it is fitted: how it is made, and what it is to learn from what."""

    model: Any
    """An object with ``fit(rows, targets)`` and ``predict(rows)``, or a class or function that makes one."""
    features: "tuple[tuple[str, Op], ...]"
    """Names and indicators, one column of the rows each."""
    horizon_bars: int | None
    """Bars after a row's close that its target is made of; None: those of the target ``forecasts``."""
    target: Target | None
    forecasts: str | None
    """The name of the target, such as ``rv_60m``, if it is a column of a forecast."""

    @property
    def sources(self) -> "tuple[Op, ...]":
        """The features, without their names."""
        return tuple(op for _, op in self.features)

    @property
    def warmup(self) -> int:
        """Number of bars after a reset until all features are known."""
        return max(op.warmup for op in self.sources)

    @property
    def name(self) -> str:
        """What people call the model: its class, or the function that makes it."""
        made = getattr(self.model, "func", self.model)  # of a partial
        return str(getattr(made, "__qualname__", type(made).__qualname__))

    def horizon_of(self, interval_ms: int) -> int:
        """Return the bars after a row's close that its target is made of."""
        if self.horizon_bars is not None:
            return self.horizon_bars
        return DEFAULT_HORIZON_BARS if self.forecasts is None else span_of(self.forecasts) // interval_ms

    def __repr__(self) -> str:
        aim = self.forecasts or getattr(self.target, "__qualname__", "return")
        return f"<unfitted {self.name}: {aim} from {', '.join(name for name, _ in self.features)}>"
