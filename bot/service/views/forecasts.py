"""The forecasts of the last closes, for whoever looks at one symbol's chart.

The journal holds each forecast for up to ``FULL_SYMBOLS`` symbols; of more it holds only a hash. For these
the daemon remembers the last closes of this process: a bounded number of them, taken after the close's orders
were sent, and told for one symbol at a time.
"""

from array import array
from collections import deque
from itertools import chain
from math import nan

import msgspec

from bot.engine.state import EngineState

FULL_SYMBOLS = 32
"""Each forecast of a close is written for up to so many symbols; for more, only their hash."""
VALUES_MAX = 60_000
"""Forecasts of all symbols together that are remembered; a megabyte."""
TOLD_MAX = 1_000
"""Forecasts of one answer."""
_UNKNOWN = (nan, nan)


class RecentForecasts(msgspec.Struct, frozen=True, kw_only=True):
    """One answer: ``[close_ms, rv_60m, ret_60m]`` of a symbol, oldest first; how many symbols there are."""

    symbols: int
    rows: list[tuple[int, float, float]]


class ForecastBoard:
    """Remembers forecasts that the journal does not hold: nothing for up to ``FULL_SYMBOLS`` symbols."""

    def __init__(self, state: EngineState) -> None:
        self._symbols = list(state.symbols.values())
        self._places = {sym.symbol: place for place, sym in enumerate(self._symbols)}
        count = len(self._symbols)
        self._closes: deque[tuple[int, array[float]]] = deque(
            maxlen=VALUES_MAX // count if count > FULL_SYMBOLS else 0
        )

    def closed(self, ts_ms: int) -> None:
        """Take the forecasts that were made at a close."""
        if not self._closes.maxlen:
            return
        made = (
            (forecast.rv_60m, forecast.ret_60m)
            if (forecast := sym.view.forecast) is not None and sym.view.bar.close_ms == ts_ms
            else _UNKNOWN
            for sym in self._symbols
        )
        self._closes.append((ts_ms, array("d", chain.from_iterable(made))))

    def of(self, symbol: str, since_ms: int) -> RecentForecasts:
        """Return the latest forecasts of a symbol that were made at ``since_ms`` or later."""
        place = self._places.get(symbol)
        rows: list[tuple[int, float, float]] = []
        if place is not None:
            for ts_ms, values in reversed(self._closes):
                if ts_ms < since_ms or len(rows) == TOLD_MAX:
                    break
                variance = values[2 * place]
                if variance == variance:  # not NaN
                    rows.append((ts_ms, variance, values[2 * place + 1]))
        return RecentForecasts(symbols=len(self._symbols), rows=rows[::-1])
