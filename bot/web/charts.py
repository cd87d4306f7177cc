"""SVG from numbers: pure functions without state. All times are UTC.

A plot is an ``<svg>`` as wide as its container and of fixed height in px. Curves lie in an inner ``<svg>``
that stretches (x 0…1000, y in px). Texts and markers lie outside it at percentages, so they keep their size
on a phone. Each time chart also contains its numbers as JSON; ``report.js`` redraws the chart from them when
the reader zooms. Without scripts the drawing stays as it is.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Literal

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from bot.domain.market import DAY_MS, HOUR_MS, MINUTE_MS

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
Unit = Literal["money", "percent", "number"]
"""How a value is written: quote currency, a fraction as percent, or a plain number."""

WIDTH = 1000
"""Width of a plot in inner x units."""
DRAWN_POINTS = 1200
"""Points of one drawn curve: about one per pixel of a wide screen."""
CANDLES = 160
"""Up to this number of bins a price is drawn as candles, above it as a line in its high-low band."""
MARKERS = 150
"""Up to this number of fills each is drawn as a marker, above it as a strip of their density."""

IN_SAMPLE = "in-sample"
HALTED = "halted"


# Values to ticks


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return multiples of 1, 2, 2.5 or 5 × 10ᵏ within ``[low, high]``, about ``count`` of them."""
    step = nice_step(high - low, count)
    if step <= 0.0:
        return [low]
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, _decimals(step)) + 0.0 for i in range(first, last + 1)]


def nice_step(span: float, count: int) -> float:
    """Return the smallest round step with at most ``count`` intervals in ``span``; 0 for no span."""
    if not (math.isfinite(span) and span > 0.0):
        return 0.0
    magnitude = 10.0 ** math.floor(math.log10(span / count))
    for factor in (1.0, 2.0, 2.5, 5.0):
        if factor * magnitude * count >= span * (1.0 - 1e-9):
            return factor * magnitude
    return 10.0 * magnitude


def _decimals(step: float) -> int:
    """Return the decimals that ``step`` needs (2.5 and 0.25 need one more than 2 and 0.2)."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return digits if abs(step * 10**digits - round(step * 10**digits)) < 1e-6 else digits + 1


def tick_label(value: float, step: float, unit: Unit) -> str:
    """Write ``value`` with the decimals that ``step`` needs: ``1,200``, ``−2.5 %``."""
    if unit == "percent":
        value, step = value * 100.0, step * 100.0
    text = f"{value:,.{_decimals(step) if step > 0.0 else 2}f}".replace("-", "−")
    return text + " %" if unit == "percent" else text


_CLOCK_STEPS_MS = (
    *(n * MINUTE_MS for n in (1, 2, 5, 10, 15, 30)),
    *(n * HOUR_MS for n in (1, 2, 3, 6, 12)),
    *(n * DAY_MS for n in (1, 2, 7, 14)),
)
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120)
_MONTH_MS = 2_629_746_000


def time_ticks(from_ms: int, to_ms: int, count: int = 8) -> list[tuple[int, str]]:
    """Return about ``count`` ``(ms, label)`` at round UTC times: times of day, days, months or years."""
    span = to_ms - from_ms
    for step in _CLOCK_STEPS_MS:
        if span <= step * count:
            # Weeks count from Monday 1970-01-05.
            origin = 4 * DAY_MS if step >= 7 * DAY_MS else 0
            first = -(-(from_ms - origin) // step) * step + origin
            return [(ms, _clock_label(ms)) for ms in range(first, to_ms + 1, step)]
    months = next((n for n in _MONTH_STEPS if span <= n * _MONTH_MS * count), _MONTH_STEPS[-1])
    start = datetime.fromtimestamp(from_ms / 1000, UTC)
    index = -(-(start.year * 12 + start.month - 1) // months) * months
    ticks = []
    while (ms := _month_ms(index)) <= to_ms:
        if ms >= from_ms:
            ticks.append((ms, _month_label(index, months)))
        index += months
    return ticks


def _clock_label(ms: int) -> str:
    at = datetime.fromtimestamp(ms / 1000, UTC)
    return f"{at:%H:%M}" if ms % DAY_MS else f"{at.day} {at:%b}"


def _month_ms(index: int) -> int:
    return int(datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1000


def _month_label(index: int, months: int) -> str:
    year, month = index // 12, index % 12 + 1
    return str(year) if months >= 12 or month == 1 else f"{datetime(year, month, 1, tzinfo=UTC):%b}"


# From a long series to a few points


@dataclass(frozen=True, slots=True)
class Bins:
    """A series in time order, several values per bin: first, highest, lowest and last value.

    ``ts_ms`` is the time of a bin's last value. No extreme is lost.
    """

    ts_ms: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats

    def __len__(self) -> int:
        return len(self.ts_ms)


def bin_values(ts_ms: Times, values: Floats, limit: int) -> Bins:
    """Return at most ``limit`` bins with the same number of values each."""
    values = np.asarray(values, np.float64)
    return rebin(Bins(np.asarray(ts_ms), values, values, values, values), limit)


def rebin(bins: Bins, limit: int) -> Bins:
    """Return fewer, wider bins. Unchanged if there are at most ``limit``."""
    total = len(bins)
    if total <= limit:
        return bins
    first = np.arange(0, total, -(-total // limit))
    last = np.append(first[1:], total) - 1
    return Bins(
        bins.ts_ms[last],
        bins.open[first],
        np.maximum.reduceat(bins.high, first),
        np.minimum.reduceat(bins.low, first),
        bins.close[last],
    )


# Paths


def line_path(x: Floats, y: Floats) -> str:
    """Return ``M…L…`` through the points, interrupted where ``y`` is not finite."""
    parts = []
    pen = "M"
    for a, b in zip(np.round(x, 1).tolist(), np.round(y, 1).tolist(), strict=True):
        if math.isfinite(b):
            parts.append(f"{pen}{a:g} {b:g}")
            pen = "L"
        else:
            pen = "M"
    return "".join(parts)


def band_path(x: Floats, top: Floats, bottom: Floats) -> str:
    """Return the closed outline between two curves over the same x.

    Points that are not finite are left out.
    """
    keep = np.isfinite(top) & np.isfinite(bottom)
    if not keep.any():
        return ""
    x, top, bottom = x[keep], top[keep], bottom[keep]
    return line_path(np.append(x, x[::-1]), np.append(top, bottom[::-1])) + "Z"


# Time charts


@dataclass(frozen=True, slots=True)
class Layer:
    """One curve of a time chart. ``style`` is its CSS class in ``report.css``."""

    name: str
    bins: Bins
    style: str
    shape: Literal["line", "area", "price"] = "line"


@dataclass(frozen=True, slots=True)
class Marks:
    """Fills on a price: time, price, quantity, and 0 buy, 1 sell, 2 liquidation. All are ``(n,)``."""

    ts_ms: Times
    price: Floats
    qty: Floats
    what: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeChart:
    """Curves over one time axis. Everything before ``shade_to_ms`` is marked as in-sample.

    A line marks ``halted_ms``, where a halt ended the figures.
    """

    title: str
    unit: Unit
    layers: Sequence[Layer]
    height: int = 220
    note: str = ""
    zero: bool = False
    marks: Marks | None = None
    zoomable_marks: bool = True
    shade_to_ms: int | None = None
    halted_ms: int | None = None


def time_chart(chart: TimeChart, from_ms: int, to_ms: int) -> Markup:
    """Return a ``<figure>``: legend, plot, axes, and the numbers for ``report.js``."""
    if to_ms <= from_ms:
        from_ms, to_ms = from_ms - HOUR_MS, to_ms + HOUR_MS
    low, high = _value_range(chart)
    frame = _Frame(from_ms, to_ms, low, high, chart.height)
    curves = "".join(_layer(layer, frame) for layer in chart.layers)
    body = (
        f'<g class="under">{_shade(chart, frame)}{_halt(chart, frame)}{_grid(frame, chart.unit)}</g>'
        f'<svg class="lines" viewBox="0 0 {WIDTH} {chart.height}" preserveAspectRatio="none" '
        f'width="100%" height="{chart.height}">{curves}{_density(chart.marks, frame)}</svg>'
        f'<g class="marks">{_markers(chart.marks, frame)}</g>'
    )
    note = f'<span class="note">{escape(chart.note)}</span>' if chart.note else ""
    return Markup(  # noqa: S704 (every text in it is escaped above)
        f'<figure class="time"><figcaption><b>{escape(chart.title)}</b>{_legend(chart)}{note}</figcaption>'
        f'<div class="frame">{plot(body, chart.height, chart.title)}</div>'
        f'<script type="application/json">{_numbers(chart, from_ms, to_ms)}</script></figure>'
    )


def plot(body: str, height: int, label: str) -> str:
    """Return the outer ``<svg>`` of a plot. Axis texts may lie outside its box."""
    return (
        f'<svg class="plot" width="100%" height="{height}" role="img" aria-label="{escape(label)}">'
        f"{body}</svg>"
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """Maps times and values to positions in a plot."""

    from_ms: int
    to_ms: int
    low: float
    high: float
    height: int

    def x(self, ts_ms: Times) -> Floats:
        """Return inner x, 0…1000."""
        return np.asarray((ts_ms - self.from_ms) * (WIDTH / (self.to_ms - self.from_ms)), np.float64)

    def y(self, values: Floats) -> Floats:
        """Return px from the top."""
        return np.asarray((self.high - values) * (self.height / (self.high - self.low)), np.float64)

    def y_of(self, value: float) -> float:
        return (self.high - value) * self.height / (self.high - self.low)


def _value_range(chart: TimeChart) -> tuple[float, float]:
    """Return the extremes of all layers with a small margin. Includes 0 if ``chart.zero``."""
    values = [v for layer in chart.layers for v in (layer.bins.high, layer.bins.low)]
    if chart.marks is not None:
        values.append(chart.marks.price)
    flat = np.concatenate([*values, [0.0]] if chart.zero else values) if values else np.empty(0)
    flat = flat[np.isfinite(flat)]
    if not flat.size:
        return 0.0, 1.0
    low, high = float(flat.min()), float(flat.max())
    if high <= low:
        air = abs(low) * 0.01 or 1.0
        return low - air, high + air
    air = 0.06 * (high - low)
    return (low if chart.zero and low == 0.0 else low - air), (
        high if chart.zero and high == 0.0 else high + air
    )


def _grid(frame: _Frame, unit: Unit) -> str:
    """Draw horizontal lines with values on their left, and times below."""
    count = max(4, frame.height // 45)
    step = nice_step(frame.high - frame.low, count)
    out = []
    for value in nice_ticks(frame.low, frame.high, count):
        style = "zero" if value == 0.0 else "grid"
        out.append(row(frame.y_of(value), tick_label(value, step, unit), style))
    for i, (ms, label) in enumerate(time_ticks(frame.from_ms, frame.to_ms)):
        share = (ms - frame.from_ms) / (frame.to_ms - frame.from_ms)
        out.append(column(share, frame.height, label, other=i % 2 == 1))
    return "".join(out)


def row(y: float, label: str, style: str = "grid") -> str:
    """Draw a horizontal line with its value left of the plot."""
    return (
        f'<line class="{style}" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick" x="-8" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    )


def column(share: float, height: int, label: str, *, other: bool = False) -> str:
    """Draw a tick below the plot, at a share of its width. An ``other`` tick is hidden on a narrow screen."""
    x = f"{100.0 * share:.2f}%"
    return (
        f'<text class="tick{" other" if other else ""}" x="{x}" y="{height + 17}" '
        f'text-anchor="middle">{label}</text>'
        f'<line class="grid" x1="{x}" x2="{x}" y1="{height}" y2="{height + 4}"/>'
    )


def _halt(chart: TimeChart, frame: _Frame) -> str:
    if chart.halted_ms is None or not frame.from_ms < chart.halted_ms <= frame.to_ms:
        return ""
    at = f"{100.0 * (chart.halted_ms - frame.from_ms) / (frame.to_ms - frame.from_ms):.2f}%"
    label = f'<text class="halt-label" x="{at}" dx="6" y="14">{HALTED}</text>' if frame.height >= 200 else ""
    return f'<line class="halt" x1="{at}" x2="{at}" y2="{frame.height}"/>{label}'


def _shade(chart: TimeChart, frame: _Frame) -> str:
    if chart.shade_to_ms is None or chart.shade_to_ms <= frame.from_ms:
        return ""
    width = min(100.0, 100.0 * (chart.shade_to_ms - frame.from_ms) / (frame.to_ms - frame.from_ms))
    label = f'<text class="shade-label" x="6" y="14">{IN_SAMPLE}</text>' if frame.height >= 200 else ""
    return (
        f'<rect class="shade" width="{width:.2f}%" height="{frame.height}"/>'
        f'<line class="shade-end" x1="{width:.2f}%" x2="{width:.2f}%" y2="{frame.height}"/>{label}'
    )


def _layer(layer: Layer, frame: _Frame) -> str:
    bins = rebin(layer.bins, DRAWN_POINTS)
    if not len(bins):
        return ""
    if layer.shape == "price" and len(bins) <= CANDLES:
        return _candles(bins, frame)
    x = frame.x(bins.ts_ms)
    if layer.shape == "area":
        top, bottom = frame.y(np.maximum(bins.high, 0.0)), frame.y(np.minimum(bins.low, 0.0))
        return f'<path class="{layer.style} area" d="{band_path(x, top, bottom)}"/>'
    band = ""
    if np.any(bins.high > bins.low):
        outline = band_path(x, frame.y(bins.high), frame.y(bins.low))
        band = f'<path class="{layer.style} band" d="{outline}"/>'
    return band + f'<path class="{layer.style} line" d="{line_path(x, frame.y(bins.close))}"/>'


def _candles(bins: Bins, frame: _Frame) -> str:
    """Draw wicks and bodies of bins that end at their ``ts_ms``."""
    spacing = float(np.median(np.diff(bins.ts_ms))) if len(bins) > 1 else HOUR_MS
    width = spacing * WIDTH / (frame.to_ms - frame.from_ms)
    middle = (frame.x(bins.ts_ms) - width / 2).tolist()
    rows = (frame.y(v).tolist() for v in (bins.open, bins.high, bins.low, bins.close))
    paths = {"up": "", "down": ""}
    for x, o, h, low, c in zip(middle, *rows, strict=True):
        half, top, height = 0.35 * width, min(o, c), max(abs(o - c), 0.8)
        body = f"M{x - half:.2f} {top:.1f}h{2 * half:.2f}v{height:.1f}h{-2 * half:.2f}Z"
        paths["up" if c <= o else "down"] += f"M{x:.1f} {h:.1f}V{low:.1f}{body}"
    return "".join(f'<path class="candle {name}" d="{d}"/>' for name, d in paths.items() if d)


_MARK_IDS = ("buy", "sell", "liquidation")


def marker_shapes() -> Markup:
    """Return the shapes that markers refer to. Needed once per page."""
    return Markup(
        '<svg class="shapes" aria-hidden="true" width="0" height="0"><defs>'
        '<path id="buy" d="M0 3L4.5 11H-4.5Z"/><path id="sell" d="M0 -3L4.5 -11H-4.5Z"/>'
        '<path id="liquidation" d="M-5 -5L5 5M5 -5L-5 5"/></defs></svg>'
    )


def _markers(marks: Marks | None, frame: _Frame) -> str:
    if marks is None or len(marks.ts_ms) > MARKERS:
        return ""
    rows = zip(frame.x(marks.ts_ms) * (100 / WIDTH), frame.y(marks.price), marks.what.tolist(), strict=True)
    return "".join(
        f'<use href="#{_MARK_IDS[what]}" class="{_MARK_IDS[what]}" x="{x:.2f}%" y="{y:.1f}"/>'
        for x, y, what in rows
    )


def _density(marks: Marks | None, frame: _Frame) -> str:
    """Draw the number of fills per column as a strip along the bottom, for very many fills."""
    if marks is None or len(marks.ts_ms) <= MARKERS:
        return ""
    columns = 250
    edges = np.linspace(frame.from_ms, frame.to_ms, columns + 1)
    counts = np.histogram(marks.ts_ms, edges)[0]
    heights = counts * (24.0 / max(1, int(counts.max())))
    width = WIDTH / columns
    path = "".join(
        f"M{i * width:g} {frame.height}v{-h:.1f}h{width:g}v{h:.1f}Z"
        for i, h in enumerate(heights.tolist())
        if h
    )
    return f'<path class="density" d="{path}"/>'


def _legend(chart: TimeChart) -> str:
    items = [(layer.style, layer.name) for layer in chart.layers if layer.name]
    if chart.marks is not None and len(chart.marks.ts_ms):
        items += [("buy", "▲ buy"), ("sell", "▼ sell")]
    return "".join(f'<span class="key {style}">{escape(name)}</span>' for style, name in items)


def _numbers(chart: TimeChart, from_ms: int, to_ms: int) -> str:
    """Return the numbers for ``report.js``.

    Times are seconds since the time before; values have seven digits.
    """
    spec: dict[str, object] = {
        "from": from_ms,
        "to": to_ms,
        "height": chart.height,
        "unit": chart.unit,
        "zero": chart.zero,
        "shade": chart.shade_to_ms,
        "halted": chart.halted_ms,
        "layers": [_layer_numbers(layer, from_ms) for layer in chart.layers],
    }
    if chart.marks is not None and chart.zoomable_marks:
        spec["marks"] = {
            "t": _deltas(chart.marks.ts_ms, from_ms),
            "v": _short(chart.marks.price),
            "q": _short(chart.marks.qty),
            "s": chart.marks.what.tolist(),
        }
    return script_json(spec)


def _layer_numbers(layer: Layer, from_ms: int) -> dict[str, object]:
    bins = layer.bins
    out: dict[str, object] = {
        "name": layer.name,
        "style": layer.style,
        "shape": layer.shape,
        "t": _deltas(bins.ts_ms, from_ms),
        "c": _short(bins.close),
    }
    if layer.shape == "price":
        out["o"] = _short(bins.open)
    if bins.high is not bins.close:
        out |= {"h": _short(bins.high), "l": _short(bins.low)}
    return out


def _deltas(ts_ms: Times, from_ms: int) -> list[int]:
    seconds = (np.asarray(ts_ms) - from_ms) // 1000
    return [int(v) for v in np.diff(seconds, prepend=0)]


def _short(values: Floats) -> list[float | None]:
    return [float(f"{v:.7g}") if math.isfinite(v) else None for v in values.tolist()]


def script_json(value: object) -> str:
    """Write JSON that cannot end the ``<script>`` around it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


# Other charts


def histogram(values: Floats, *, title: str, height: int = 200, bins: int = 41) -> Markup:
    """Draw the counts of ``values`` (fractions, shown in percent) in equal bins with 0 as an edge."""
    step = nice_step(float(values.max() - values.min()), bins) or 0.001
    first, last = math.floor(values.min() / step), math.ceil(values.max() / step)
    last = max(last, first + 1)
    counts = np.histogram(values, np.arange(first, last + 1) * step)[0].tolist()
    top = max(counts) * 1.08
    width = 100.0 / len(counts)
    bars = "".join(
        f'<rect class="{"loss" if first + i < 0 else "gain"}" x="{i * width + 0.06 * width:.3f}%" '
        f'width="{0.88 * width:.3f}%" y="{height - n / top * height:.1f}" height="{n / top * height:.1f}"/>'
        for i, n in enumerate(counts)
    )
    low, high = first * step, last * step
    ticks = nice_ticks(low, high, 7)
    gap = nice_step(high - low, 7)
    labels = "".join(
        column((v - low) / (high - low), height, tick_label(v, gap, "percent"), other=i % 2 == 1)
        for i, v in enumerate(ticks)
    )
    drawn = plot(_count_grid(top, height) + bars + labels, height, title)
    caption = f"<figcaption><b>{escape(title)}</b></figcaption>"
    return Markup(f'<figure>{caption}<div class="frame">{drawn}</div></figure>')  # noqa: S704 (escaped)


def _count_grid(top: float, height: int) -> str:
    step = max(1.0, nice_step(top, 4))
    counts = (i * step for i in range(math.floor(top / step) + 1))
    return "".join(row(height - n / top * height, f"{n:g}") for n in counts)
