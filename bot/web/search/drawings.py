"""Pictures of a search as SVG: parallel coordinates, curves, and what a choice earns on other days."""

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
from bot.web.search.data import Axis, Curve, Halves, Step, SweepData, Trial, WalkData
from bot.web.search.maps import searched, value_of

LINES_MAX = 600
"""Trials that are drawn; of more, the best and an even choice of the others."""
DOTS_MAX = 800
"""Choices that are drawn as dots."""
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


def _scale(low: float, high: float, height: int = _HEIGHT) -> Callable[[float], float]:
    """Return a function from a value to px from the top."""
    span = high - low
    return lambda value: height * (high - value) / span if span > 0.0 else height / 2


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
    most = _LABELS_MAX // 2 if axis.is_range else _LABELS_MAX
    shown = np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()
    labels = "".join(
        _label(share, _place(axis, axis.values[at]), axis.label(axis.values[at])) for at in shown
    )
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


# Money


def curves(curve: Curve, title: str, name: str) -> Markup:
    """Draw the account ``name`` beside buy and hold, and how far it fell."""
    grown = [
        Layer("buy and hold", charts.bin_values(curve.ts_ms, curve.hold - 1.0, EQUITY_POINTS), "hold"),
        Layer(name, charts.bin_values(curve.ts_ms, curve.equity - 1.0, EQUITY_POINTS), "strategy"),
    ]
    fallen = curve.equity / np.maximum.accumulate(curve.equity) - 1.0
    below = [Layer("", charts.bin_values(curve.ts_ms, fallen, EQUITY_POINTS), "drawdown", "area")]
    plots = (
        TimeChart(title=title, unit="percent", layers=grown, height=300, zero=True),
        TimeChart(title="Drawdown", unit="percent", layers=below, height=120, zero=True),
    )
    from_ms, to_ms = int(curve.ts_ms[0]), int(curve.ts_ms[-1])
    return Markup().join(charts.time_chart(chart, from_ms, to_ms) for chart in plots)


# Choices on other days


def halves_chart(halves: Halves) -> Markup:
    """Draw each choice as a dot: its Sharpe ratio in the half that chose it, and in the other half.

    Of very many an even part is drawn. Empty if no ratio is defined.
    """
    known = np.flatnonzero(np.isfinite(halves.inside) & np.isfinite(halves.outside))
    if not len(known):
        return Markup()
    some = known[np.linspace(0, len(known) - 1, min(len(known), DOTS_MAX)).round().astype(int)]
    inside, outside = halves.inside[some], halves.outside[some]
    left, right = _with_air(float(inside.min()), float(inside.max()))
    low, high = _with_air(min(0.0, float(outside.min())), max(0.0, float(outside.max())))
    height_of = _scale(low, high)

    def x(value: float) -> str:
        return f"{100.0 * (value - left) / (right - left):.2f}%"

    dots = "".join(
        f'<circle class="{"drawdown" if is_worse else "strategy"}" r="3" cx="{x(here)}" '
        f'cy="{height_of(there):.1f}"/>'
        for here, there, is_worse in zip(
            inside.tolist(), outside.tolist(), halves.is_worse[some].tolist(), strict=True
        )
    )
    from_, to = max(left, low), min(right, high)
    same = (
        f'<line class="same" x1="{x(from_)}" x2="{x(to)}" y1="{height_of(from_):.1f}" '
        f'y2="{height_of(to):.1f}"/>'
        if from_ < to
        else ""
    )
    step, ticks = charts.nice_step(right - left, 7), charts.nice_ticks(left, right, 7)
    across = "".join(
        charts.column((v - left) / (right - left), _HEIGHT, charts.tick_label(v, step, "number"))
        for v in ticks
    )
    name = (
        f'<text class="tick" x="50%" y="{_HEIGHT + 36}" text-anchor="middle">'
        "Sharpe ratio in the half that chose it</text>"
    )
    count, of = len(some), len(halves.inside)
    title = "Sharpe ratio of the choice in the other half"
    keys = (
        '<span class="key dot strategy">in the better half of the trials there</span>'
        '<span class="key dot drawdown">in the worse half</span><span class="key same">same in both</span>'
        + (f'<span class="note">{count:,} of {of:,} choices are drawn</span>' if count < of else "")
    )
    body = f'{_rows(low, high, "number")}{across}{name}{same}<g class="dots">{dots}</g>'
    return _figure(title, keys, body, _HEIGHT, "halves")


def _with_air(low: float, high: float) -> tuple[float, float]:
    air = 0.06 * (high - low) or 1.0
    return low - air, high + air


def _rows(low: float, high: float, unit: Unit) -> str:
    """Draw horizontal lines with their values."""
    height_of, step = _scale(low, high), charts.nice_step(high - low, 5)
    return "".join(
        charts.row(height_of(v), charts.tick_label(v, step, unit), "zero" if v == 0.0 else "grid")
        for v in charts.nice_ticks(low, high, 5)
    )


# A walk-forward along time


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
    rows = "".join(charts.row(y(at), escape(axis.label(axis.values[at]))) for at in shown)
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
    low, high = _with_air(min(*values, 0.0), max(*values, 0.0))
    height_of = _scale(low, high)
    from_ms, to_ms = data.steps[0].test_from_ms, data.steps[-1].test_to_ms
    dots = "".join(_pair(each, from_ms, to_ms, height_of) for each in data.steps)
    keys = '<span class="key hold">trained</span><span class="key strategy">tested</span>'
    body = _rows(low, high, unit_of(name)) + _times(from_ms, to_ms, _HEIGHT) + dots
    return _figure(f"{describe(name).label} of each step", keys, body, _HEIGHT)


def _pair(step: Step, from_ms: int, to_ms: int, height_of: Callable[[float], float]) -> str:
    x = _middle(step, from_ms, to_ms)
    out = ""
    if step.trained is not None and step.tested is not None:
        out += (
            f'<line class="between" x1="{x}" x2="{x}" y1="{height_of(step.trained):.1f}" '
            f'y2="{height_of(step.tested):.1f}"/>'
        )
    for value, style in ((step.trained, "trained"), (step.tested, "tested")):
        if value is not None:
            out += _dot(step, value, style, from_ms, to_ms, height_of)
    return out


def _dot(
    step: Step, value: float, style: str, from_ms: int, to_ms: int, height_of: Callable[[float], float]
) -> str:
    day = f"{datetime.fromtimestamp(step.test_from_ms / 1000, UTC):%Y-%m-%d}"
    told = f"<title>{style}, test from {day}: {value:.4g}</title>"
    x = _middle(step, from_ms, to_ms)
    return f'<circle class="{style}" r="5" cx="{x}" cy="{height_of(value):.1f}">{told}</circle>'


def _middle(step: Step, from_ms: int, to_ms: int) -> str:
    """Return where the middle of the step's test is drawn."""
    middle = (step.test_from_ms + step.test_to_ms) / 2
    return f"{100.0 * (middle - from_ms) / (to_ms - from_ms):.3f}%"


def overfitting(data: WalkData) -> Markup:
    """Draw the probability of overfitting of each step; 0.5 is chance. Empty if none is known."""
    if all(each.overfit is None for each in data.steps):
        return Markup()
    height, height_of = 120, _scale(0.0, 1.0, 120)
    from_ms, to_ms = data.steps[0].test_from_ms, data.steps[-1].test_to_ms
    dots = "".join(
        _dot(each, each.overfit, "tested", from_ms, to_ms, height_of)
        for each in data.steps
        if each.overfit is not None
    )
    rows = "".join(charts.row(height_of(v), f"{v:g}") for v in (0.0, 1.0))
    chance = charts.row(height_of(0.5), "0.5", "same")
    keys = '<span class="key same">0.5: pure chance</span>'
    body = rows + chance + _times(from_ms, to_ms, height) + dots
    return _figure("Probability of overfitting of each step's choice", keys, body, height)


def _figure(title: str, keys: str, body: str, height: int, style: str = "") -> Markup:
    named = f' class="{style}"' if style else ""
    return Markup(  # noqa: S704 (every text in it is escaped)
        f"<figure{named}><figcaption><b>{escape(title)}</b>{keys}</figcaption>"
        f'<div class="frame">{charts.plot(body, height, title)}</div></figure>'
    )
