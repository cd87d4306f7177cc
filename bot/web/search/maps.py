"""Heat maps: the objective over each pair of parameters, as tables."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bot.web.numbers import MISSING, Kind, describe, show, signed_percent
from bot.web.search.data import Axis, Objective, SweepData, Trial

GROUPS_MAX = 16
"""Rows or columns of a map; neighbouring values of a longer axis share one."""
GROUP_TRIALS = 4
"""A range has so many groups that, on average, a cell of a map has as many trials."""
PARAMETERS_MAX = 4
"""Parameters that have maps: the ones that move the objective most."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The median of the trials with two values; empty if there is none."""

    text: str
    meaning: str
    style: str
    tint: int


@dataclass(frozen=True, slots=True)
class HeatMap:
    """One table: ``down`` names its rows (empty with one parameter), ``across`` its columns."""

    down: str
    across: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


def searched(data: SweepData) -> list[Axis]:
    """Return the parameters that took several values, the one that moves the objective most first."""
    axes = [axis for axis in data.head.axes if len(axis.values) > 1]
    return sorted(axes, key=lambda axis: -_effect(axis, data))


def heat_maps(data: SweepData) -> list[HeatMap]:
    """Return a map of each pair of the first ``PARAMETERS_MAX`` parameters; of one parameter alone, a row.

    None at all if no trial has the objective.
    """
    if all(value_of(trial, data.head.objective) is None for trial in data.trials):
        return []
    axes = searched(data)[:PARAMETERS_MAX]
    if len(axes) == 1:
        return [_map(None, axes[0], data)]
    pairs = itertools.combinations(sorted(axes, key=lambda axis: len(axis.values)), 2)
    return [_map(down, across, data) for down, across in pairs]


def value_of(trial: Trial, objective: Objective) -> float | None:
    """Return the trial's objective; None without a result, or if it is not defined."""
    value = None if trial.state == "failed" else trial.figures.get(objective.name)
    return value if value is not None and math.isfinite(value) else None


def _effect(axis: Axis, data: SweepData) -> float:
    """Return how far apart the medians of the axis's values are; of a range, those of its groups."""
    values: dict[int, list[float]] = {}
    groups = groups_of(axis, len(data.trials)) if axis.is_range else [(each,) for each in axis.values]
    number = {value: at for at, group in enumerate(groups) for value in group}
    for trial in data.trials:
        value = value_of(trial, data.head.objective)
        if value is not None:
            values.setdefault(number[trial.params[axis.name]], []).append(value)
    medians = [statistics.median(each) for each in values.values()]
    return max(medians) - min(medians) if medians else 0.0


def groups_of(axis: Axis, trials: int) -> list[tuple[str, ...]]:
    """Return the values of an axis in at most ``GROUPS_MAX`` groups of neighbours; a range in equal ones."""
    if axis.is_range:
        count = min(GROUPS_MAX, max(2, math.isqrt(trials // GROUP_TRIALS)))
        edges = [round(len(axis.values) * at / count) for at in range(count + 1)]
        return [tuple(axis.values[low:high]) for low, high in itertools.pairwise(edges) if low < high]
    size = -(-len(axis.values) // GROUPS_MAX)
    return [tuple(axis.values[at : at + size]) for at in range(0, len(axis.values), size)]


def _map(down: Axis | None, across: Axis, data: SweepData) -> HeatMap:
    objective = data.head.objective
    columns = groups_of(across, len(data.trials))
    rows = [()] if down is None else groups_of(down, len(data.trials))
    found: dict[tuple[int, int], list[float]] = {}
    best = None
    for trial in data.trials:
        value = value_of(trial, objective)
        if value is None:
            continue
        at = (
            0 if down is None else _place(rows, trial.params[down.name]),
            _place(columns, trial.params[across.name]),
        )
        found.setdefault(at, []).append(value)
        if trial.number == data.best:
            best = at
    medians = {at: statistics.median(values) for at, values in found.items()}
    kind = describe(objective.name).kind
    return HeatMap(
        "" if down is None else down.name,
        across.name,
        [_label(across, group) for group in columns],
        [
            (
                "" if down is None else _label(down, group),
                [
                    _cell(found.get((i, j), []), medians, objective, kind, is_best=(i, j) == best)
                    for j in range(len(columns))
                ],
            )
            for i, group in enumerate(rows)
        ],
    )


def _place(groups: Sequence[Sequence[str]], value: str) -> int:
    return next(i for i, group in enumerate(groups) if value in group)


def _label(axis: Axis, group: Sequence[str]) -> str:
    first, last = axis.label(group[0]), axis.label(group[-1])
    return first if len(group) == 1 else f"{first} … {last}"


def _cell(
    values: Sequence[float],
    medians: dict[tuple[int, int], float],
    objective: Objective,
    kind: Kind,
    *,
    is_best: bool,
) -> Cell:
    if not values:
        return Cell("", "no trial", "", 0)
    value = statistics.median(values)
    style, tint = _colour(value, list(medians.values()), objective)
    low, high = show(min(values), kind), show(max(values), kind)
    told = f"one trial: {low}" if len(values) == 1 else f"{len(values):,} trials: {low} to {high}"
    return Cell(_short(value, kind), told, f"{style} best" if is_best else style, tint)


def _short(value: float, kind: Kind) -> str:
    if kind == "percent":
        return signed_percent(value).removeprefix("+")
    return show(value, kind) or MISSING


def _colour(value: float, all_values: Sequence[float], objective: Objective) -> tuple[str, int]:
    """Return the colour of a cell and how strong it is, in percent.

    Values of both signs, or all below 0: the distance to 0. Values of one sign above: how good they are.
    """
    low, high = min(all_values), max(all_values)
    if low < 0.0:
        largest = max(abs(low), abs(high))
        return "loss" if value < 0.0 else "gain", round(8 + 62 * abs(value) / largest)
    good = [objective.goodness(each) for each in (low, high)]
    span = max(good) - min(good)
    share = (objective.goodness(value) - min(good)) / span if span > 0.0 else 0.5
    return "gain", round(8 + 62 * share)
