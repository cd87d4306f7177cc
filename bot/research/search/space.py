"""The parameters that a search tries: axes of values, the whole grid, or seeded draws from it.

A range of numbers is an axis, too: of values in a thousand equal steps, or steps of an equal ratio (``log``).
So points of a range are drawn, named and compared as points of a grid are.
"""

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from bot.domain.errors import BadUsage
from bot.domain.money import plain

AXIS_MAX = 10_000
"""Values of one axis; more is a slip of the pen."""
STEPS = 1_000
"""A range has so many steps."""
_DIGITS = 5
"""Digits of a value in a range with an equal ratio."""


@dataclass(frozen=True)
class Axis:
    """One parameter and the texts that it takes, as ``--param`` takes them."""

    name: str
    values: tuple[str, ...]
    range: str = ""
    """How its range is written; empty if its values are listed. Then a value may stand several times."""


def parse_axis(text: str) -> Axis:
    """Read ``name=6,12,24``, ``name=10..50:10`` (with both ends; the step is 1 if none is given), or both.

    A range of numbers is ``name=0.5..5`` (one of its ends has a decimal point), or ``name=12..288:log``,
    where 20 to 40 is as likely as 100 to 200. A range with ``log`` and whole ends has whole numbers.

    Raises:
        BadUsage: the text is none of these, names a value twice, or names too many.
    """
    name, equals, given = text.partition("=")
    name = name.strip()
    parts = [part.strip() for part in given.split(",")]
    if not equals or not name or not all(parts):
        raise BadUsage(f"--grid {text}: must be NAME=V1,V2,... or NAME=FROM..TO:STEP, or a range")
    ranges = [part for part in parts if _is_range(part)]
    if ranges:
        if len(parts) > 1:
            raise BadUsage(f"--grid {text}: the range {ranges[0]} cannot stand beside other values")
        return Axis(name, _in_range(text, ranges[0]), ranges[0])
    values = tuple(value for part in parts for value in _values(text, part))
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise BadUsage(f"--grid {text}: names {twice} twice; each value is tried once")
    return Axis(name, values)


def _is_range(part: str) -> bool:
    ends, _, step = part.partition(":")
    return ".." in part and (step == "log" or (not step and "." in ends.replace("..", "", 1)))


def _in_range(text: str, part: str) -> tuple[str, ...]:
    """Return the values of a range in their order, both ends included."""
    ends, _, is_log = part.partition(":")
    first, _, last = ends.partition("..")
    try:
        low, high = Decimal(first), Decimal(last)
        is_right = low.is_finite() and high.is_finite() and (0 < low < high if is_log else low < high)
    except InvalidOperation:
        is_right = False
    if not is_right:
        raise BadUsage(
            f"--grid {text}: a range must be FROM..TO with FROM < TO, such as 0.5..5, or FROM..TO:log with "
            "0 < FROM < TO, such as 12..288:log"
        )
    if not is_log:
        return tuple(plain(low + (high - low) * at / STEPS) for at in range(STEPS + 1))
    is_whole = "." not in first + last and low % 1 == 0 == high % 1
    ratio = math.log(high / low)
    found = [float(low) * math.exp(ratio * at / STEPS) for at in range(1, STEPS)]
    between = [Decimal(round(each)) if is_whole else Decimal(f"{each:.{_DIGITS}g}") for each in found]
    return tuple(plain(min(max(each, low), high)) for each in (low, *between, high))


def _values(text: str, part: str) -> Iterator[str]:
    first, dots, rest = part.partition("..")
    if not dots:
        yield part
        return
    last, _, step = rest.partition(":")
    try:
        low, high, by = Decimal(first), Decimal(last), Decimal(step or "1")
        count = int((high - low) / by) + 1 if by > 0 and high >= low else 0
    except (InvalidOperation, ValueError, OverflowError):
        count = 0
    if not 0 < count <= AXIS_MAX:
        raise BadUsage(
            f"--grid {text}: {part} must be FROM..TO:STEP with FROM <= TO, STEP > 0 and at most "
            f"{AXIS_MAX:,} values"
        )
    yield from (plain(low + at * by) for at in range(count))


def check_axes(axes: Sequence[Axis], trials: int | None = None) -> None:
    """Refuse a search over nothing, a parameter that is given twice, and all points of a range.

    ``trials`` is how many points are drawn; None: all are tried.

    Raises:
        BadUsage: one of these.
    """
    if not axes:
        raise BadUsage("a search needs at least one --grid NAME=V1,V2,...")
    names = [axis.name for axis in axes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadUsage(f"--grid {twice}: given twice; write its values in one, {twice}=V1,V2,...")
    ranged = next((axis for axis in axes if axis.range and trials is None), None)
    if ranged is not None:
        raise BadUsage(
            f"--grid {ranged.name}={ranged.range}: a range has no grid; --trials N draws from it (--sampler "
            "random or tpe), or give values, or a step such as 0.5..5:0.5"
        )


def size(axes: Sequence[Axis]) -> int:
    """Return how many different points the grid has."""
    return math.prod(len(set(axis.values)) for axis in axes)


def grid(axes: Sequence[Axis]) -> Iterator[Mapping[str, str]]:
    """Yield every point; the last axis changes first."""
    names = [axis.name for axis in axes]
    for values in itertools.product(*(axis.values for axis in axes)):
        yield dict(zip(names, values, strict=True))


def draws(axes: Sequence[Axis], count: int, seed: int) -> Iterator[Mapping[str, str]]:
    """Yield ``count`` different points of the grid, drawn with equal chance (all of it, if it has fewer).

    The first points of a longer search are those of a shorter one with the same seed.
    """
    chance = random.Random(seed)  # noqa: S311 - draws points, no secrets
    yield from itertools.islice(points_at_random(axes, chance), count)


def points_at_random(axes: Sequence[Axis], chance: random.Random) -> Iterator[Mapping[str, str]]:
    """Yield every point of the grid once, each of those that are left with equal chance.

    A value that an axis has several times has the chance of all of them together.
    """
    total, seen = math.prod(len(axis.values) for axis in axes), set[int]()
    named = set[tuple[str, ...]]()
    while len(seen) < total:
        at = chance.randrange(total)
        if at in seen:
            continue
        seen.add(at)
        found = point(axes, at)
        if (values := tuple(found.values())) not in named:
            named.add(values)
            yield found


def in_order(axis: Axis) -> tuple[str, ...] | None:
    """Return the values of an axis, the smallest first; None if they are not all numbers."""
    try:
        numbers = {value: Decimal(value) for value in axis.values}
    except InvalidOperation:
        return None
    if not all(number.is_finite() for number in numbers.values()):
        return None
    return tuple(sorted(axis.values, key=numbers.__getitem__))


def point(axes: Sequence[Axis], at: int) -> Mapping[str, str]:
    """Return the point number ``at`` of the grid, in the order of ``grid``."""
    found = {}
    for axis in reversed(axes):
        at, index = divmod(at, len(axis.values))
        found[axis.name] = axis.values[index]
    return {axis.name: found[axis.name] for axis in axes}
