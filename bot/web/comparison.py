"""Finished results side by side, as one HTML page made of the report's components."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from bot.web import charts
from bot.web.charts import Layer, TimeChart
from bot.web.curves import EQUITY_POINTS
from bot.web.numbers import MISSING, Metric, describe, show, when
from bot.web.report import templates
from bot.web.run import Floats, Times

STYLES = ("one", "two", "three", "four", "five", "six", "seven", "eight")
"""Colours of curves, by their CSS class; results beyond them have no curve on the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCurve:
    """The account's value at the times ``ts_ms``, both ``(T,)``; ``base`` is the value that counts as 0 %."""

    ts_ms: Times
    equity: Floats
    base: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedResult:
    """One result: what it is, where it was read, its span, and its curve if it has one."""

    name: str
    kind: str
    strategy: str
    source: str
    from_ms: int
    to_ms: int
    curve: ComparedCurve | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonData:
    """Results with what makes them hard to compare; rows have one value for each result.

    ``common_from_ms`` is where all curves begin at 0 %; None: each begins at its own start.
    """

    results: Sequence[ComparedResult]
    notes: Sequence[str]
    figures: Sequence[tuple[str, Sequence[float | None]]]
    settings: Mapping[str, Sequence[object]]
    common_from_ms: int | None


def render_comparison(data: ComparisonData) -> str:
    """Make the page of several results."""
    page = templates().get_template("comparison.html.j2")
    with_curve = [at for at, each in enumerate(data.results) if each.curve is not None]
    drawn = dict(zip(with_curve, STYLES, strict=False))
    return page.render(
        data=data,
        kinds=list(dict.fromkeys(each.kind for each in data.results)),
        named=[(each, drawn.get(at, "none")) for at, each in enumerate(data.results)],
        heads=[str(at) for at in range(1, len(data.results) + 1)],
        curves=_curves([(data.results[at], style) for at, style in drawn.items()]),
        lead=_lead(data, drawn),
        figures=[_line(name, values) for name, values in data.figures],
        settings=[(name, [_setting(value) for value in values]) for name, values in data.settings.items()],
    )


def _lead(data: ComparisonData, drawn: Mapping[int, str]) -> str:
    """Say where the curves begin, and which results are not drawn."""
    if data.common_from_ms is None:
        told = "Each curve is 0 % at its own start."
    else:
        told = f"Each curve is 0 % at {when(data.common_from_ms)} UTC, the first time that all have."
    left_out = [each.name for at, each in enumerate(data.results) if at not in drawn]
    return f"{told} Not drawn: {', '.join(left_out)}." if left_out else told


def _curves(drawn: Sequence[tuple[ComparedResult, str]]) -> Markup:
    curves = [(each.name, each.curve, style) for each, style in drawn if each.curve is not None]
    if not curves:
        return Markup()
    from_ms = min(int(curve.ts_ms[0]) for _, curve, _ in curves)
    to_ms = max(int(curve.ts_ms[-1]) for _, curve, _ in curves)
    grown = [_layer(name, curve, curve.equity / curve.base - 1.0, style) for name, curve, style in curves]
    fallen = [
        _layer(name, curve, curve.equity / np.maximum.accumulate(curve.equity) - 1.0, style)
        for name, curve, style in curves
    ]
    plots = (
        TimeChart(title="Equity", unit="percent", layers=grown, height=300, zero=True),
        TimeChart(title="Drawdown", unit="percent", layers=fallen, height=160, zero=True),
    )
    return Markup().join(charts.time_chart(chart, from_ms, to_ms) for chart in plots)


def _layer(name: str, curve: ComparedCurve, values: Floats, style: str) -> Layer:
    return Layer(name, charts.bin_values(curve.ts_ms, values, EQUITY_POINTS), style)


# The table of figures

_OTHER: dict[str, Metric] = {
    "buy and hold: total_return": Metric(
        "Buy and hold: total return", "percent", "of the symbols, after costs"
    ),
    "buy and hold: sharpe": Metric("Buy and hold: Sharpe", "ratio", "of the symbols, after costs"),
    "overfit_probability": Metric("Overfitting", "percent", "probability; 50 % is pure chance"),
    "return on the common span": Metric("On the common span", "percent", "earned where all have a curve"),
}


def _line(name: str, values: Sequence[float | None]) -> tuple[str, str, list[str]]:
    """Return the label of a figure, its meaning, and its value in each result."""
    metric = _OTHER.get(name) or describe(name)
    return metric.label, metric.meaning, [show(value, metric.kind) for value in values]


def _setting(value: object) -> str:
    """Write a setting; of a hash and of any other long text the begin."""
    text = MISSING if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"
