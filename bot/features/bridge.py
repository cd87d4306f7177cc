"""Bridging short holes in one symbol's bars: one rule for a live stream, a backtest, a bulk run and research.

When the next bar arrives, the missing bars before it are filled in: their prices go in a straight line from
the last close to the open of the next bar, and each has the last bar's volume and funding rate. So a filled
bar is known at the close of the bar after the hole, and no earlier forecast changes. Filled bars reach
features and model only; strategies, venue and account see real bars.

How much may be filled is measured for each model (``research/holes.py``) and stands in its manifest.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bot.domain.errors import BadInput
from bot.ports import Floats


@dataclass(frozen=True)
class Bridge:
    """How long a hole may be to be bridged, and what a bridged hole costs. The default bridges nothing.

    ``rewarm_bars[n - 1]``: bars without a forecast after a hole of n missing bars; its length is the longest
    hole. ``repay_bars``: bars after which one bridged bar no longer counts. Until then it is added to the
    next hole: a stream of short holes is treated like a long one, and for long at most one bar in
    ``repay_bars`` is filled.

    Raises:
        BadInput: the numbers are negative, ``rewarm_bars`` falls, or ``repay_bars`` is below 1.
    """

    rewarm_bars: tuple[int, ...] = ()
    repay_bars: int = 1

    def __post_init__(self) -> None:
        rising = all(0 <= a <= b for a, b in pairwise((0, *self.rewarm_bars)))
        if not rising or self.repay_bars < 1:
            raise BadInput(
                f"rewarm_bars must be >= 0 and must not fall, and repay_bars must be >= 1, "
                f"were {list(self.rewarm_bars)} and {self.repay_bars}"
            )

    @property
    def bars(self) -> int:
        """The longest hole that is bridged, in bars; 0: none is."""
        return len(self.rewarm_bars)

    def cross(self, hole_bars: int, owed_bars: int) -> int | None:
        """Return the bars owed after this hole is bridged, or None if it must not be bridged.

        ``owed_bars``: the bars still owed for earlier holes at the bar after this hole. A bar that passes
        pays one, ``repay_bars`` of them pay for one bridged bar.
        """
        owed_bars += hole_bars * self.repay_bars
        return owed_bars if hole_bars > 0 and owed_bars <= self.bars * self.repay_bars else None

    def withheld_bars(self, owed_bars: int) -> int:
        """Return the bars without a forecast from the bar after a hole on, if this much is owed there."""
        return self.rewarm_bars[-(-owed_bars // self.repay_bars) - 1]


NO_BRIDGE = Bridge()


def filled(close: float, volume: float, next_open: float, hole_bars: int) -> Floats:
    """Return the bars (hole_bars, 5) between a bar (its close and volume) and the open of the next bar.

    On data with planted holes a straight line kept forecasts closer than flat bars or volume 0 did.
    """
    share = np.arange(hole_bars + 1) / hole_bars
    path = close * (1.0 - share) + next_open * share  # both ends are exact, and no price leaves their range
    begin, end = path[:-1], path[1:]
    columns = (begin, np.maximum(begin, end), np.minimum(begin, end), end, np.full(hole_bars, volume))
    return np.column_stack(columns)


@dataclass(frozen=True)
class BridgedBars:
    """A series with its bridged holes filled. ``N`` bars, of which ``real`` ones were given."""

    start_ms: NDArray[np.int64]  # (N,)
    ohlcv: Floats  # (N, 5)
    funding: Floats  # (N,), last rate settled before each close
    real: NDArray[np.bool_]  # (N,)
    withheld: NDArray[np.bool_]  # (N,), bars whose forecast does not count; filled bars are among them

    def scattered(self, values: Floats) -> Floats:
        """Return values of the real bars (T, ...) at their places among all bars (N, ...), else NaN."""
        out = np.full((len(self.real), *values.shape[1:]), np.nan)
        out[self.real] = values
        return out


def bridged(
    bridge: Bridge, start_ms: NDArray[np.int64], ohlcv: Floats, funding: Floats, interval_ms: int
) -> BridgedBars:
    """Fill the holes of one symbol's series (T,) as a stream does when its bars come one by one."""
    holes, withheld = _crossed(bridge, start_ms, interval_ms)
    before = np.zeros(len(start_ms), np.int64)  # filled bars just before each real bar
    for at, hole_bars in holes:
        before[at] = hole_bars
    place = np.arange(len(start_ms)) + np.cumsum(before)
    real = np.zeros(len(start_ms) + int(before.sum()), np.bool_)
    real[place] = True
    origin = np.cumsum(real) - 1  # the last real bar, for each bar
    out = BridgedBars(start_ms[origin], ohlcv[origin], funding[origin], real, np.ones(len(real), np.bool_))
    out.withheld[place] = withheld
    for at, hole_bars in holes:
        hole = slice(place[at] - hole_bars, place[at])
        out.start_ms[hole] += interval_ms * np.arange(1, hole_bars + 1)
        out.ohlcv[hole] = filled(ohlcv[at - 1, 3], ohlcv[at - 1, 4], ohlcv[at, 0], hole_bars)
    return out


def _crossed(
    bridge: Bridge, start_ms: NDArray[np.int64], interval_ms: int
) -> tuple[list[tuple[int, int]], NDArray[np.bool_]]:
    """Return the bridged holes (index of the bar after it, missing bars), and the withheld bars (T,)."""
    withheld = np.zeros(len(start_ms), np.bool_)
    holes: list[tuple[int, int]] = []
    owed_until_ms = withheld_until_ms = 0
    edges = (np.flatnonzero(np.diff(start_ms) != interval_ms) + 1).tolist()
    for at, end in pairwise([*edges, len(start_ms)]):
        now_ms = int(start_ms[at])
        hole_bars = (now_ms - int(start_ms[at - 1])) // interval_ms - 1
        owed = bridge.cross(hole_bars, max(0, owed_until_ms - now_ms) // interval_ms)
        if owed is None:
            owed_until_ms = withheld_until_ms = 0
            continue
        holes.append((at, hole_bars))
        owed_until_ms = now_ms + owed * interval_ms
        withheld_until_ms = max(withheld_until_ms, now_ms + bridge.withheld_bars(owed) * interval_ms)
        withheld[at:end] = start_ms[at:end] < withheld_until_ms
    return holes, withheld
