"""A symbol's chart: closed bars, the band that forecasts gave, executions and stops.

Of many symbols the journal holds only a hash of their forecasts. The daemon remembers the last ones, and is
asked for those of the symbol that somebody looks at, and only for the closes that the journal does not know.
"""

from collections.abc import Mapping, Sequence
from math import exp, isfinite, nan, sqrt

import msgspec

from bot.adapters.state.chart import ChartBar, ChartForecast, ChartIndex
from bot.adapters.state.index import JournalIndex
from bot.domain.market import HOUR_MS
from bot.service.views.forecasts import FULL_SYMBOLS
from bot.web.server.tables import plain

BAND_Z = 1.645
"""The band holds nine of ten prices if the forecasts are right and log returns are normal."""
_FILLS_MAX = 2_000


class CandleChart(msgspec.Struct):
    """The latest bars of a symbol, oldest first, and what happened while they were open."""

    interval_ms: int | None
    bars: list[ChartBar]
    band: list[list[float]]
    fills: list[dict[str, object]]
    stops: list[list[object]]
    note: str = ""
    """Why there is no band, or why it begins later than the bars; empty if nothing is missing."""
    open: object = None
    """The open candle; None if it is not known."""

    @property
    def unknown_from_ms(self) -> int | None:
        """Return the first close whose forecast the journal does not know; None without such a close."""
        if not self.bars or self.interval_ms is None:
            return None
        known_ms = int(self.band[-1][0]) - HOUR_MS if self.band else 0
        last_ms = self.bars[-1].start_ms + self.interval_ms
        return None if known_ms >= last_ms else max(known_ms + 1, self.bars[0].start_ms)

    def take(self, told: Mapping[str, object] | None) -> None:
        """Add the forecasts that the daemon remembers; say what is missing then. None: it does not answer."""
        if told is None:
            self.note = "" if self.band else _SILENT
            return
        rows: Sequence[tuple[int, float, float | None]] = told["rows"]  # type: ignore[assignment]
        more = [ChartForecast(at, rv, nan, nan if ret is None else ret) for at, rv, ret in rows]
        self.band += band(self.bars, more, self.interval_ms or 0)
        if told["symbols"] > FULL_SYMBOLS:  # type: ignore[operator]
            self.note = (_LATE if self.band else _NONE).format(symbols=told["symbols"])
        elif not self.band:
            self.note = _NO_MODEL


_SILENT = "No forecast band: the bot does not answer, and its journal holds no forecasts of these bars."
_NO_MODEL = (
    "No forecast band: the strategy asks for no forecast of the next hour, or was not warm yet at these bars."
)
_NONE = (
    "No forecast band yet: of {symbols} symbols the journal holds no forecasts, and the running bot has made "
    "none for this one."
)
_LATE = (
    "The band shows the closes that the running bot remembers: of {symbols} symbols the journal holds no "
    "forecasts."
)


def candles(index: JournalIndex, chart: ChartIndex, symbol: str, limit: int) -> CandleChart:
    """Return the latest bars of a symbol, and what happened while they were open, as the journal knows it."""
    bars = chart.bars(symbol, limit)
    from_ms = bars[0].start_ms if bars else 0
    interval_ms = chart.interval_ms(symbol)
    return CandleChart(
        interval_ms=interval_ms,
        bars=bars,
        band=band(bars, chart.forecasts(symbol, from_ms), interval_ms or 0),
        fills=_fills(index, symbol, from_ms),
        stops=[[max(ts_ms, from_ms), stop] for ts_ms, stop in chart.stops(symbol, from_ms)],
    )


def band(bars: list[ChartBar], forecasts: list[ChartForecast], interval_ms: int) -> list[list[float]]:
    """Return ``[ts_ms, low, high]``: where a forecast expected the price to be an hour after its close."""
    closes = {bar.start_ms + interval_ms: bar.close for bar in bars}
    rows = []
    for forecast in forecasts:
        close = closes.get(forecast.close_ms)
        if close is None:
            continue
        if not isfinite(forecast.rv_60m):  # a model of returns alone has no band
            continue
        # Of a model of volatility alone the band lies round the close.
        drift = forecast.ret_60m if isfinite(forecast.ret_60m) else 0.0
        middle, wide = close * exp(drift), exp(BAND_Z * sqrt(max(0.0, forecast.rv_60m)))
        rows.append([forecast.close_ms + HOUR_MS, middle / wide, middle * wide])
    return rows


def _fills(index: JournalIndex, symbol: str, from_ms: int) -> list[dict[str, object]]:
    where = "WHERE f.symbol = ? AND f.ts_ms >= ? ORDER BY f.rowid DESC LIMIT ?"
    found = index.fill_rows(where, (symbol, from_ms, _FILLS_MAX))
    names = ("ts_ms", "side", "qty", "price", "reason", "is_entry")
    return [plain({name: row[name] for name in names}) for row in reversed(found)]
