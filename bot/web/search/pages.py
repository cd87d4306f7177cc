"""A search as one HTML page made of the report's components; the judgement comes first."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from bot.web import charts
from bot.web.numbers import METRICS, Metric, describe, show, when
from bot.web.report import templates
from bot.web.search.data import Axis, Halves, ScreenData, Step, SweepData, Trial, WalkData
from bot.web.search.drawings import choices, curves, halves_chart, overfitting, parallel, train_and_test
from bot.web.search.maps import PARAMETERS_MAX, heat_maps, searched

LISTED_TRIALS = 40
"""So many trials are listed without scripts."""
CHOICES_MAX = 30
"""A parameter with more values has no filter of its own."""
FIGURES = (
    "total_return",
    "sharpe",
    "sortino",
    "max_drawdown",
    "trades",
    "win_rate",
    "profit_factor",
    "exposure",
    "fees",
)
"""Figures of the table of trials, after the objective."""
SCREENED = ("total_return", "sharpe", "max_drawdown", "trades")
"""Figures that a screen has."""
_WHOLE = {
    "final_equity": Metric("Final equity", "money", "the account's value at the end of the whole run"),
    "orders": Metric("Orders", "count", "orders of the whole run"),
}
_CHANCE = Metric("Probability of overfitting", "ratio", "")
_STATES = {"whole": "ran to its end", "halted": "halted by risk", "failed": "no result"}


@dataclass(frozen=True, slots=True)
class Rows:
    """A table that the reader sorts and filters: its first rows, and all of them as JSON for ``rows.js``."""

    heads: Sequence[str]
    first: Sequence[Sequence[str]]
    count: int
    every: Markup


def metric_of(name: str) -> Metric:
    """Return how a figure of a trial is shown."""
    return METRICS.get(name) or _WHOLE.get(name) or describe(name)


def render_sweep(data: SweepData) -> str:
    """Make the page of a sweep."""
    head = data.head
    axes = searched(data)
    return (
        templates()
        .get_template("sweep.html.j2")
        .render(
            kind="sweep",
            head=head,
            objective=_objective(data.head.objective.name, is_small=data.head.objective.is_small),
            maps=heat_maps(data),
            maps_note=_maps_note(axes, head.objective.name),
            curves="" if data.curve is None else curves(data.curve, "Equity of the best trial", "best trial"),
            halves="" if data.halves is None else halves_chart(data.halves),
            halves_note="" if data.halves is None else _halves_note(data.halves),
            parallel=parallel(data),
            rows=trial_rows(data),
        )
    )


def render_walk(data: WalkData) -> str:
    """Make the page of a walk-forward."""
    return (
        templates()
        .get_template("walk.html.j2")
        .render(
            kind="walk-forward",
            head=data.head,
            objective=_objective(data.head.objective.name, is_small=data.head.objective.is_small),
            figures=[_total(*each) for each in data.figures],
            curves=curves(data.curve, "Equity of all tests, joined", "walk-forward"),
            overfitting=overfitting(data),
            choices=choices(data),
            train_and_test=train_and_test(data),
            rows=step_rows(data),
        )
    )


def render_screen(data: ScreenData) -> str:
    """Make the page of a screen."""
    head = data.head
    drawn = SweepData(head=head, trials=data.drawn, best=data.best)
    listed = SweepData(head=head, trials=data.listed, best=data.best)
    part = f" Drawn from {len(data.drawn):,} of them, evenly." if len(data.drawn) < data.count else ""
    return (
        templates()
        .get_template("screen.html.j2")
        .render(
            kind="screen",
            head=head,
            objective=_objective(head.objective.name, is_small=False),
            curves="" if data.curve is None else curves(data.curve, "Equity of the best point", "best point"),
            confirmed=confirmed_rows(data),
            maps=heat_maps(drawn),
            maps_note=_maps_note(searched(drawn), head.objective.name).replace("trial", "point") + part,
            listed_note=f"The best {len(data.listed):,} of {data.count:,}, by the screen alone.",
            rows=trial_rows(listed, SCREENED),
        )
    )


def _halves_note(halves: Halves) -> str:
    ways, worse = len(halves.inside), float(halves.is_worse.mean())
    medians = [
        float(np.nanmedian(each)) for each in (halves.inside, halves.outside) if np.isfinite(each).any()
    ]
    fall = (
        " The median Sharpe ratio of a choice is {} where it was chosen, and {} in the other half.".format(
            *(show(each, "ratio") for each in medians)
        )
        if len(medians) == 2
        else ""
    )
    return (
        f"The days are halved in {ways:,} ways. One half chooses the trial with the best Sharpe ratio, and "
        f"the other half judges the choice: in {show(worse, 'percent')} of the ways it is in the worse half "
        f"of the trials there. That is the probability of overfitting; 50 % is pure chance, 0 % is a choice "
        f"that holds.{fall}"
    )


def _total(name: str, value: float | None, hold: float | None) -> tuple[str, str, str, str]:
    metric = metric_of(name)
    return metric.label, metric.meaning, show(value, metric.kind), show(hold, metric.kind)


def _objective(name: str, *, is_small: bool) -> str:
    return f"{metric_of(name).label} ({'small' if is_small else 'large'} is good)"


def _maps_note(axes: Sequence[Axis], objective: str) -> str:
    unit = ", in percent" if metric_of(objective).kind == "percent" else ""
    note = (
        f"Each cell is the median of the trials with these values{unit}, whatever their other parameters; "
        "the best trial is in the outlined cell. Good neighbours speak for a choice, a lone good cell "
        "against it."
    )
    if len(axes) <= PARAMETERS_MAX:
        return note
    return f"{note} Of {len(axes)} parameters the {PARAMETERS_MAX} that move the figure most have maps."


# Tables


@dataclass(frozen=True, slots=True)
class _Column:
    """One column: its name, a text and a sort key for each row; ``choices`` make a filter of it."""

    name: str
    texts: Sequence[str]
    keys: Sequence[float | str | None]
    choices: Sequence[str] = ()
    is_down: bool = False
    """The first click sorts large values to the top."""


def trial_rows(data: SweepData, figures: Sequence[str] = FIGURES) -> Rows:
    """Return all trials, the best first; of a screen without how they ended."""
    trials = data.trials
    objective = data.head.objective.name
    names = list(dict.fromkeys((objective, *figures)))
    what = "Point" if figures == SCREENED else "Trial"
    columns = [
        _Column(what, [f"{each.number:,}" for each in trials], [each.number for each in trials]),
        *(_parameter(axis, [each.params[axis.name] for each in trials]) for axis in data.head.axes),
        *(_figure(name, trials) for name in names),
    ]
    ends = [
        _Column(
            "How it ended",
            [_STATES[each.state] for each in trials],
            [_STATES[each.state] for each in trials],
            [_STATES[state] for state in _STATES if any(each.state == state for each in trials)],
        ),
        _Column("Why", [each.ended for each in trials], [each.ended or None for each in trials]),
    ]
    return _rows(columns if figures == SCREENED else [*columns, *ends], [each.number for each in trials])


def confirmed_rows(data: ScreenData) -> Rows:
    """Return the points that the engine ran: each figure by the screen and by the engine."""
    rows = data.confirmed
    columns = [_parameter(axis, [each.params[axis.name] for each in rows]) for axis in data.head.axes]
    for name in SCREENED:
        metric = metric_of(name)
        for who, at in (("screen", 0), ("engine", 1)):
            values = [each.figures[name][at] for each in rows]
            columns.append(_values(f"{metric.label}, {who}", metric, values))
    return _rows(columns, list(range(len(rows))))


def _parameter(axis: Axis, values: Sequence[str | None]) -> _Column:
    few = axis.values if 1 < len(axis.values) <= CHOICES_MAX else ()
    keys = [None if value is None else axis.key(value) for value in values]
    return _Column(axis.name, [show(None, "number") if v is None else v for v in values], keys, few)


def _figure(name: str, trials: Sequence[Trial]) -> _Column:
    metric = metric_of(name)
    values = [None if each.state == "failed" else each.figures.get(name) for each in trials]
    return _Column(metric.label, [show(v, metric.kind) for v in values], values, is_down=True)


def step_rows(data: WalkData) -> Rows:
    """Return the steps of a walk-forward in the order of time."""
    steps = data.steps
    metric = metric_of(data.head.objective.name)
    columns = [
        _Column(
            "Tested from (UTC)", [when(each.test_from_ms) for each in steps], [s.test_from_ms for s in steps]
        ),
        *(_parameter(axis, [_chosen(each, axis) for each in steps]) for axis in data.head.axes),
        _values(f"{metric.label}, trained", metric, [each.trained for each in steps]),
        _values(f"{metric.label}, tested", metric, [each.tested for each in steps]),
        _values("Total return of the test", describe("total_return"), [each.earned for each in steps]),
        _values("Probability of overfitting", _CHANCE, [each.overfit for each in steps]),
        _Column("Ended early by", [each.ended for each in steps], [each.ended or None for each in steps]),
    ]
    return _rows(columns, list(range(len(steps))))


def _chosen(step: Step, axis: Axis) -> str | None:
    return None if step.params is None else step.params[axis.name]


def _values(label: str, metric: Metric, values: Sequence[float | None]) -> _Column:
    return _Column(label, [show(value, metric.kind) for value in values], values, is_down=True)


def _key(value: float | str | None) -> float | str | None:
    """Return a sort key that JSON can hold; None sorts last."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rows(columns: Sequence[_Column], numbers: Sequence[int]) -> Rows:
    texts = list(zip(*(column.texts for column in columns), strict=True))
    told = {
        "columns": [
            {
                "name": column.name,
                "text": list(column.texts),
                "key": [_key(each) for each in column.keys],
                "choices": list(column.choices),
                "down": column.is_down,
            }
            for column in columns
        ],
        "number": list(numbers),
    }
    every = Markup(charts.script_json(told))  # noqa: S704 (it cannot end its element)
    return Rows([column.name for column in columns], texts[:LISTED_TRIALS], len(texts), every)
