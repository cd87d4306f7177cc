"""The plots of a page: curves over one time axis, and prices with fills."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from markupsafe import Markup

from bot import metrics
from bot.domain.ledger import Fill
from bot.web import charts
from bot.web.charts import Layer, Marks, TimeChart
from bot.web.run import Floats, PriceSeries, ReportData, in_sample_to

EQUITY_POINTS = 2000
"""Points of an equity curve that are kept for zooming."""
PRICE_POINTS = 4000
"""Points of all prices together that are kept for zooming."""
PRICE_CHARTS = 12
"""Largest number of price charts. The symbols with the most fills are drawn."""
ZOOMABLE_FILLS = 30_000
"""Largest number of fills that the page contains one by one, for zooming."""
ROLLING_DAYS = 30


def curves(run: ReportData) -> Markup:
    """Draw equity, drawdown, exposure and rolling Sharpe over one time axis."""
    if len(run.ts_ms) < 2:
        return Markup()
    shade = in_sample_to(run)
    drawn = [_equity_chart(run, shade)]
    if np.any(np.diff(run.equity) < 0.0):
        drawn.append(_drawdown_chart(run, shade))
    if run.notional is not None and np.any(run.notional):
        drawn.append(_exposure_chart(run, run.notional, shade))
    rolling = _rolling_chart(run, shade)
    drawn += [rolling] if rolling else []
    marked = (replace(chart, halted_ms=run.judged_to_ms) for chart in drawn)
    return Markup().join(charts.time_chart(chart, *_span(run)) for chart in marked)


def _span(run: ReportData) -> tuple[int, int]:
    """Return the time axis of all charts: from the first bar's open to the last close."""
    starts = [int(p.start_ms[0]) for p in run.prices if len(p.start_ms)]
    return min([int(run.ts_ms[0]), *starts]), int(run.ts_ms[-1])


def _equity_chart(run: ReportData, shade: int | None) -> TimeChart:
    layers = [Layer("strategy", charts.bin_values(run.ts_ms, run.equity, EQUITY_POINTS), "strategy")]
    if run.hold_equity is not None:
        hold = charts.bin_values(run.ts_ms, run.hold_equity, EQUITY_POINTS)
        layers.insert(0, Layer("buy and hold", hold, "hold"))
    return TimeChart(title="Equity", unit="money", layers=layers, height=280, note="quote", shade_to_ms=shade)


def _drawdown_chart(run: ReportData, shade: int | None) -> TimeChart:
    below = run.equity / np.maximum.accumulate(run.equity) - 1.0
    layer = Layer("", charts.bin_values(run.ts_ms, below, EQUITY_POINTS), "drawdown", "area")
    return TimeChart(
        title="Drawdown",
        unit="percent",
        layers=[layer],
        height=120,
        note="of every bar",
        zero=True,
        shade_to_ms=shade,
    )


def _exposure_chart(run: ReportData, notional: Floats, shade: int | None) -> TimeChart:
    held = np.divide(notional, run.equity, out=np.zeros(len(notional)), where=run.equity > 0.0)
    layer = Layer("", charts.bin_values(run.ts_ms, held, EQUITY_POINTS), "exposure", "area")
    return TimeChart(
        title="Exposure",
        unit="percent",
        layers=[layer],
        height=110,
        note="position value over equity, short below zero",
        zero=True,
        shade_to_ms=shade,
    )


def _rolling_chart(run: ReportData, shade: int | None) -> TimeChart | None:
    ends, returns = metrics.whole_day_returns(run.ts_ms, run.equity)
    rolling = metrics.rolling_sharpe(returns, ROLLING_DAYS)
    if len(rolling) < 2 * ROLLING_DAYS or not np.isfinite(rolling).any():
        return None
    layer = Layer("", charts.bin_values(ends, rolling, EQUITY_POINTS), "strategy")
    return TimeChart(
        title="Rolling Sharpe",
        unit="number",
        layers=[layer],
        height=130,
        note=f"last {ROLLING_DAYS} whole days, annual",
        zero=True,
        shade_to_ms=shade,
    )


def prices_with_fills(run: ReportData) -> tuple[Markup, str]:
    """Draw each symbol's candles with its fills. Also returns a note on symbols that are left out."""
    if not run.prices or not len(run.ts_ms):
        return Markup(), ""
    counts = Counter(fill.symbol for fill in run.fills)
    shown = sorted(run.prices, key=lambda p: -counts[p.symbol])[:PRICE_CHARTS]
    limit = max(600, PRICE_POINTS // len(shown))
    drawn = Markup().join(
        charts.time_chart(_price_chart(run, p, limit), *_span(run)) for p in shown if len(p.start_ms)
    )
    left_out = len(run.prices) - len(shown)
    note = (
        f"The {PRICE_CHARTS} symbols with the most fills; {left_out} more are left out." if left_out else ""
    )
    return drawn, note


def _price_chart(run: ReportData, prices: PriceSeries, limit: int) -> TimeChart:
    o, h, low, c = (np.ascontiguousarray(prices.ohlc[:, i]) for i in range(4))
    bins = charts.rebin(charts.Bins(prices.start_ms + prices.interval_ms, o, h, low, c), limit)
    marks = _marks([fill for fill in run.fills if fill.symbol == prices.symbol])
    note = f"{len(marks.ts_ms):,} fills" if len(marks.ts_ms) else "no fills"
    zoomable = len(run.fills) <= ZOOMABLE_FILLS
    if len(marks.ts_ms) > charts.MARKERS:
        note += " (the strip below shows how many at a time" + ("; zoom in to see each)" if zoomable else ")")
    return TimeChart(
        title=prices.symbol,
        unit="number",
        layers=[Layer("", bins, "price", "price")],
        height=300,
        note=note,
        marks=marks,
        zoomable_marks=zoomable,
        shade_to_ms=in_sample_to(run),
        halted_ms=run.judged_to_ms,
    )


def _marks(fills: Sequence[Fill]) -> Marks:
    what = [2 if fill.cause == "liquidation" else int(fill.side == "Sell") for fill in fills]
    return Marks(
        np.array([fill.ts_ms for fill in fills], np.int64),
        np.array([float(fill.price) for fill in fills]),
        np.array([float(fill.qty) for fill in fills]),
        np.array(what, np.int64),
    )
