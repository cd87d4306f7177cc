"""A live run over the backtest of the same bars, as one HTML page made of the report's components."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup

from bot.web import charts
from bot.web.charts import Layer, TimeChart
from bot.web.curves import EQUITY_POINTS, prices_with_fills
from bot.web.report import figure_columns, templates
from bot.web.run import ReportData


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One difference. ``run`` and ``backtest`` say quantity and price, or that there was no fill."""

    at_ms: int
    symbol: str
    side: str
    cause: str
    words: str
    run: str
    backtest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayData:
    """A run and its backtest. ``rows`` and ``odd_bars`` may be cut; ``…_all`` count all of them."""

    run: ReportData
    backtest: ReportData
    same_bars: int
    odd_bars: Sequence[tuple[str, str, str]] = ()
    """What is odd, when it closed, symbol."""
    odd_bars_all: int = 0
    same_fills: int
    causes: Mapping[str, int] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    rows_all: int = 0
    notes: Sequence[str] = ()


def render_overlay(data: OverlayData) -> str:
    """Make the page of a run over its backtest."""
    page = templates().get_template("overlay.html.j2")
    return page.render(
        data=data,
        equity=_equities(data),
        distance=_distance(data),
        prices=[
            (name, *prices_with_fills(each))
            for name, each in (("run", data.run), ("backtest", data.backtest))
        ],
        columns=figure_columns({"run": data.run.metrics, "backtest": data.backtest.metrics}),
        most=max(data.causes.values(), default=1),
    )


def _span(data: OverlayData) -> tuple[int, int]:
    both = (data.run.ts_ms, data.backtest.ts_ms)
    return min(int(each[0]) for each in both), max(int(each[-1]) for each in both)


def _equities(data: OverlayData) -> Markup:
    """Draw both equities over one time axis; the run lies over the backtest."""
    layers = [
        Layer(name, charts.bin_values(each.ts_ms, each.equity, EQUITY_POINTS), style)
        for name, each, style in (("backtest", data.backtest, "hold"), ("run", data.run, "strategy"))
    ]
    return charts.time_chart(
        TimeChart(title="Equity", unit="money", layers=layers, height=280, note="quote"), *_span(data)
    )


def _distance(data: OverlayData) -> Markup:
    """Draw how far the run's equity lies above its backtest's; nothing if they are the same."""
    shared, ours, theirs = np.intersect1d(data.run.ts_ms, data.backtest.ts_ms, return_indices=True)
    apart = data.run.equity[ours] - data.backtest.equity[theirs]
    if not np.any(apart):
        return Markup()
    layer = Layer("", charts.bin_values(shared, apart, EQUITY_POINTS), "exposure", "area")
    return charts.time_chart(
        TimeChart(
            title="Run minus backtest", unit="money", layers=[layer], height=120, note="quote", zero=True
        ),
        *_span(data),
    )
