"""Causal operators: one frozen definition each, with two executors.

``batch`` (here) is vectorised numpy over one unbroken series and is written for being obviously right;
``code`` names the same operator in ``vm.py``, the streaming executor: O(1) a bar, no growth. Tests hold the
two together. An operator is a node: its inputs are other operators, down to ``Input``.

All series are float64, one value a bar. ``batch`` sees valid inputs only and answers NaN for the first
``lookback`` bars; warm-ups add up along a chain. ``version`` is part of a feature set's hash: raise it
whenever an operator's numbers change.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bot.features import vm

Floats = NDArray[np.float64]

SETTLED = 1e-6
"""An exponential mean counts as warm once its seed has less than this share in it."""

_CHUNK = 1 << 21
"""Elements of a sliding window that are expanded at a time: 16 MiB."""


@dataclass(frozen=True)
class Op:
    """A node of a feature program. Equal nodes are one node: they are computed once."""

    code: ClassVar[int] = -1
    version: ClassVar[int] = 1

    @property
    def inputs(self) -> tuple["Op", ...]:
        """The nodes this one reads, in the order ``batch`` takes them."""
        values = (getattr(self, field.name) for field in fields(self))
        return tuple(value for value in values if isinstance(value, Op))

    @property
    def params(self) -> tuple[float | int | str, ...]:
        """Everything else that defines it."""
        values = (getattr(self, field.name) for field in fields(self))
        return tuple(value for value in values if not isinstance(value, Op))

    @property
    def warmup(self) -> int:
        """Bars after a reset until the value is finite, the last of them included."""
        return max(op.warmup for op in self.inputs) + self.lookback

    @property
    def lookback(self) -> int:
        """Bars without an answer after the first valid input."""
        return 0

    @property
    def window(self) -> int:
        """Bars that are looked at, for operators with a past."""
        return 0

    @property
    def scalars(self) -> int:
        """Streaming state, in floats, besides the ring of past inputs."""
        return 0

    @property
    def constants(self) -> tuple[float, float]:
        """What the streaming form needs to know: the parameters, unless it wants them otherwise."""
        first, second = (*(float(value) for value in self.params), 0.0, 0.0)[:2]
        return first, second

    @property
    def reach(self) -> int:
        """How many bars back the streaming form reads its first input."""
        return 0

    def batch(self, *xs: Floats) -> Floats:
        """The operator over whole series of valid inputs."""
        raise AssertionError(f"{type(self).__name__} has no series of its own")


@dataclass(frozen=True)
class Input(Op):
    """What one bar brings: see ``INPUTS``; names with ``other_`` belong to the joined stream."""

    name: str

    @property
    def warmup(self) -> int:
        """One bar."""
        return 1


INPUTS = ("open", "high", "low", "close", "volume", "close_ms", "funding")
"""Register order of ``vm.py``; the joined stream's first five follow as ``other_open`` and so on."""

OPEN, HIGH, LOW, CLOSE, VOLUME, CLOSE_MS, FUNDING = (Input(name) for name in INPUTS)


@dataclass(frozen=True)
class Add(Op):
    """a + b."""

    code = vm.ADD
    a: Op
    b: Op

    def batch(self, *xs: Floats) -> Floats:
        """Sum of two series."""
        return xs[0] + xs[1]


@dataclass(frozen=True)
class Sub(Op):
    """a - b."""

    code = vm.SUB
    a: Op
    b: Op

    def batch(self, *xs: Floats) -> Floats:
        """Difference of two series."""
        return xs[0] - xs[1]


@dataclass(frozen=True)
class Mul(Op):
    """a · b."""

    code = vm.MUL
    a: Op
    b: Op

    def batch(self, *xs: Floats) -> Floats:
        """Product of two series."""
        return xs[0] * xs[1]


@dataclass(frozen=True)
class Ratio(Op):
    """a / max(b, floor): b is a size (volume, range, volatility) that may vanish in a flat market."""

    code = vm.RATIO
    a: Op
    b: Op
    floor: float = 1e-300

    def batch(self, *xs: Floats) -> Floats:
        """Quotient with a floor below the divisor."""
        return xs[0] / np.maximum(xs[1], self.floor)


@dataclass(frozen=True)
class Max(Op):
    """The larger of two."""

    code = vm.MAX
    a: Op
    b: Op

    def batch(self, *xs: Floats) -> Floats:
        """Elementwise maximum."""
        return np.maximum(xs[0], xs[1])


@dataclass(frozen=True)
class Min(Op):
    """The smaller of two."""

    code = vm.MIN
    a: Op
    b: Op

    def batch(self, *xs: Floats) -> Floats:
        """Elementwise minimum."""
        return np.minimum(xs[0], xs[1])


@dataclass(frozen=True)
class Log(Op):
    """ln(max(x, floor))."""

    code = vm.LOG
    x: Op
    floor: float = 1e-300

    def batch(self, *xs: Floats) -> Floats:
        """Natural logarithm with a floor below its argument."""
        return np.log(np.maximum(xs[0], self.floor))


@dataclass(frozen=True)
class Sqrt(Op):
    """sqrt(max(x, 0))."""

    code = vm.SQRT
    x: Op

    def batch(self, *xs: Floats) -> Floats:
        """Square root; a rounding residue below 0 counts as 0."""
        return np.sqrt(np.maximum(xs[0], 0.0))


@dataclass(frozen=True)
class Clip(Op):
    """x held inside [low, high]."""

    code = vm.CLIP
    x: Op
    low: float
    high: float

    def batch(self, *xs: Floats) -> Floats:
        """Elementwise clip."""
        return np.clip(xs[0], self.low, self.high)


@dataclass(frozen=True)
class Affine(Op):
    """scale · x + shift."""

    code = vm.AFFINE
    x: Op
    scale: float
    shift: float = 0.0

    def batch(self, *xs: Floats) -> Floats:
        """A line."""
        return xs[0] * self.scale + self.shift


@dataclass(frozen=True)
class Sign(Op):
    """-1, 0 or 1."""

    code = vm.SIGN
    x: Op

    def batch(self, *xs: Floats) -> Floats:
        """Elementwise sign."""
        return np.sign(xs[0])


@dataclass(frozen=True)
class OrZero(Op):
    """x, or 0 where there is none (NaN): for inputs whose absence is neutral, such as a funding rate."""

    code = vm.OR_ZERO
    x: Op

    def batch(self, *xs: Floats) -> Floats:
        """NaN becomes 0."""
        return np.where(np.isnan(xs[0]), 0.0, xs[0])


@dataclass(frozen=True)
class Modulo(Op):
    """x modulo a period, in [0, period): time since its last multiple (1970-01-01 was a Thursday)."""

    code = vm.MODULO
    x: Op
    period: float

    def batch(self, *xs: Floats) -> Floats:
        """Elementwise remainder with the period's sign."""
        return np.mod(xs[0], self.period)


@dataclass(frozen=True)
class SinOf(Op):
    """sin(2π · x / period)."""

    code = vm.SIN_OF
    x: Op
    period: float

    def batch(self, *xs: Floats) -> Floats:
        """Sine of the phase."""
        return np.sin(2.0 * math.pi * (xs[0] / self.period))


@dataclass(frozen=True)
class CosOf(Op):
    """cos(2π · x / period)."""

    code = vm.COS_OF
    x: Op
    period: float

    def batch(self, *xs: Floats) -> Floats:
        """Cosine of the phase."""
        return np.cos(2.0 * math.pi * (xs[0] / self.period))


@dataclass(frozen=True)
class HourShare(Op):
    """How much of the 60 minutes from x (ms since midnight UTC) on falls into this hour of the day.

    At a full hour this is the usual 0/1 dummy; in between two neighbours share the weight, as the forecast
    horizon does. The 24 of them sum to 1.
    """

    code = vm.HOUR_SHARE
    x: Op
    hour: int

    def batch(self, *xs: Floats) -> Floats:
        """A triangle around the hour, on the circle of the day."""
        ahead = np.mod(self.hour - xs[0] / 3_600_000.0, 24.0)
        return np.maximum(0.0, 1.0 - np.minimum(ahead, 24.0 - ahead))


@dataclass(frozen=True)
class _Past(Op):
    """An operator with a past of n bars."""

    x: Op
    n: int

    @property
    def window(self) -> int:
        """The parameter n."""
        return self.n


@dataclass(frozen=True)
class Lag(_Past):
    """x, n bars ago."""

    code = vm.LAG

    @property
    def lookback(self) -> int:
        """The first n bars have no such past."""
        return self.n

    @property
    def reach(self) -> int:
        """The parameter n."""
        return self.n

    def batch(self, *xs: Floats) -> Floats:
        """A shift."""
        out = np.full(len(xs[0]), np.nan)
        out[self.n :] = xs[0][: -self.n]
        return out


@dataclass(frozen=True)
class _Window(_Past):
    """An operator over the last n values of x, this one included."""

    @property
    def lookback(self) -> int:
        """The window must be full."""
        return self.n - 1

    @property
    def reach(self) -> int:
        """The value that leaves the window."""
        return self.n


@dataclass(frozen=True)
class Sum(_Window):
    """Rolling sum; streamed as a double-double, so it does not drift."""

    code = vm.SUM

    @property
    def scalars(self) -> int:
        """High and low part."""
        return 2

    def batch(self, *xs: Floats) -> Floats:
        """Prefix and suffix sums of blocks: no difference of long sums, hence no drift."""
        return _by_blocks(np.add, xs[0], self.n, 0.0)


@dataclass(frozen=True)
class Deviation(_Window):
    """x minus the mean of its window; in units of x."""

    code = vm.DEVIATION

    @property
    def scalars(self) -> int:
        """High and low part of the sum."""
        return 2

    def batch(self, *xs: Floats) -> Floats:
        """Mean of the differences to the current value: exact where prices are close to each other."""
        return _by_rows(lambda d: -d.mean(axis=1), xs[0], self.n)


@dataclass(frozen=True)
class Std(_Window):
    """Population standard deviation of the window (ddof 0, as in Bollinger's bands).

    Streamed as the root of a double-double: its error is below 1e-15 of the largest x since the reset.
    """

    code = vm.STD

    @property
    def scalars(self) -> int:
        """High and low parts of the sum and of the sum of squares."""
        return 4

    def batch(self, *xs: Floats) -> Floats:
        """Two passes over the differences to the current value."""
        return _by_rows(lambda d: np.sqrt(np.mean((d - d.mean(axis=1)[:, None]) ** 2, axis=1)), xs[0], self.n)


@dataclass(frozen=True)
class Lowest(_Window):
    """Rolling minimum."""

    code = vm.LOWEST

    @property
    def scalars(self) -> int:
        """Head, tail and the ages in a monotonic queue."""
        return self.n + 3

    def batch(self, *xs: Floats) -> Floats:
        """Van Herk's block prefixes and suffixes."""
        return _by_blocks(np.minimum, xs[0], self.n, math.inf)


@dataclass(frozen=True)
class Highest(_Window):
    """Rolling maximum."""

    code = vm.HIGHEST

    @property
    def scalars(self) -> int:
        """Head, tail and the ages in a monotonic queue."""
        return self.n + 3

    def batch(self, *xs: Floats) -> Floats:
        """Van Herk's block prefixes and suffixes."""
        return _by_blocks(np.maximum, xs[0], self.n, -math.inf)


@dataclass(frozen=True)
class Ema(_Past):
    """Exponential mean y += alpha·(x - y), seeded with the mean of the first n values as in TA-Lib.

    alpha is 2/(n+1), or 1/n for ``wilder`` (RSI, ATR). The memory is infinite, so it stays NaN until the
    seed's share (1-alpha)^k is below ``SETTLED``.
    """

    code = vm.EMA
    wilder: bool = False

    @property
    def alpha(self) -> float:
        """Weight of the newest value."""
        return 1.0 / self.n if self.wilder else 2.0 / (self.n + 1)

    @property
    def lookback(self) -> int:
        """The seed's bars and those that make it negligible."""
        return self.n - 1 + math.ceil(math.log(SETTLED) / math.log1p(-self.alpha))

    @property
    def scalars(self) -> int:
        """The mean itself."""
        return 1

    @property
    def constants(self) -> tuple[float, float]:
        """The weight."""
        return (self.alpha, 0.0)

    def batch(self, *xs: Floats) -> Floats:
        """A scan by doubling: after k rounds each value has collected the 2^k newest terms."""
        out = np.full(len(xs[0]), np.nan)
        if len(xs[0]) <= self.lookback:
            return out
        y = self.alpha * xs[0][self.n - 1 :]
        y[0] = xs[0][: self.n].mean()
        reach, decay = 1, 1.0 - self.alpha
        while reach < len(y) and decay > 0.0:
            y[reach:] += decay * y[:-reach]
            reach, decay = 2 * reach, decay * decay
        out[self.lookback :] = y[self.lookback - self.n + 1 :]
        return out


def ordered(roots: tuple[Op, ...]) -> Iterator[Op]:
    """Every node once, inputs before those who read them; the order depends on the definition only."""
    done: set[Op] = set()

    def visit(op: Op) -> Iterator[Op]:
        if op in done:
            return
        for source in op.inputs:
            yield from visit(source)
        done.add(op)
        yield op

    for root in roots:
        yield from visit(root)


def _by_blocks(ufunc: np.ufunc, x: Floats, n: int, neutral: float) -> Floats:
    """Rolling reduction in O(T) (van Herk 1992): a window is one block's suffix and the next one's prefix."""
    out = np.full(len(x), np.nan)
    if len(x) < n:
        return out
    grid = np.full((-(-len(x) // n), n), neutral)
    grid.ravel()[: len(x)] = x
    prefix = ufunc.accumulate(grid, axis=1).ravel()
    suffix = ufunc.accumulate(grid[:, ::-1], axis=1)[:, ::-1].ravel()
    out[n - 1 :] = ufunc(suffix[: len(x) - n + 1], prefix[n - 1 : len(x)])
    out[n - 1 :: n] = prefix[n - 1 : len(x) : n]
    return out


def _by_rows(reduce: Callable[[Floats], Floats], x: Floats, n: int) -> Floats:
    """Apply ``reduce`` (rows, n) → (rows,) to the differences of each window to its newest value."""
    out = np.full(len(x), np.nan)
    if len(x) < n:
        return out
    windows = sliding_window_view(x, n)
    rows = max(1, _CHUNK // n)
    for first in range(0, len(windows), rows):
        chunk = windows[first : first + rows]
        out[n - 1 + first : n - 1 + first + len(chunk)] = reduce(chunk - chunk[:, -1:])
    return out
