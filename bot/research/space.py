"""The parameters that a search tries: axes of values, the whole grid, or seeded draws from it."""

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


@dataclass(frozen=True)
class Axis:
    """One parameter and the texts that it takes, as ``--param`` takes them."""

    name: str
    values: tuple[str, ...]


def parse_axis(text: str) -> Axis:
    """Read ``name=6,12,24``, ``name=10..50:10`` (with both ends; the step is 1 if none is given), or both.

    Raises:
        BadUsage: the text is none of these, names a value twice, or names too many.
    """
    name, equals, given = text.partition("=")
    name = name.strip()
    parts = [part.strip() for part in given.split(",")]
    if not equals or not name or not all(parts):
        raise BadUsage(f"--grid {text}: must be NAME=V1,V2,... or NAME=FROM..TO:STEP")
    values = tuple(value for part in parts for value in _values(text, part))
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise BadUsage(f"--grid {text}: names {twice} twice; each value is tried once")
    return Axis(name, values)


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


def check_axes(axes: Sequence[Axis]) -> None:
    """Refuse a search over nothing, and a parameter that is given twice.

    Raises:
        BadUsage: one of these.
    """
    if not axes:
        raise BadUsage("a search needs at least one --grid NAME=V1,V2,...")
    names = [axis.name for axis in axes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadUsage(f"--grid {twice}: given twice; write its values in one, {twice}=V1,V2,...")


def size(axes: Sequence[Axis]) -> int:
    """Return how many points the grid has."""
    return math.prod(len(axis.values) for axis in axes)


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
    """Yield every point of the grid once, each of those that are left with equal chance."""
    total, seen = size(axes), set[int]()
    while len(seen) < total:
        at = chance.randrange(total)
        if at not in seen:
            seen.add(at)
            yield point(axes, at)


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
