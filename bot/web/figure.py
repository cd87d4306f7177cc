"""A run, a search or an evaluation as one SVG: no styles, no script. For notebooks, mails and slides.

Texts take the colour of what is around them (``currentColor``), and the other colours are seen on white and
on black, so the drawing fits a light and a dark notebook. It reads downwards: drawing, panels, their parts.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bot.adapters.files.whole import write_text
from bot.domain.errors import BadUsage
from bot.domain.ledger import Fill
from bot.web import charts
from bot.web.charts import Bins, Unit
from bot.web.run import Floats, ReportData, Times, in_sample_to
from bot.web.search.data import Curve

WIDTH = 900
_LEFT, _RIGHT, _TITLE, _TIMES = 76, 14, 24, 26
"""Room in px: left of a panel for values, right of it, above it for its title, below the last for times."""
POINTS = 1000
"""Points of one curve: about one a pixel."""
MARKERS = 400
"""Up to so many fills each is drawn."""
_PALE = 'fill="currentColor" fill-opacity="0.7"'
_BLUE, _ORANGE, _GREY, _INK = "#2b84cc", "#d9682b", "#8b929a", "#7d858e"


@dataclass(frozen=True)
class Figure:
    """A drawing as SVG text. A notebook shows it; ``save`` writes it."""

    svg: str
    """The drawing, a document of its own."""

    def save(self, path: str | Path) -> Path:
        """Write the SVG to a file and return its path; missing folders are made.

        Raises:
            BadUsage: it is no path.
            NotWritten: the place cannot be written.
        """
        if not isinstance(path, str | PathLike):
            raise BadUsage(f"path={path!r}: must be a path")
        path = Path(path)
        write_text(path, self.svg)
        return path

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return f'<div style="max-width:{WIDTH}px">{self.svg}</div>'

    def __repr__(self) -> str:
        return f"<Figure: {len(self.svg):,} characters of SVG; a notebook shows it, .save(path) writes it>"


def figure_of(run: ReportData) -> Figure:
    """Draw equity beside buy and hold, drawdown, and the price of the symbol with the most fills."""
    if len(run.ts_ms) < 2:
        return figure_of_nothing("The run saw no bar that it could act on.")
    panels = [_equity(run), _drawdown(run.ts_ms, run.equity), *_price(run)]
    return _drawing(panels, run.ts_ms, run.identity.title, in_sample_to(run))


def figure_of_curve(title: str, curve: Curve) -> Figure:
    """Draw an account beside buy and hold, both 1 at the begin, and its drawdown."""
    if len(curve.ts_ms) < 2:
        return figure_of_nothing("Fewer than two whole days: nothing to draw.")
    curves = [
        _curve("buy and hold", curve.ts_ms, curve.hold, _GREY),
        _curve("strategy", curve.ts_ms, curve.equity, _BLUE),
    ]
    panels = [_Panel(title, "number", 200, curves), _drawdown(curve.ts_ms, curve.equity)]
    return _drawing(panels, curve.ts_ms, title)


def figure_of_months(titles: Sequence[str], ts_ms: Times, pairs: Sequence[tuple[Floats, Floats]]) -> Figure:
    """Draw a panel for each title: a figure of each month, the model's beside that of a baseline."""
    panels = [
        _Panel(title, "number", 150, [_curve("model", ts_ms, ours, _BLUE), *_beside(ts_ms, theirs)])
        for title, (ours, theirs) in zip(titles, pairs, strict=True)
    ]
    return _drawing(panels, ts_ms, "; ".join(titles))


def _beside(ts_ms: Times, theirs: Floats) -> "list[_Curve]":
    return [_curve("har_hour", ts_ms, theirs, _GREY)] if np.isfinite(theirs).any() else []


def figure_of_nothing(words: str) -> Figure:
    """Return a drawing that says why there is nothing to draw."""
    return Figure(_document("", 40, words))


def _drawing(panels: "Sequence[_Panel]", ts_ms: Times, title: str, shade_to_ms: int | None = None) -> Figure:
    span = int(ts_ms[0]), int(ts_ms[-1])
    top, parts = 4, []
    for panel in panels:
        parts.append(
            f'<g transform="translate({_LEFT} {top + _TITLE})">{_drawn(panel, span, shade_to_ms)}</g>'
        )
        top += _TITLE + panel.height + 8
    parts.append(f'<g transform="translate({_LEFT} {top - 8})">{_times(span)}</g>')
    return Figure(_document("".join(parts), top + _TIMES - 8, title))


@dataclass(frozen=True)
class _Curve:
    name: str
    bins: Bins
    colour: str
    filled: bool = False


@dataclass(frozen=True)
class _Panel:
    title: str
    unit: Unit
    height: int
    curves: Sequence[_Curve]
    fills: Sequence[Fill] = ()


def _curve(name: str, ts_ms: Times, values: Floats, colour: str, *, filled: bool = False) -> _Curve:
    return _Curve(name, charts.bin_values(ts_ms, values, POINTS), colour, filled)


def _equity(run: ReportData) -> _Panel:
    curves = [_curve("strategy", run.ts_ms, run.equity, _BLUE)]
    if run.hold_equity is not None:
        curves.insert(0, _curve("buy and hold", run.ts_ms, run.hold_equity, _GREY))
    return _Panel("Equity", "money", 200, curves)


def _drawdown(ts_ms: Times, equity: Floats) -> _Panel:
    below = equity / np.maximum.accumulate(equity) - 1.0
    curve = _curve("", ts_ms, below, _ORANGE, filled=True)
    return _Panel("Drawdown", "percent", 70, [curve])


def _price(run: ReportData) -> list[_Panel]:
    if not run.prices:
        return []
    counts = Counter(fill.symbol for fill in run.fills)
    shown = max(run.prices, key=lambda each: counts[each.symbol])
    closes = charts.bin_values(shown.start_ms + shown.interval_ms, shown.ohlc[:, 3], POINTS)
    fills = [fill for fill in run.fills if fill.symbol == shown.symbol]
    title = shown.symbol + (f" ({len(fills):,} fills, not drawn)" if len(fills) > MARKERS else "")
    return [_Panel(title, "number", 200, [_Curve("", closes, _INK)], fills if len(fills) <= MARKERS else ())]


@dataclass(frozen=True)
class _Frame:
    """Maps times and values to px within a panel."""

    from_ms: int
    to_ms: int
    low: float
    high: float
    height: int

    def x(self, ts_ms: NDArray[np.int64]) -> Floats:
        return np.asarray((ts_ms - self.from_ms) * (_room() / (self.to_ms - self.from_ms)), np.float64)

    def y(self, values: Floats) -> Floats:
        return np.asarray((self.high - values) * (self.height / (self.high - self.low)), np.float64)


def _room() -> int:
    return WIDTH - _LEFT - _RIGHT


def _drawn(panel: _Panel, span: tuple[int, int], shade_to_ms: int | None) -> str:
    low = min(float(np.nanmin(curve.bins.low)) for curve in panel.curves)
    high = max(float(np.nanmax(curve.bins.high)) for curve in panel.curves)
    air = 0.06 * (high - low) or abs(low) * 0.01 or 1.0
    is_filled = any(curve.filled for curve in panel.curves)
    frame = _Frame(*span, low - air, 0.0 if is_filled else high + air, panel.height)
    return (
        _title(panel)
        + _shade(shade_to_ms, frame)
        + _grid(frame, panel.unit)
        + "".join(_path(curve, frame) for curve in panel.curves)
        + _marks(panel.fills, frame)
    )


def _title(panel: _Panel) -> str:
    keys = [(curve.name, curve.colour) for curve in panel.curves if curve.name]
    if panel.fills:
        keys += [("▲ buy", _BLUE), ("▼ sell", _ORANGE)]
    told = "".join(f'<tspan dx="14" fill="{colour}">{escape(name)}</tspan>' for name, colour in keys)
    title = f'<tspan font-weight="600">{escape(panel.title)}</tspan>'
    return f'<text y="-8" fill="currentColor">{title}{told}</text>'


def _shade(to_ms: int | None, frame: _Frame) -> str:
    if to_ms is None:
        return ""
    width = float(frame.x(np.array([min(to_ms, frame.to_ms)]))[0])
    label = f'<text x="6" y="14" fill="#b58a12">{charts.IN_SAMPLE}</text>' if frame.height >= 200 else ""
    return f'<rect width="{width:.1f}" height="{frame.height}" fill="#c9a227" fill-opacity="0.14"/>{label}'


def _grid(frame: _Frame, unit: Unit) -> str:
    count = max(2, frame.height // 45)
    step = charts.nice_step(frame.high - frame.low, count)
    ticks = charts.nice_ticks(frame.low, frame.high, count)
    heights = frame.y(np.array(ticks)).tolist()
    lines = "".join(f"M0 {y:.1f}H{_room()}" for y in heights)
    labels = "".join(
        f'<text x="-8" y="{y + 4:.1f}" text-anchor="end" {_PALE}>'
        f"{charts.tick_label(value, step, unit)}</text>"
        for value, y in zip(ticks, heights, strict=True)
    )
    return f'<path d="{lines}" stroke="currentColor" stroke-opacity="0.13"/>{labels}'


def _path(curve: _Curve, frame: _Frame) -> str:
    bins = curve.bins
    x = frame.x(bins.ts_ms)
    if curve.filled:
        outline = charts.band_path(x, frame.y(np.maximum(bins.high, 0.0)), frame.y(np.minimum(bins.low, 0.0)))
        return f'<path d="{outline}" fill="{curve.colour}" fill-opacity="0.45" stroke="{curve.colour}"/>'
    line = charts.line_path(x, frame.y(bins.close))
    band = ""
    if np.any(bins.high > bins.low):
        outline = charts.band_path(x, frame.y(bins.high), frame.y(bins.low))
        band = f'<path d="{outline}" fill="{curve.colour}" fill-opacity="0.25"/>'
    return f'{band}<path d="{line}" fill="none" stroke="{curve.colour}" stroke-width="1.5"/>'


def _marks(fills: Sequence[Fill], frame: _Frame) -> str:
    if not fills:
        return ""
    at = frame.x(np.array([fill.ts_ms for fill in fills], np.int64)).tolist()
    heights = frame.y(np.array([float(fill.price) for fill in fills])).tolist()
    shapes = {"Buy": "", "Sell": ""}
    for fill, x, y in zip(fills, at, heights, strict=True):
        way = 1 if fill.side == "Buy" else -1  # a buy points up from below its price
        shapes[fill.side] += f"M{x:.1f} {y + 2 * way:.1f}l3.5 {6 * way}h-7Z"
    colours = {"Buy": _BLUE, "Sell": _ORANGE}
    return "".join(f'<path d="{d}" fill="{colours[side]}"/>' for side, d in shapes.items() if d)


def _times(span: tuple[int, int]) -> str:
    from_ms, to_ms = span
    out = []
    for ms, label in charts.time_ticks(from_ms, to_ms):
        x = (ms - from_ms) * _room() / (to_ms - from_ms)
        out.append(f'<text x="{x:.1f}" y="17" text-anchor="middle" {_PALE}>{label}</text>')
    return "".join(out)


def _document(body: str, height: int, title: str) -> str:
    said = f'<text x="8" y="24" fill="currentColor">{escape(title)}</text>' if not body else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="100%" role="img" '
        f'aria-label="{escape(title, quote=True)}" font-family="system-ui, sans-serif" font-size="12">'
        f"<title>{escape(title)}</title>{body}{said}</svg>"
    )
