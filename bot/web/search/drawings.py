"""Pictures of a search as SVG: parallel coordinates, choices along time, training beside test."""

from collections.abc import Callable, Container, Sequence
from datetime import UTC, datetime
from html import escape

import numpy as np
from markupsafe import Markup

from bot.web import charts
from bot.web.charts import Layer, TimeChart, Unit
from bot.web.curves import EQUITY_POINTS
from bot.web.numbers import describe
from bot.web.run import Floats
from bot.web.search.data import Axis, Step, SweepData, Trial, WalkData
from bot.web.search.maps import searched, value_of

LINES_MAX = 600
"""Trials that are drawn; of more, the best and an even choice of the others."""
_HEIGHT = 260
_LABELS_MAX = 12
"""Values that are written beside one axis."""


def unit_of(name: str) -> Unit:
    """Return how an axis writes the figure ``name``."""
    return "percent" if describe(name).kind == "percent" else "number"


# Parallel coordinates


def parallel(data: SweepData) -> Markup:
    """Draw each trial as a line over its parameters to its objective on the right.

    The best tenth is drawn in colour. Empty if no two trials have the objective.
    """
    objective = data.head.objective
    known = [(trial, value) for trial in data.trials if (value := value_of(trial, objective)) is not None]
    axes = searched(data)
    if len(known) < 2 or not axes:
        return Markup()
    drawn = _thinned(known)
    values = [value for _, value in known]
    height_of = _scale(min(values), max(values))
    tenth = {trial.number for trial, _ in known[: max(1, len(known) // 10)]}
    xs = np.linspace(0.0, charts.WIDTH, len(axes) + 1)
    lines = "".join(
        _line(
            trial,
            xs,
            [*(_place(axis, trial.params[axis.name]) for axis in axes), height_of(value)],
            _style(trial, data.best, tenth),
        )
        for trial, value in reversed(drawn)
    )
    shares = [100.0 * at / len(axes) for at in range(len(axes) + 1)]
    body = (
        f'<svg class="lines" viewBox="0 0 {charts.WIDTH} {_HEIGHT}" preserveAspectRatio="none" width="100%" '
        f'height="{_HEIGHT}">{lines}</svg>'
        + "".join(_axis(axis, share) for axis, share in zip(axes, shares, strict=False))
        + _objective_axis(objective.name, min(values), max(values), height_of)
    )
    title = f"{len(drawn):,} trials" + (f" of {len(known):,}" if len(drawn) < len(known) else "")
    plot = charts.plot(body, _HEIGHT, "Parameters and objective of each trial")
    return Markup(  # noqa: S704 (every text in it is escaped)
        f'<figure class="parallel"><figcaption><b>{title}</b><span class="key strategy">best tenth</span>'
        f'<span class="key drawdown">halted by risk</span><span class="key hold">others</span></figcaption>'
        f'<div class="wide"><div class="frame" style="min-width:{130 + 90 * len(axes)}px">{plot}</div></div>'
        "</figure>"
    )


def _thinned(known: Sequence[tuple[Trial, float]]) -> list[tuple[Trial, float]]:
    """Return all, or the best sixth of ``LINES_MAX`` and an even choice of the others; the best first."""
    if len(known) <= LINES_MAX:
        return list(known)
    sure = LINES_MAX // 6
    others = np.linspace(sure, len(known) - 1, LINES_MAX - sure).round().astype(int).tolist()
    return [*known[:sure], *(known[at] for at in others)]


def _scale(low: float, high: float) -> Callable[[float], float]:
    """Return a function from a value to px from the top."""
    span = high - low
    return lambda value: _HEIGHT * (high - value) / span if span > 0.0 else _HEIGHT / 2


def _place(axis: Axis, value: str) -> float:
    """Return the height of a value, in px from the top: equal steps, the last value above."""
    return _HEIGHT * (1.0 - axis.values.index(value) / (len(axis.values) - 1))


def _style(trial: Trial, best: int | None, tenth: Container[int]) -> str:
    if trial.number == best:
        return "strategy first"
    if trial.number in tenth:
        return "strategy"
    return "drawdown" if trial.state == "halted" else "hold"


def _line(trial: Trial, xs: Floats, heights: Sequence[float], style: str) -> str:
    path = charts.line_path(xs, np.array(heights))
    return f'<path class="trial {style}" data-trial="{trial.number}" d="{path}"/>'


def _axis(axis: Axis, share: float) -> str:
    count = len(axis.values)
    shown = np.linspace(0, count - 1, min(count, _LABELS_MAX)).round().astype(int).tolist()
    labels = "".join(_label(share, _place(axis, axis.values[at]), axis.values[at]) for at in shown)
    return _bar(share, axis.name) + labels


def _objective_axis(name: str, low: float, high: float, height_of: Callable[[float], float]) -> str:
    step = charts.nice_step(high - low, 5)
    ticks = charts.nice_ticks(low, high, 5)
    labels = (_label(100.0, height_of(each), charts.tick_label(each, step, unit_of(name))) for each in ticks)
    return _bar(100.0, describe(name).label) + "".join(labels)


def _bar(share: float, name: str) -> str:
    anchor = "end" if share == 100.0 else "middle"
    return (
        f'<line class="zero" x1="{share:.2f}%" x2="{share:.2f}%" y2="{_HEIGHT}"/>'
        f'<text class="axis-name" x="{share:.2f}%" y="-12" text-anchor="{anchor}">{escape(name)}</text>'
    )


def _label(share: float, y: float, text: str) -> str:
    return (
        f'<text class="tick on" x="{share:.2f}%" dx="-6" y="{y + 4:.1f}" text-anchor="end">'
        f"{escape(text)}</text>"
    )


# A walk-forward along time


def walk_curves(data: WalkData) -> Markup:
    """Draw the joined tests beside buy and hold, and how far the tests fell."""
    grown = [
        Layer("buy and hold", charts.bin_values(data.ts_ms, data.hold - 1.0, EQUITY_POINTS), "hold"),
        Layer("walk-forward", charts.bin_values(data.ts_ms, data.equity - 1.0, EQUITY_POINTS), "strategy"),
    ]
    fallen = data.equity / np.maximum.accumulate(data.equity) - 1.0
    below = [Layer("", charts.bin_values(data.ts_ms, fallen, EQUITY_POINTS), "drawdown", "area")]
    plots = (
        TimeChart(title="Equity of all tests, joined", unit="percent", layers=grown, height=300, zero=True),
        TimeChart(title="Drawdown", unit="percent", layers=below, height=120, zero=True),
    )
    from_ms, to_ms = int(data.ts_ms[0]), int(data.ts_ms[-1])
    return Markup().join(charts.time_chart(chart, from_ms, to_ms) for chart in plots)


def choices(data: WalkData) -> Markup:
    """Draw, for each parameter that took several values, what each step chose."""
    axes = [axis for axis in data.head.axes if len(axis.values) > 1]
    return Markup().join(_choices(axis, data.steps) for axis in axes)


def _choices(axis: Axis, steps: Sequence[Step]) -> Markup:
    count = len(axis.values)
    height = min(max(22 * count, 44), 180)
    gap = height / count

    def y(at: int) -> float:
        return height - (at + 0.5) * gap

    shown = np.linspace(0, count - 1, min(count, max(2, height // 22))).round().astype(int).tolist()
    rows = "".join(charts.row(y(at), escape(axis.values[at])) for at in shown)
    from_ms, to_ms = steps[0].test_from_ms, steps[-1].test_to_ms

    def x(ms: int) -> str:
        return f"{100.0 * (ms - from_ms) / (to_ms - from_ms):.3f}%"

    bars = "".join(
        f'<line class="choice" x1="{x(step.test_from_ms)}" x2="{x(step.test_to_ms)}" '
        f'y1="{y(axis.values.index(step.params[axis.name])):.1f}" '
        f'y2="{y(axis.values.index(step.params[axis.name])):.1f}"/>'
        for step in steps
        if step.params is not None
    )
    return _figure(axis.name, "", rows + _times(from_ms, to_ms, height) + bars, height)


def _times(from_ms: int, to_ms: int, height: int) -> str:
    ticks = charts.time_ticks(from_ms, to_ms)
    return "".join(
        charts.column((ms - from_ms) / (to_ms - from_ms), height, label, other=at % 2 == 1)
        for at, (ms, label) in enumerate(ticks)
    )


def train_and_test(data: WalkData) -> Markup:
    """Draw the objective of each step: of the choice in training, and in the test that followed."""
    name = data.head.objective.name
    values = [v for step in data.steps for v in (step.trained, step.tested) if v is not None]
    if not values:
        return Markup()
    low, high = min(*values, 0.0), max(*values, 0.0)
    air = 0.06 * (high - low) or 1.0
    low, high = low - air, high + air
    height_of = _scale(low, high)
    step = charts.nice_step(high - low, 5)
    rows = "".join(
        charts.row(height_of(v), charts.tick_label(v, step, unit_of(name)), "zero" if v == 0.0 else "grid")
        for v in charts.nice_ticks(low, high, 5)
    )
    from_ms, to_ms = data.steps[0].test_from_ms, data.steps[-1].test_to_ms
    dots = "".join(_pair(each, from_ms, to_ms, height_of) for each in data.steps)
    keys = '<span class="key hold">trained</span><span class="key strategy">tested</span>'
    body = rows + _times(from_ms, to_ms, _HEIGHT) + dots
    return _figure(f"{describe(name).label} of each step", keys, body, _HEIGHT)


def _pair(step: Step, from_ms: int, to_ms: int, height_of: Callable[[float], float]) -> str:
    middle = (step.test_from_ms + step.test_to_ms) / 2
    x = f"{100.0 * (middle - from_ms) / (to_ms - from_ms):.3f}%"
    out = ""
    if step.trained is not None and step.tested is not None:
        out += (
            f'<line class="between" x1="{x}" x2="{x}" y1="{height_of(step.trained):.1f}" '
            f'y2="{height_of(step.tested):.1f}"/>'
        )
    day = f"{datetime.fromtimestamp(step.test_from_ms / 1000, UTC):%Y-%m-%d}"
    for value, style in ((step.trained, "trained"), (step.tested, "tested")):
        if value is not None:
            told = f"<title>{style}, test from {day}: {value:.4g}</title>"
            out += f'<circle class="{style}" r="5" cx="{x}" cy="{height_of(value):.1f}">{told}</circle>'
    return out


def _figure(title: str, keys: str, body: str, height: int) -> Markup:
    return Markup(  # noqa: S704 (every text in it is escaped)
        f"<figure><figcaption><b>{escape(title)}</b>{keys}</figcaption>"
        f'<div class="frame">{charts.plot(body, height, title)}</div></figure>'
    )
