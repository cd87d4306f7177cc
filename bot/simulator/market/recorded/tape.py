"""The candles and funding rates of a recording, with those of a candle file before and between them."""

import numpy as np

from bot.domain.market import Instrument
from bot.simulator.market.candle_trades import PartialCandle
from bot.simulator.market.tape import FileTape, Floats, Ints, TapeRows


class RecordedTape:
    """A ``MarketTape`` that grows while the recording is played.

    Args:
        interval_ms: of its candles.
        first_ms, last_ms: of the recording.
        before: candles of the same length; a candle that was recorded comes before one of the file.
    """

    def __init__(
        self,
        instrument: Instrument,
        interval_ms: int,
        first_ms: int,
        last_ms: int,
        before: FileTape | None = None,
    ) -> None:
        self.symbol = instrument.symbol
        self.instrument = instrument
        self.interval_ms = interval_ms
        began_ms = first_ms - first_ms % interval_ms
        self.first_ms = began_ms if before is None else min(before.first_ms, began_ms)
        self.end_ms = last_ms + 1
        self._before = before
        self._candles: dict[int, PartialCandle] = {}
        self._rows: TapeRows | None = None
        self._rates: dict[int, float] = {}

    def add(self, candle: PartialCandle) -> None:
        """Take a closed candle; the first of two with one start counts, as at Bybit."""
        if candle.start_ms not in self._candles:
            self._candles[candle.start_ms] = candle
            self._rows = None

    def closed(self, start_ms: int) -> PartialCandle | None:
        """Return the recorded candle that opens at ``start_ms``; None if it is not closed or was missed."""
        return self._candles.get(start_ms)

    def rows(self, from_ms: int, to_ms: int) -> TapeRows:
        """Candles that open in ``[from_ms, to_ms)``; some may be missing."""
        own = self._between(from_ms, to_ms)
        if self._before is None:
            return own
        file = self._before.rows(from_ms, to_ms)
        kept = ~np.isin(file.start_ms, own.start_ms)
        start_ms: Ints = np.concatenate((file.start_ms[kept], own.start_ms))
        ohlcv: Floats = np.concatenate((file.ohlcv[kept], own.ohlcv))
        turnover: Floats = np.concatenate((file.turnover[kept], own.turnover))
        order = np.argsort(start_ms)
        return TapeRows(start_ms[order], ohlcv[order], turnover[order])

    def _between(self, from_ms: int, to_ms: int) -> TapeRows:
        if self._rows is None:
            found = [self._candles[start_ms] for start_ms in sorted(self._candles)]
            self._rows = TapeRows(
                np.array([each.start_ms for each in found], dtype=np.int64),
                np.array([each[1:6] for each in found], dtype=np.float64).reshape(-1, 5),
                np.array([each.turnover for each in found], dtype=np.float64),
            )
        first, last = self._rows.start_ms.searchsorted([from_ms, to_ms])
        part = slice(int(first), int(last))
        return TapeRows(self._rows.start_ms[part], self._rows.ohlcv[part], self._rows.turnover[part])

    def note_rate(self, settles_ms: int, rate: float) -> None:
        """Note the rate that was announced for a settlement; the latest before it is the one settled."""
        self._rates[settles_ms] = rate

    def rate(self, ts_ms: int) -> float:
        """Return the rate settled at ``ts_ms``: recorded, else the candle file's funding, else 0."""
        if ts_ms in self._rates:
            return self._rates[ts_ms]
        return 0.0 if self._before is None else self._before.rate(ts_ms)
