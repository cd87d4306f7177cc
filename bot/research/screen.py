"""The path of a rule at every point of a grid: compiled, without an engine, so very fast and less exact.

``walk`` is the whole model of trading. The account begins with 1. A decision is made at a bar's close and
filled at the next bar's open, all of it, for half the spread and the fee. The quantity stays as it is until
the side changes. What is held after the last close is closed at its price, for the fee.
"""

import numpy as np
from numpy.typing import NDArray

from bot.jit import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@compiled(error_model="numpy")
def walk(
    opens: Floats,
    closes: Floats,
    columns: Floats,
    points: Ints,
    other_side: int,
    leverage: float,
    fee_frac: float,
    half_spread_frac: float,
    kept: Ints,
) -> tuple[Floats, Ints]:
    """Return the equity of each point at the times ``kept``, and how many positions it closed.

    A point is long from the close at which its first column is above its second, and on ``other_side`` (0 or
    -1) from the close at which its third is above its fourth. If both hold, it is long; if neither does, or
    a value is NaN, the position stays.

    Args: ``opens`` and ``closes`` (T,); ``columns`` (C, T), what is compared; ``points`` (P, 4), places in
        ``columns``; ``leverage``: a position's value over equity at the close that decides; ``kept`` (K,)
        from 0, the start, to T, the last close.
    Returns: equity (P, K), closed positions (P,).
    """
    bars = len(closes)
    equities = np.empty((len(points), len(kept)))
    closed = np.zeros(len(points), np.int64)
    path = np.empty(bars + 1)
    for k in range(len(points)):
        above, below = columns[points[k, 0]], columns[points[k, 1]]
        leave_above, leave_below = columns[points[k, 2]], columns[points[k, 3]]
        cash, qty, wanted, side = 1.0, 0.0, 0.0, 0
        path[0] = 1.0
        for t in range(bars):
            if wanted != qty:
                change = wanted - qty
                price = opens[t] * (1.0 + half_spread_frac if change > 0.0 else 1.0 - half_spread_frac)
                cash -= change * price + abs(change) * price * fee_frac
                if qty != 0.0:
                    closed[k] += 1
                qty = wanted
            equity = cash + qty * closes[t]
            path[t + 1] = equity
            now = side
            if above[t] > below[t]:
                now = 1
            elif leave_above[t] > leave_below[t]:
                now = other_side
            if now != side:
                side = now
                wanted = side * leverage * equity / closes[t] if equity > 0.0 else 0.0
        if qty != 0.0:
            closed[k] += 1
            path[bars] = cash + qty * closes[-1] - abs(qty) * closes[-1] * fee_frac
        for i in range(len(kept)):
            equities[k, i] = path[kept[i]]
    return equities, closed
