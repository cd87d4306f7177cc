"""A run with defaults, and a parser that checks whether HTML is balanced."""

import json
from collections.abc import Sequence
from decimal import Decimal
from html.parser import HTMLParser
from itertools import accumulate
from typing import Any

import numpy as np

from bot import metrics
from bot.domain.ledger import Fill
from bot.domain.market import DAY_MS, HOUR_MS
from bot.domain.orders import Side
from bot.web.run import DataFile, Identity, PriceSeries, ReportData

START_MS = 19_800 * DAY_MS
VOID = {"meta", "br", "link", "img"}


def fill(side: Side, price: float, ts_ms: int, *, symbol: str = "BTCUSDT", cause: str = "order") -> Fill:
    value = Decimal(str(round(price, 2)))
    return Fill(
        ts_ms=ts_ms,
        symbol=symbol,
        side=side,
        qty=Decimal("0.1"),
        price=value,
        fee_quote=value / 10 * Decimal("0.00055"),
        order_id="o",
        exec_id=str(ts_ms),
        cause=cause,
        slippage_quote=Decimal("0.01"),
    )


def run(
    *,
    bars: int = 2000,
    round_trips: int = 20,
    symbol: str = "BTCUSDT",
    step_ms: int = HOUR_MS,
    **changes: object,
) -> ReportData:
    """Return a random walk with this many long trades, evenly distributed."""
    rng = np.random.default_rng(1)
    start = START_MS + step_ms * np.arange(bars, dtype=np.int64)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0, 0.004, bars)))
    ohlc = np.stack([close, close * 1.001, close * 0.999, close], axis=1)
    fills = _fills(start, close, round_trips, symbol)
    equity = 1000.0 + np.cumsum(rng.normal(0, 1.0, bars)) * bool(round_trips)
    notional = np.where(np.arange(bars) % 5 < 2, 10.0, 0.0) * bool(round_trips)
    ts_ms = start + step_ms
    trades = metrics.with_excursions(metrics.round_trips(fills), start, ohlc[:, 1], ohlc[:, 2])
    hold = 1000.0 * close / close[:1]
    values: dict[str, object] = {
        "identity": identity(files=[data_file(symbol)]),
        "ts_ms": ts_ms,
        "equity": equity,
        "metrics": metrics.summary(ts_ms, equity, notional=notional, trades=trades, fills=fills),
        "hold_equity": hold,
        "hold_metrics": metrics.curve_summary(ts_ms, hold),
        "notional": notional,
        "prices": [PriceSeries(symbol=symbol, interval_ms=step_ms, start_ms=start, ohlc=ohlc)],
        "fills": fills,
        "trades": trades,
        "flat_bars": {"cost": 700, "no_signal": 300},
    }
    return ReportData(**(values | changes))


def identity(**changes: object) -> Identity:
    values: dict[str, object] = {
        "title": "a run",
        "strategy": "ema_cross",
        "params": {"fast": 12},
        "settings_hash": "5e77",
        "seed": 7,
        "versions": {"bot": "0.1.0"},
        "fee_bps": 5.5,
        "funding_source": "funding.parquet",
    }
    return Identity(**(values | changes))


def data_file(symbol: str) -> DataFile:
    return DataFile(
        path="x.parquet", symbol=symbol, interval="1h", bars=9, first_ms=0, last_ms=9, sha256="da7a"
    )


def _fills(start: np.ndarray, close: np.ndarray, count: int, symbol: str) -> Sequence[Fill]:
    at = np.linspace(1, len(start) - 2, 2 * count).astype(int).tolist()
    sides: tuple[Side, Side] = ("Buy", "Sell")
    return [fill(sides[i % 2], close[bar], int(start[bar]), symbol=symbol) for i, bar in enumerate(at)]


def _absolute(chart: dict[str, Any]) -> dict[str, Any]:
    for series in [*chart["layers"], *filter(None, [chart.get("marks")])]:
        series["t"] = [chart["from"] + 1000 * seconds for seconds in accumulate(series["t"])]
    return chart


class Page(HTMLParser):
    """Parses a page. Raises if a closing tag has no opening tag, or a tag is not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.charts: list[dict[str, Any]] = []
        """The numbers of each time chart, in the page's order, times made absolute."""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if (
            self.tags
            and self.tags[-1] == ("script", {"type": "application/json"})
            and self.open[-1] == "script"
        ):
            self.charts.append(_absolute(json.loads(data)))
        elif self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        """Return the text that a reader sees."""
        return " ".join(self.texts)

    def count(self, tag: str, **attributes: str) -> int:
        """Return the number of such elements."""
        return sum(name == tag and attributes.items() <= found.items() for name, found in self.tags)
