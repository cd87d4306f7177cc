"""The path of a rule at every point of a grid: compiled, without an engine, so very fast and less exact.

``walk`` is the whole model of trading. The account begins with 1. A decision is made at a bar's close and
filled at the next bar's open, all of it, for half the spread and the fee. The quantity stays as it is until
the side changes. If the next bar is missing, the order waits for the one that comes, and then only closes
what is held: the engine cancels entries that a hole made old. What is held after the last close is closed at
its price, for the fee. Several symbols share the account; each has the same rule and its own side.
"""

import numpy as np
from numpy.typing import NDArray

from bot.jit import compiled, inlined

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@compiled(error_model="numpy")
def walk(
    opens: Floats,
    closes: Floats,
    is_late: Flags,
    columns: Floats,
    points: Ints,
    other_side: int,
    leverage: float,
    fee_frac: float,
    half_spread_frac: Floats,
    kept: Ints,
) -> tuple[Floats, Ints]:
    """Return the equity of each point at the times ``kept``, and how many positions it closed.

    A point is long from the close at which its first column is above its second, and on ``other_side`` (0 or
    -1) from the close at which its third is above its fourth. If both hold, it is long; if neither does, or
    a value is NaN, the position stays.

    Args: ``opens`` (S, T), NaN where a symbol has no bar: it is filled at its next one; ``closes`` (S, T),
        the last known price, finite from the start; ``is_late`` (S, T): the bar before is missing;
        ``columns`` (S, C, T), what is compared; ``points``
        (P, 4), places in ``columns``; ``leverage``: a position's value over equity at the close that decides;
        ``half_spread_frac`` (S,); ``kept`` (K,) from 0, the start, to T, the last close.
    Returns: equity (P, K), closed positions (P,).
    """
    symbols, bars = closes.shape
    equities = np.empty((len(points), len(kept)))
    closed = np.zeros(len(points), np.int64)
    path = np.empty(bars + 1)
    path[0] = 1.0
    for k in range(len(points)):
        if symbols == 1:
            first = columns[0]
            closed[k] = _alone(
                path,
                opens[0],
                closes[0],
                is_late[0],
                first[points[k, 0]],
                first[points[k, 1]],
                first[points[k, 2]],
                first[points[k, 3]],
                other_side,
                leverage,
                fee_frac,
                half_spread_frac[0],
            )
        else:
            closed[k] = _together(
                path,
                opens,
                closes,
                is_late,
                columns,
                points[k],
                other_side,
                leverage,
                fee_frac,
                half_spread_frac,
            )
        for i in range(len(kept)):
            equities[k, i] = path[kept[i]]
    return equities, closed


@compiled(error_model="numpy")
def _alone(
    path: Floats,
    opens: Floats,
    closes: Floats,
    is_late: Flags,
    above: Floats,
    below: Floats,
    leave_above: Floats,
    leave_below: Floats,
    other_side: int,
    leverage: float,
    fee_frac: float,
    half_frac: float,
) -> int:
    """Write the equity of one symbol's account; return closed positions.

    ``_together`` is the same for several; scalars instead of arrays of one are seven times as fast.
    """
    bars, closed = len(closes), 0
    cash, qty, wanted, side = 1.0, 0.0, 0.0, 0
    for t in range(bars):
        if wanted != qty:
            wanted = 0.0 if is_late[t] else wanted
            cash -= _cost(wanted - qty, opens[t], fee_frac, half_frac)
            closed += qty != 0.0
            qty = wanted
        equity = cash + qty * closes[t]
        path[t + 1] = equity
        now = _side(side, above[t], below[t], leave_above[t], leave_below[t], other_side)
        if now != side:
            side, wanted = now, _worth(now * leverage, equity, closes[t])
    if qty != 0.0:
        closed += 1
        path[bars] -= abs(qty) * closes[-1] * fee_frac
    return closed


@compiled(error_model="numpy")
def _together(
    path: Floats,
    opens: Floats,
    closes: Floats,
    is_late: Flags,
    columns: Floats,
    point: Ints,
    other_side: int,
    leverage: float,
    fee_frac: float,
    half_frac: Floats,
) -> int:
    """Write the equity of the account that all symbols share; return closed positions."""
    symbols, bars = closes.shape
    above, below, leave_above, leave_below = point
    cash, qty, wanted = 1.0, np.zeros(symbols), np.zeros(symbols)
    side, closed = np.zeros(symbols, np.int64), 0
    for t in range(bars):
        held = 0.0
        for s in range(symbols):
            if wanted[s] != qty[s] and not np.isnan(opens[s, t]):
                wanted[s] = 0.0 if is_late[s, t] else wanted[s]
                cash -= _cost(wanted[s] - qty[s], opens[s, t], fee_frac, half_frac[s])
                closed += qty[s] != 0.0
                qty[s] = wanted[s]
            held += qty[s] * closes[s, t]
        equity = cash + held
        path[t + 1] = equity
        for s in range(symbols):
            a, b = columns[s, above, t], columns[s, below, t]
            now = _side(side[s], a, b, columns[s, leave_above, t], columns[s, leave_below, t], other_side)
            if now != side[s]:
                side[s], wanted[s] = now, _worth(now * leverage, equity, closes[s, t])
    for s in range(symbols):
        if qty[s] != 0.0:
            closed += 1
            path[bars] -= abs(qty[s]) * closes[s, -1] * fee_frac
    return closed


@inlined(error_model="numpy")
def _cost(change: float, opened: float, fee_frac: float, half_frac: float) -> float:
    """Return the cash that a change of quantity takes at a bar's open."""
    price = opened * (1.0 + half_frac if change > 0.0 else 1.0 - half_frac)
    return change * price + abs(change) * price * fee_frac


@inlined(error_model="numpy")
def _side(side: int, a: float, b: float, c: float, d: float, other_side: int) -> int:
    """Return the side after a close, which compares ``a > b`` and ``c > d``."""
    if a > b:
        return 1
    return other_side if c > d else side


@inlined(error_model="numpy")
def _worth(leverage: float, equity: float, price: float) -> float:
    """Return the quantity whose value is ``leverage`` × equity; 0 without equity."""
    return leverage * equity / price if equity > 0.0 else 0.0
