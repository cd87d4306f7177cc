"""The streaming executor: a small register machine that runs a compiled feature program, bar by bar.

A program is a table of instructions in evaluation order. Each instruction reads registers, may keep a few
scalars of state, may read the past of its first input from a shared ring, and writes one register.
``advance`` runs the program for ``n`` bars. A live push of one bar and a replay of a year run the same
machine code, so their rows are equal to the bit.

Validity is counted, not read from NaN: ``age`` is the number of valid inputs of an instruction since the last
reset. State is read only after ``age`` says that it was written, so a reset only sets a count to zero.
``commit`` False leaves every array unchanged.

Compiled without fast-math, so the compiler may not reorder sums.
"""

import math

import numpy as np
from numpy.typing import NDArray

from bot.jit import compiled, inlined

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Table = NDArray[np.uint32]

# Opcodes in three groups: two registers, one register, operators with a past.
ADD, SUB, MUL, RATIO, MAX, MIN = 0, 1, 2, 3, 4, 5
LOG, SQRT, CLIP, AFFINE, SIGN, OR_ZERO = 6, 7, 8, 9, 10, 11
MODULO, SIN_OF, COS_OF, HOUR_SHARE, NEW_YORK = 12, 13, 14, 15, 16
LAG, SUM, DEVIATION, STD, EMA, LOWEST, HIGHEST = 17, 18, 19, 20, 21, 22, 23
_ONE, _PAST = LOG, LAG

# Columns of the instruction table.
CODE, OUT, A, B, LANE, WARM, LOOKBACK, WINDOW, STATE, RING, MASK, RING_LANE = range(12)
FIELDS = 12
FIELD = np.uint32
# Columns of the ring table: the register that is stored, its place, and the lane whose bars count it.
RING_REGISTER, RING_OFFSET, RING_MASK, RING_OWNER = range(4)
RING_FIELDS = 4

# Registers of one bar's fields. The second symbol's five fields follow (see ``program.py``).
CLOSE_MS, FUNDING, OTHER = 5, 6, 7

NEVER = np.iinfo(np.int64).min
"""``last_ms`` of a slot that has seen no bar."""

OK, NOT_NEWER, TWICE, BAD_BAR, NO_SLOT = 0, 1, 2, 3, 4
"""Reasons why ``advance`` refused a row. Nothing was written then."""

_HOUR_MS = 3_600_000.0
_DAY_MS = 24.0 * _HOUR_MS
_TURN = 2.0 * math.pi


_compiled = compiled(error_model="numpy")
_inlined = inlined(error_model="numpy")


@_inlined
def _add(hi: float, lo: float, x: float) -> tuple[float, float]:
    """Return (hi + lo) + x as a double-double: Knuth's TwoSum, then Dekker's renormalisation."""
    s = hi + x
    b = s - hi
    e = (hi - (s - b)) + (x - b) + lo
    total = s + e
    return total, e - (total - s)


@_compiled
def _product(a: float, b: float) -> tuple[float, float]:
    """Return a·b exactly, as two doubles (Dekker 1971, with Veltkamp's splitting)."""
    p = a * b
    c = 134217729.0 * a
    a_hi = c - (c - a)
    a_lo = a - a_hi
    c = 134217729.0 * b
    b_hi = c - (c - b)
    b_lo = b - b_hi
    return p, ((a_hi * b_hi - p) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo


@_compiled
def _hour_share(day_ms: float, hour: float) -> float:
    """Return the share of the 60 minutes after ``day_ms`` that falls into this hour of the day, 0 to 1."""
    apart = abs(day_ms / _HOUR_MS - hour)
    return max(0.0, 1.0 - min(apart, 24.0 - apart))


@_compiled
def _new_york(ms: float) -> float:
    """Return a moment of UTC on New York's clocks: 4 hours behind in summer, else 5.

    Days are counted from 1 March, so that leap days come last (Howard Hinnant, "chrono-compatible low-level
    date algorithms"): 1 November is day 245, and 1970-01-01 a Thursday. Summer begins on the second Sunday
    of March at 07:00 UTC and ends on the first Sunday of November at 06:00 UTC, the law since 2007.
    """
    day = math.floor(ms / _DAY_MS)
    since = (day + 719_468) % 146_097  # days since 1 March of a year that 400 divides
    year = (since - since // 1_460 + since // 36_524 - since // 146_096) // 365
    march_1 = day - (since - (365 * year + year // 4 - year // 100))
    november_1 = march_1 + 245
    begins = (march_1 + (3 - march_1) % 7 + 7) * _DAY_MS + 7.0 * _HOUR_MS
    ends = (november_1 + (3 - november_1) % 7) * _DAY_MS + 6.0 * _HOUR_MS
    return ms - (4.0 if begins <= ms < ends else 5.0) * _HOUR_MS


@_compiled
def _of_two(code: int, a: float, b: float, floor: float) -> float:
    """Compute an operator of two registers of the current bar."""
    if code == ADD:
        return a + b
    if code == SUB:
        return a - b
    if code == MUL:
        return a * b
    if code == RATIO:
        return a / max(b, floor)
    if code == MAX:
        return max(a, b)
    return min(a, b)


@_compiled
def _of_one(code: int, x: float, p: float, q: float) -> float:
    """Compute an operator of one register of the current bar."""
    if code == LOG:
        return math.log(max(x, p))
    if code == SQRT:
        return math.sqrt(max(x, 0.0))
    if code == CLIP:
        return min(max(x, p), q)
    if code == AFFINE:
        return x * p + q
    if code == SIGN:
        return 1.0 if x > 0.0 else (-1.0 if x < 0.0 else 0.0)
    if code == OR_ZERO:
        return 0.0 if math.isnan(x) else x
    if code == MODULO:
        return x % p
    if code == SIN_OF:
        return math.sin(_TURN * (x / p))
    if code == COS_OF:
        return math.cos(_TURN * (x / p))
    if code == NEW_YORK:
        return _new_york(x)
    return _hour_share(x, p)


@_inlined
def _rolling_sum(state: Floats, at: int, x: float, old: float, age: int, commit: bool) -> tuple[float, float]:
    """Return the window's sum as a double-double: add the new value, subtract the old one (0 if none)."""
    hi, lo = (0.0, 0.0) if age == 1 else (state[at], state[at + 1])
    hi, lo = _add(hi, lo, -old)
    hi, lo = _add(hi, lo, x)
    if commit:
        state[at] = hi
        state[at + 1] = lo
    return hi, lo


@_inlined
def _deviation(hi: float, lo: float, x: float, n: int) -> float:
    """Return x minus the mean of its window, (n·x - Σ)/n in double-double: no cancellation at any price."""
    p, e = _product(float(n), x)
    p, e = _add(p, e, -hi)
    return float(((p - lo) + e) / n)


@_inlined
def _std(
    state: Floats, at: int, hi: float, lo: float, x: float, old: float, age: int, n: int, commit: bool
) -> float:
    """Return the population standard deviation, sqrt(n·Σx² - (Σx)²)/n in double-double; ``hi + lo`` is Σx."""
    sq_hi, sq_lo = (0.0, 0.0) if age == 1 else (state[at + 2], state[at + 3])
    for sign, value in ((-1.0, old), (1.0, x)):
        p, e = _product(sign * value, value)
        sq_hi, sq_lo = _add(sq_hi, sq_lo, p)
        sq_hi, sq_lo = _add(sq_hi, sq_lo, e)
    if commit:
        state[at + 2] = sq_hi
        state[at + 3] = sq_lo
    p, e = _product(hi, hi)
    q, f = _product(float(n), sq_hi)
    q, f = _add(q, f + n * sq_lo, -p)
    return math.sqrt(max(0.0, q + (f - (e + 2.0 * hi * lo)))) / n


@_inlined
def _ema(state: Floats, at: int, x: float, age: int, n: int, alpha: float, commit: bool) -> float:
    """Return the exponential mean, seeded with the plain mean of the first n values, as in TA-Lib."""
    if age == 1:
        y = x
    elif age < n:
        y = state[at] + x
    elif age == n:
        y = (state[at] + x) / n
    else:
        y = state[at] + alpha * (x - state[at])
    if commit:
        state[at] = y
    return float(y)


@_inlined
def _extreme(
    state: Floats,
    at: int,
    ring: int,
    mask: int,
    bar: int,
    x: float,
    age: int,
    n: int,
    sign: float,
    commit: bool,
) -> float:
    """Return the rolling maximum of sign·x in amortised O(1): a monotonic queue of ages over the ring."""
    head, tail = (0, 0) if age == 1 else (int(state[at]), int(state[at + 1]))
    room = at + 2
    wrap = n + 1
    if tail > head and int(state[room + head % wrap]) <= age - n:
        head += 1
    best = x
    if tail > head:
        first = state[ring + ((bar - (age - int(state[room + head % wrap]))) & mask)]
        best = max(sign * first, sign * x) * sign
    if commit:
        while tail > head:
            last = state[ring + ((bar - (age - int(state[room + (tail - 1) % wrap]))) & mask)]
            if sign * last > sign * x:
                break
            tail -= 1
        state[room + tail % wrap] = age
        state[at] = head
        state[at + 1] = tail + 1
    return float(best)


@_inlined
def _of_past(
    table: Table, i: int, alpha: float, state: Floats, x: float, ages: Ints, age: int, commit: bool
) -> float:
    """Compute an operator with a past."""
    code, n, at = table[i, CODE], table[i, WINDOW], table[i, STATE]
    ring, mask, bar = table[i, RING], table[i, MASK], ages[table[i, RING_LANE]]
    if code == EMA:
        return float(_ema(state, at, x, age, n, alpha, commit))
    if code >= LOWEST:
        sign = -1.0 if code == LOWEST else 1.0
        return float(_extreme(state, at, ring, mask, bar, x, age, n, sign, commit))
    old = state[ring + ((bar - n) & mask)] if age > n else 0.0
    if code == LAG:
        return float(old)
    hi, lo = _rolling_sum(state, at, x, old, age, commit)
    if code == SUM:
        return float(hi)
    if code == DEVIATION:
        return float(_deviation(hi, lo, x, n))
    return float(_std(state, at, hi, lo, x, old, age, n, commit))


@_compiled
def _run(
    table: Table, pars: Floats, rings: Ints, state: Floats, ages: Ints, registers: Floats, commit: bool
) -> None:
    """Run every instruction for one bar of one symbol, then store this bar in the rings."""
    for i in range(len(table)):
        age = ages[table[i, LANE]] - table[i, WARM] + 1
        code, out, x = table[i, CODE], table[i, OUT], registers[table[i, A]]
        if age <= 0:
            registers[out] = math.nan
        elif code < _ONE:
            registers[out] = _of_two(code, x, registers[table[i, B]], pars[i, 0])
        elif code < _PAST:
            registers[out] = _of_one(code, x, pars[i, 0], pars[i, 1])
        else:
            y = _of_past(table, i, pars[i, 0], state, x, ages, age, commit)
            registers[out] = y if age > table[i, LOOKBACK] else math.nan
    if commit:
        for i in range(len(rings)):
            if ages[rings[i, RING_OWNER]] == 0:
                continue
            where = rings[i, RING_OFFSET] + (ages[rings[i, RING_OWNER]] & rings[i, RING_MASK])
            state[where] = registers[rings[i, RING_REGISTER]]


@_compiled
def _bar_is_sound(bar: Floats) -> bool:
    low, high = bar[2], bar[1]
    return bool(0.0 < low <= bar[0] <= high < math.inf and low <= bar[3] <= high and 0.0 <= bar[4] < math.inf)


@_compiled
def _fault(last_ms: Ints, slots: Ints, bars: Floats, start_ms: Ints, replay: bool) -> tuple[int, int]:
    """Return the first row that is not valid, as (row, reason), before anything is written."""
    seen = np.zeros(len(last_ms), np.bool_)
    for i in range(len(slots)):
        slot = slots[i]
        if slot < 0 or slot >= len(last_ms):
            return i, NO_SLOT
        if seen[slot] and not replay:
            return i, TWICE
        before = start_ms[i - 1] if replay and i else last_ms[slot]
        if start_ms[i] <= before:
            return i, NOT_NEWER
        if not _bar_is_sound(bars[i]):
            return i, BAD_BAR
        for lane in range(5, bars.shape[1], 5):
            if not math.isnan(bars[i, lane + 3]) and not _bar_is_sound(bars[i, lane : lane + 5]):
                return i, BAD_BAR
        seen[slot] = True
    return -1, OK


@_compiled
def _count_bar(ages: Ints, last_ms: int, start_ms: int, interval_ms: int, bar: Floats, before: Ints) -> bool:
    """Fill ``ages`` including this bar. Return True if there is a gap before this bar."""
    gap = last_ms != NEVER and start_ms != last_ms + interval_ms
    for lane in range(len(ages)):
        missing = lane > 0 and math.isnan(bar[5 * lane + 3])
        ages[lane] = 0 if missing else (1 if gap else before[lane] + 1)
    return bool(gap)


@_compiled
def _clear_broken_lanes(state: Floats, ages: Ints, lane_ends: Ints) -> None:
    """Zero the state of each lane that starts again, so that equal histories have equal states."""
    begin = 0
    for lane in range(len(ages)):
        if ages[lane] <= 1:
            state[begin : lane_ends[lane]] = 0.0
        begin = lane_ends[lane]


@_compiled
def advance(
    table: Table,
    pars: Floats,
    rings: Ints,
    lane_ends: Ints,
    columns: Ints,
    state: Floats,
    ages: Ints,
    clock: Ints,
    slots: Ints,
    bars: Floats,
    start_ms: Ints,
    funding: Floats,
    interval_ms: int,
    rows: Floats,
    commit: bool,
    replay: bool,
) -> tuple[int, int]:
    """Run ``n`` bars through the program and fill ``rows``.

    Args: ``table`` (instructions, FIELDS), ``pars`` (instructions, 2), ``rings`` (rings, RING_FIELDS),
        ``lane_ends`` (lanes,) end of each lane's part of the state, ``columns`` (F,) registers that are
        features; per slot ``state`` (symbols, size), ``ages`` (symbols, lanes) bars since reset and ``clock``
        (2, symbols): start of the last bar, count of gaps; then the bars: ``slots`` (n,), ``bars`` (n,
        5·lanes), ``start_ms`` (n,), ``funding`` (n,). ``commit`` False writes ``rows`` only. ``replay``: the
        rows are consecutive bars of one slot instead of distinct slots.
    Returns: (-1, OK), or the first bad row and its reason; nothing was written then.
    """
    last_ms = clock[0]
    row, reason = _fault(last_ms, slots, bars, start_ms, replay)
    if reason != OK:
        return row, reason
    registers = np.empty(len(table) + OTHER + bars.shape[1] - 5)
    age = np.empty(ages.shape[1], np.int64)
    for i in range(len(slots)):
        slot = slots[i]
        if _count_bar(age, last_ms[slot], start_ms[i], interval_ms, bars[i], ages[slot]) and commit:
            clock[1, slot] += 1
        if commit:
            _clear_broken_lanes(state[slot], age, lane_ends)
            ages[slot] = age
            last_ms[slot] = start_ms[i]
        for j in range(bars.shape[1]):
            registers[j if j < CLOSE_MS else j - CLOSE_MS + OTHER] = bars[i, j]
        registers[CLOSE_MS] = start_ms[i] + interval_ms
        registers[FUNDING] = funding[i]
        _run(table, pars, rings, state[slot], age, registers, commit)
        for j in range(len(columns)):
            rows[i, j] = registers[columns[j]]
    return -1, OK
