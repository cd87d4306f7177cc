"""The skill of a model beside the baselines, as one HTML page made from the JSON of ``bot evaluate``."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from markupsafe import Markup

from bot.domain.horizons import Horizons
from bot.web import charts
from bot.web.report import templates

_HEIGHT = 220


def render_evaluation(numbers: Mapping[str, Any]) -> str:
    """Make the page of ``bot evaluate --report``."""
    horizons = Horizons.of_minutes(numbers["horizons_minutes"])
    page = templates().get_template("evaluation.html.j2")
    return page.render(
        told=numbers,
        figures=figure_labels(horizons),
        horizons=horizons,
        files=[
            (one, pit_chart(one), calibration_chart(one, horizons.targets[0])) for one in numbers["files"]
        ],
        number=number,
        figure=figure,
        p_value=p_value,
    )


def figure_labels(horizons: Horizons) -> list[tuple[str, str, str]]:
    """Return name, label and note of each figure of skill."""
    short, long = horizons.minutes
    variance = "an hour's variance" if long == 60 else horizons.targets[0]
    labels = (
        (f"QLIKE of {variance}", "smaller is better"),
        ("R² of its logarithm", ""),
        (f"IC of {short} minutes", ""),
        (f"IC of {long} minutes", ""),
        (f"Direction of {short} minutes", ""),
    )
    return [(name, *each) for name, each in zip(horizons.figures, labels, strict=True)]


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with a true minus sign; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")  # + 0.0: no minus before 0


def figure(told: Mapping[str, float | None] | None) -> str:
    """Write a figure with its interval; a dash where there is none."""
    if told is None:
        return "–"
    if told["low"] is None or told["high"] is None:
        return number(told["value"])
    return f"{number(told['value'])} [{number(told['low'])}, {number(told['high'])}]"


def p_value(value: float | None) -> str:
    """Write the probability of a test."""
    return "< 0.001" if value is not None and value < 0.001 else number(value)


def pit_chart(one: Mapping[str, Any]) -> Markup:
    """Draw the shares of hours in each tenth of the forecast distribution; a line marks what is right."""
    shares: Sequence[float] | None = one["calibration"]["pit"]
    if not shares:
        return Markup()
    top = max(*shares, 1.0 / len(shares)) * 1.12
    width = 100.0 / len(shares)
    bars = "".join(
        f'<rect class="gain" x="{(at + 0.06) * width:.2f}%" width="{0.88 * width:.2f}%" '
        f'y="{_HEIGHT * (1 - share / top):.1f}" height="{_HEIGHT * share / top:.1f}"/>'
        for at, share in enumerate(shares)
    )
    step = charts.nice_step(top, 4)
    grid = "".join(
        charts.row(_HEIGHT * (1 - value / top), charts.tick_label(value, step, "percent"))
        for value in charts.nice_ticks(0.0, top, 4)
    )
    right = _HEIGHT * (1 - 1.0 / len(shares) / top)
    labels = "".join(
        charts.column(at / len(shares), _HEIGHT, f"{at / len(shares):.1f}", other=at % 2 == 1)
        for at in range(len(shares) + 1)
    )
    line = f'<line class="shade-end" x2="100%" y1="{right:.1f}" y2="{right:.1f}"/>'
    return _figure("Where the longer return fell in the forecast distribution", grid + bars + line + labels)


def calibration_chart(one: Mapping[str, Any], variance: str = "rv_60m") -> Markup:
    """Draw realised over forecast volatility of ten groups of rows, from the smallest forecasts."""
    groups = one["calibration"]["by_forecast"]
    if not groups:
        return Markup()
    ratios = [math.sqrt(each[f"realised_{variance}"] / each[f"forecast_{variance}"]) for each in groups]
    low, high = min(*ratios, 1.0) - 0.1, max(*ratios, 1.0) + 0.1

    def y(value: float) -> float:
        return _HEIGHT * (high - value) / (high - low)

    step = charts.nice_step(high - low, 4)
    grid = "".join(
        charts.row(y(value), charts.tick_label(value, step, "number"))
        for value in charts.nice_ticks(low, high, 4)
    )
    width = 100.0 / len(groups)
    dots = "".join(
        f'<circle class="buy" r="5" cx="{(at + 0.5) * width:.2f}%" cy="{y(ratio):.1f}"/>'
        for at, ratio in enumerate(ratios)
    )
    labels = "".join(
        charts.column(
            (at + 0.5) / len(groups),
            _HEIGHT,
            charts.tick_label(math.sqrt(each[f"forecast_{variance}"]), 0.0001, "percent"),
            other=at % 4 == 2,
        )
        for at, each in enumerate(groups)
        if at % 2 == 0
    )
    line = f'<line class="shade-end" x2="100%" y1="{y(1.0):.1f}" y2="{y(1.0):.1f}"/>'
    title = "Realised over forecast volatility, by the forecast volatility"
    return _figure(title, grid + line + dots + labels)


def _figure(title: str, body: str) -> Markup:
    drawn = charts.plot(body, _HEIGHT, title)
    caption = f"<figcaption><b>{escape(title)}</b></figcaption>"
    return Markup(f'<figure>{caption}<div class="frame">{drawn}</div></figure>')  # noqa: S704 (escaped)
