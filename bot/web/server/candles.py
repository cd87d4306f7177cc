"""A symbol's chart: closed bars, the band that forecasts gave, executions and stops."""

from math import exp, sqrt

from bot.adapters.state.chart import ChartBar, ChartForecast, ChartIndex
from bot.adapters.state.index import JournalIndex
from bot.domain.market import HOUR_MS
from bot.web.server.tables import plain

BAND_Z = 1.645
"""The band holds nine of ten prices if the forecasts are right and log returns are normal."""
_FILLS_MAX = 2_000


def candles(index: JournalIndex, chart: ChartIndex, symbol: str, limit: int) -> dict[str, object]:
    """Return the latest bars of a symbol, and what happened while they were open."""
    bars = chart.bars(symbol, limit)
    from_ms = bars[0].start_ms if bars else 0
    return {
        "interval_ms": chart.interval_ms(symbol),
        "bars": bars,
        "band": band(bars, chart.forecasts(symbol, from_ms), chart.interval_ms(symbol) or 0),
        "fills": _fills(index, symbol, from_ms),
        "stops": [[max(ts_ms, from_ms), stop] for ts_ms, stop in chart.stops(symbol, from_ms)],
    }


def band(bars: list[ChartBar], forecasts: list[ChartForecast], interval_ms: int) -> list[list[float]]:
    """Return ``[ts_ms, low, high]``: where a forecast expected the price to be an hour after its close."""
    closes = {bar.start_ms + interval_ms: bar.close for bar in bars}
    rows = []
    for forecast in forecasts:
        close = closes.get(forecast.close_ms)
        if close is None:
            continue
        middle, wide = close * exp(forecast.ret_60m), exp(BAND_Z * sqrt(max(0.0, forecast.rv_60m)))
        rows.append([forecast.close_ms + HOUR_MS, middle / wide, middle * wide])
    return rows


def _fills(index: JournalIndex, symbol: str, from_ms: int) -> list[dict[str, object]]:
    where = "WHERE f.symbol = ? AND f.ts_ms >= ? ORDER BY f.rowid DESC LIMIT ?"
    found = index.fill_rows(where, (symbol, from_ms, _FILLS_MAX))
    names = ("ts_ms", "side", "qty", "price", "reason", "is_entry")
    return [plain({name: row[name] for name in names}) for row in reversed(found)]
