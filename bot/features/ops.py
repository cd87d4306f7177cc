"""Causal operators: one frozen definition each, with two executors.

``batch`` (here) is vectorised numpy over one series without gaps, written to be obviously right. ``code``
names the same operator in ``vm.py``, the streaming executor: O(1) per bar and constant memory. Tests compare
the two. An operator is a node of a graph: its inputs are other operators, down to ``Input``.

All series are float64, one value per bar. ``batch`` gets valid inputs only and returns NaN for the first
``lookback`` bars; the warm-ups along a chain add up. ``version`` is part of a feature set's hash: raise it
whenever the numbers of an operator change.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from bot.features import vm

Floats = NDArray[np.float64]

SETTLED = 1e-6
"""An exponential mean is warm when its seed has less than this share of it."""

_CHUNK = 1 << 21
"""Elements of a sliding window that are expanded at once: 16 MiB."""


@dataclass(frozen=True)
class Op:
    """A node of a feature program. Equal nodes are computed once."""

    code: ClassVar[int] = -1
    version: ClassVar[int] = 1

    @property
    def inputs(self) -> tuple["Op", ...]:
        """The nodes this operator reads, in the order of ``batch``'s arguments."""
        values = (getattr(self, field.name) for field in fields(self))
        return tuple(value for value in values if isinstance(value, Op))

    @property
    def params(self) -> tuple[float | int | str, ...]:
        """All other fields of the definition."""
        values = (getattr(self, field.name) for field in fields(self))
        return tuple(value for value in values if not isinstance(value, Op))

    @property
    def warmup(self) -> int:
        """Number of bars after a reset until the value is finite, counting the bar that makes it finite."""
        return max(op.warmup for op in self.inputs) + self.lookback

    @property
    def lookback(self) -> int:
        """Number of bars without a value after the first valid input."""
        return 0

    @property
    def window(self) -> int:
        """Number of bars that the operator looks at, if it has a past."""
        return 0

    @property
    def scalars(self) -> int:
        """Number of floats of streaming state, besides the ring of past inputs."""
        return 0

    @property
    def constants(self) -> tuple[float, float]:
        """The numbers that the streaming form needs: by default the first two parameters."""
        first, second = (*(float(value) for value in self.params), 0.0, 0.0)[:2]
        return first, second

    @property
    def reach(self) -> int:
        """How many bars back the streaming form reads its first input."""
        return 0

    def batch(self, *xs: Floats) -> Floats:
        """Return the operator over whole series of valid inputs."""
        raise AssertionError(f"{type(self).__name__} has no series of its own")

    # Arithmetic as it is written: ``ema(close, 12) - sma(close, 48)``, ``2.0 * atr(14)``.

    def __add__(self, other: "Op | float") -> "Op":
        return Add(self, other) if isinstance(other, Op) else Affine(self, 1.0, float(other))

    def __radd__(self, other: float) -> "Op":
        return self + other

    def __sub__(self, other: "Op | float") -> "Op":
        return Sub(self, other) if isinstance(other, Op) else Affine(self, 1.0, -float(other))

    def __rsub__(self, other: float) -> "Op":
        return Affine(self, -1.0, float(other))

    def __mul__(self, other: "Op | float") -> "Op":
        return Mul(self, other) if isinstance(other, Op) else Affine(self, float(other))

    def __rmul__(self, other: float) -> "Op":
        return self * other

    def __neg__(self) -> "Op":
        return Affine(self, -1.0)

    def __truediv__(self, other: "Op | float") -> "Op":
        """Return the quotient; 0 where the divisor is 0."""
        if not isinstance(other, Op):
            return Affine(self, 1.0 / other)
        return Ratio(Mul(self, Sign(other)), Max(other, Affine(other, -1.0)))


@dataclass(frozen=True)
class Input(Op):
    """One field of a bar (see ``INPUTS``). Names with ``other_`` belong to the second symbol's bar."""

    name: str

    @property
    def warmup(self) -> int:
        return 1


INPUTS = ("open", "high", "low", "close", "volume", "close_ms", "funding")
"""Register order of ``vm.py``. The second symbol's first five fields follow as ``other_open`` and so on."""

OPEN, HIGH, LOW, CLOSE, VOLUME, CLOSE_MS, FUNDING = (Input(name) for name in INPUTS)


@dataclass(frozen=True)
class Add(Op):
    """a + b."""

    code = vm.ADD
    a: Op
    b: Op

    def batch(self, *xs: Floats) -> Floats:
        return xs[0] + xs[1]


@dataclass(frozen=True)
class Sub(Op):
    """a - b."""

    code = vm.SUB
    a: Op
    b: Op

    def batch(self, *xs: Floats) -> Floats:
        return xs[0] - xs[1]


@dataclass(frozen=True)
class Mul(Op):
    """a · b."""

    code = vm.MUL
    a: Op
    b: Op

    def batch(self, *xs: Floats) -> Floats:
        return xs[0] * xs[1]


@dataclass(frozen=True)
class Ratio(Op):
    """a / max(b, floor): for a divisor (volume, range, volatility) that may be 0 in a flat market."""

    code = vm.RATIO
    a: Op
    b: Op
    floor: float = 1e-300

    def batch(self, *xs: Floats) -> Floats:
        return xs[0] / np.maximum(xs[1], self.floor)


@dataclass(frozen=True)
class Max(Op):
    """max(a, b)."""

    code = vm.MAX
    a: Op
    b: Op

    def batch(self, *xs: Floats) -> Floats:
        return np.maximum(xs[0], xs[1])


@dataclass(frozen=True)
class Min(Op):
    """min(a, b)."""

    code = vm.MIN
    a: Op
    b: Op

    def batch(self, *xs: Floats) -> Floats:
        return np.minimum(xs[0], xs[1])


@dataclass(frozen=True)
class Log(Op):
    """ln(max(x, floor))."""

    code = vm.LOG
    x: Op
    floor: float = 1e-300

    def batch(self, *xs: Floats) -> Floats:
        return np.log(np.maximum(xs[0], self.floor))


@dataclass(frozen=True)
class Sqrt(Op):
    """sqrt(max(x, 0)): a rounding error below 0 counts as 0."""

    code = vm.SQRT
    x: Op

    def batch(self, *xs: Floats) -> Floats:
        return np.sqrt(np.maximum(xs[0], 0.0))


@dataclass(frozen=True)
class Clip(Op):
    """x limited to [low, high]."""

    code = vm.CLIP
    x: Op
    low: float
    high: float

    def batch(self, *xs: Floats) -> Floats:
        return np.clip(xs[0], self.low, self.high)


@dataclass(frozen=True)
class Affine(Op):
    """scale · x + shift."""

    code = vm.AFFINE
    x: Op
    scale: float
    shift: float = 0.0

    def batch(self, *xs: Floats) -> Floats:
        return xs[0] * self.scale + self.shift


@dataclass(frozen=True)
class Sign(Op):
    """-1, 0 or 1."""

    code = vm.SIGN
    x: Op

    def batch(self, *xs: Floats) -> Floats:
        return np.sign(xs[0])


@dataclass(frozen=True)
class OrZero(Op):
    """x, or 0 where x is NaN: for inputs whose absence is neutral, such as a funding rate."""

    code = vm.OR_ZERO
    x: Op

    def batch(self, *xs: Floats) -> Floats:
        return np.where(np.isnan(xs[0]), 0.0, xs[0])


@dataclass(frozen=True)
class Modulo(Op):
    """x modulo a period, in [0, period): time since the last multiple (1970-01-01 was a Thursday)."""

    code = vm.MODULO
    x: Op
    period: float

    def batch(self, *xs: Floats) -> Floats:
        return np.mod(xs[0], self.period)


@dataclass(frozen=True)
class SinOf(Op):
    """sin(2π · x / period)."""

    code = vm.SIN_OF
    x: Op
    period: float

    def batch(self, *xs: Floats) -> Floats:
        return np.sin(2.0 * math.pi * (xs[0] / self.period))


@dataclass(frozen=True)
class CosOf(Op):
    """cos(2π · x / period)."""

    code = vm.COS_OF
    x: Op
    period: float

    def batch(self, *xs: Floats) -> Floats:
        return np.cos(2.0 * math.pi * (xs[0] / self.period))


@dataclass(frozen=True)
class HourShare(Op):
    """Share of the 60 minutes after x (ms since midnight UTC) that falls into this hour of the day.

    At a full hour this is the usual 0/1 dummy. Between full hours two neighbours share the weight, because
    the 60-minute forecast horizon overlaps both. The 24 shares sum to 1.
    """

    code = vm.HOUR_SHARE
    x: Op
    hour: int

    def batch(self, *xs: Floats) -> Floats:
        """Compute a triangle around the hour, on the circle of the day."""
        ahead = np.mod(self.hour - xs[0] / 3_600_000.0, 24.0)
        return np.maximum(0.0, 1.0 - np.minimum(ahead, 24.0 - ahead))


@dataclass(frozen=True)
class NewYork(Op):
    """x (ms since 1970 in UTC) as New York's clocks show it, in ms: 4 hours less in summer, else 5.

    Summer time as by the law since 2007. If the law changes, this needs another ``version``.
    """

    code = vm.NEW_YORK
    x: Op

    def batch(self, *xs: Floats) -> Floats:
        """Look up each year's two Sundays in the calendar."""
        moments = xs[0].astype("datetime64[ms]")
        begins = _sunday(moments, "March", 1) + np.timedelta64(7, "h")
        ends = _sunday(moments, "November", 0) + np.timedelta64(6, "h")
        summer = (begins <= moments) & (moments < ends)
        return xs[0] - np.where(summer, 4.0, 5.0) * 3_600_000.0


@dataclass(frozen=True)
class _Past(Op):
    """An operator with a past of n bars."""

    x: Op
    n: int

    @property
    def window(self) -> int:
        return self.n


@dataclass(frozen=True)
class Lag(_Past):
    """x, n bars ago."""

    code = vm.LAG

    @property
    def lookback(self) -> int:
        return self.n

    @property
    def reach(self) -> int:
        return self.n

    def batch(self, *xs: Floats) -> Floats:
        out = np.full(len(xs[0]), np.nan)
        out[self.n :] = xs[0][: -self.n]
        return out


@dataclass(frozen=True)
class _Window(_Past):
    """An operator over the last n values of x, including the current one."""

    @property
    def lookback(self) -> int:
        """The window must be full."""
        return self.n - 1

    @property
    def reach(self) -> int:
        """The ring must still hold the value that leaves the window."""
        return self.n


@dataclass(frozen=True)
class Sum(_Window):
    """Rolling sum. The streaming form is a double-double, so the sum does not drift."""

    code = vm.SUM

    @property
    def scalars(self) -> int:
        """High and low part of the sum."""
        return 2

    def batch(self, *xs: Floats) -> Floats:
        """Add prefix and suffix sums of blocks: no difference of long sums, so no drift."""
        return _by_blocks(np.add, xs[0], self.n, 0.0)


@dataclass(frozen=True)
class Deviation(_Window):
    """x minus the mean of its window, in units of x."""

    code = vm.DEVIATION

    @property
    def scalars(self) -> int:
        """High and low part of the sum."""
        return 2

    def batch(self, *xs: Floats) -> Floats:
        """Average the differences to the current value: exact where prices are close together."""
        return _by_rows(lambda d: -d.mean(axis=1), xs[0], self.n)


@dataclass(frozen=True)
class Std(_Window):
    """Population standard deviation of the window (ddof 0, as in Bollinger's bands).

    The streaming form is the root of a double-double. Its error is below 1e-15 of the largest x since the
    reset.
    """

    code = vm.STD

    @property
    def scalars(self) -> int:
        """High and low parts of the sum and of the sum of squares."""
        return 4

    def batch(self, *xs: Floats) -> Floats:
        """Make two passes over the differences to the current value."""
        return _by_rows(lambda d: np.sqrt(np.mean((d - d.mean(axis=1)[:, None]) ** 2, axis=1)), xs[0], self.n)


@dataclass(frozen=True)
class Lowest(_Window):
    """Rolling minimum."""

    code = vm.LOWEST

    @property
    def scalars(self) -> int:
        """Head, tail and ages of a monotonic queue."""
        return self.n + 3

    def batch(self, *xs: Floats) -> Floats:
        return _by_blocks(np.minimum, xs[0], self.n, math.inf)


@dataclass(frozen=True)
class Highest(_Window):
    """Rolling maximum."""

    code = vm.HIGHEST

    @property
    def scalars(self) -> int:
        """Head, tail and ages of a monotonic queue."""
        return self.n + 3

    def batch(self, *xs: Floats) -> Floats:
        return _by_blocks(np.maximum, xs[0], self.n, -math.inf)


@dataclass(frozen=True)
class Ema(_Past):
    """Exponential mean y += alpha·(x - y), seeded with the mean of the first n values as in TA-Lib.

    alpha is 2/(n+1), or 1/n for ``wilder`` (RSI, ATR). The memory is infinite, so the value stays NaN until
    the seed's share (1-alpha)^k is below ``SETTLED``.
    """

    code = vm.EMA
    wilder: bool = False

    @property
    def alpha(self) -> float:
        """Weight of the newest value."""
        return 1.0 / self.n if self.wilder else 2.0 / (self.n + 1)

    @property
    def lookback(self) -> int:
        """The seed's bars, and the bars until the seed's share is negligible."""
        return self.n - 1 + math.ceil(math.log(SETTLED) / math.log1p(-self.alpha))

    @property
    def scalars(self) -> int:
        return 1

    @property
    def constants(self) -> tuple[float, float]:
        return (self.alpha, 0.0)

    def batch(self, *xs: Floats) -> Floats:
        """Scan by doubling: after k rounds each value has collected its 2^k newest terms."""
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
    """Yield every node once, inputs before their readers. The order depends on the definition only."""
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


def _sunday(
    moments: NDArray[np.datetime64], month: Literal["March", "November"], later: int
) -> NDArray[np.datetime64]:
    """Return the first Sunday of a month in each moment's year, or the one so many weeks later."""
    january = moments.astype("datetime64[Y]").astype("datetime64[M]")
    first = np.add(january, np.timedelta64(2 if month == "March" else 10, "M"))
    sunday: NDArray[np.datetime64] = np.busday_offset(
        first.astype("datetime64[D]"), later, roll="forward", weekmask="Sun"
    )
    return sunday


def _by_blocks(ufunc: np.ufunc, x: Floats, n: int, neutral: float) -> Floats:
    """Reduce windows in O(T) (van Herk 1992): a window is one block's suffix and the next block's prefix."""
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
    """Apply ``reduce`` (rows, n) → (rows,) to each window's differences to its newest value."""
    out = np.full(len(x), np.nan)
    if len(x) < n:
        return out
    windows = sliding_window_view(x, n)
    rows = max(1, _CHUNK // n)
    for first in range(0, len(windows), rows):
        chunk = windows[first : first + rows]
        out[n - 1 + first : n - 1 + first + len(chunk)] = reduce(chunk - chunk[:, -1:])
    return out
