"""Sources of prices: candle files shifted to the present, or an endless invented market.

A tape returns closed base candles by exchange time. It is a pure function of its files or its seed and reads
no clock. ``candle_trades`` makes the trades inside a candle.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bot.adapters.files.candles import Candles, Funding
from bot.domain.errors import BadUsage
from bot.domain.market import DAY_MS, HOUR_MS, Bar, Instrument

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WEEK_MS = 7 * DAY_MS
FOREVER_MS = 1 << 60


class TapeRows(NamedTuple):
    """Candles: ``start_ms`` (T,), ``ohlcv`` (T, 5), ``turnover`` (T,), oldest first."""

    start_ms: Ints
    ohlcv: Floats
    turnover: Floats


class MarketTape(Protocol):
    """The base candles of one symbol in exchange time; ``end_ms`` is the close of the last one."""

    symbol: str
    interval_ms: int
    first_ms: int
    end_ms: int
    instrument: Instrument

    def rows(self, from_ms: int, to_ms: int) -> TapeRows:
        """Candles that open in ``[from_ms, to_ms)``; some may be missing."""

    def rate(self, ts_ms: int) -> float:
        """The funding rate settled at ``ts_ms``."""


def bar_of(tape: MarketTape, start_ms: int) -> Bar | None:
    """Return the base candle that opens at ``start_ms``, None if there is none."""
    rows = tape.rows(start_ms, start_ms + 1)
    if not len(rows.start_ms):
        return None
    open_, high, low, close, volume = rows.ohlcv[0].tolist()
    turnover = float(rows.turnover[0])
    return Bar(tape.symbol, tape.interval_ms, start_ms, open_, high, low, close, volume, turnover)


class FileTape:
    """A candle file, and the funding beside it, moved by ``shift_ms`` (a multiple of its interval)."""

    def __init__(
        self, candles: Candles, instrument: Instrument, shift_ms: int = 0, funding: Funding | None = None
    ) -> None:
        self.symbol = candles.symbol
        self.interval_ms = candles.interval_ms
        self.first_ms = candles.first_ms + shift_ms
        self.end_ms = candles.end_ms + shift_ms
        self.instrument = instrument
        self._start_ms = candles.start_ms + shift_ms
        self._ohlcv = candles.ohlcv
        self._turnover = with_turnover(candles.ohlcv, candles.turnover)
        self._funding = funding
        self._shift_ms = shift_ms

    def rows(self, from_ms: int, to_ms: int) -> TapeRows:
        """Candles that open in ``[from_ms, to_ms)``."""
        first, last = self._start_ms.searchsorted([from_ms, to_ms])
        part = slice(int(first), int(last))
        return TapeRows(self._start_ms[part], self._ohlcv[part], self._turnover[part])

    def rate(self, ts_ms: int) -> float:
        """Return the rate settled at ``ts_ms`` by the file, or the last one before; 0 without a file."""
        if self._funding is None:
            return 0.0
        at = int(self._funding.start_ms.searchsorted(ts_ms - self._shift_ms, side="right")) - 1
        return float(self._funding.rate[at]) if at >= 0 else 0.0


def with_turnover(ohlcv: Floats, turnover: Floats) -> Floats:
    """Return the turnover of the source; where it lacks, volume times the mean of the four prices."""
    if not np.isnan(turnover).any():
        return turnover
    guess = np.round(ohlcv[:, 4] * ohlcv[:, :4].mean(axis=1), 4)
    return np.where(np.isnan(turnover), guess, turnover)


def choose_shift(files: Sequence[Candles], now_ms: int, history_ms: int) -> int:
    """Return the shift after which the files contain the present; in whole weeks if possible.

    At least ``history_ms`` (or half of a short file) lies before the present, and as much as possible after
    it. If no whole week fits: whole days, hours, then base candles.

    Raises:
        BadUsage: the files have no moment in common with anything after it.
    """
    step_ms = max(each.interval_ms for each in files)
    first_ms = max(each.first_ms for each in files)
    end_ms = min(each.end_ms for each in files) - step_ms
    if end_ms <= first_ms:
        raise BadUsage("--data: the files have no two candles in common; give files of the same time")
    wanted_ms = first_ms + min(history_ms, (end_ms - first_ms) // 2)
    for unit_ms in (WEEK_MS, DAY_MS, HOUR_MS, step_ms):
        # The earliest moment of the files, at or after ``wanted_ms``, that is whole units from now.
        place_ms = wanted_ms + (now_ms - wanted_ms) % unit_ms
        if place_ms <= end_ms and unit_ms % step_ms == 0:
            return now_ms - place_ms
    return (now_ms - wanted_ms) // step_ms * step_ms


class Loop(NamedTuple):
    """A part of an invented market whose end joins its beginning, in units of one contract's steps.

    ``ticks`` (P, 4): open, high, low, close; ``steps`` (P,): volume; ``rates`` (P × interval / 8 h,).
    """

    ticks: Floats
    steps: Floats
    rates: Floats


class LoopTape:
    """An endless invented market: ``loop`` repeated since ``first_ms``.

    ``offset`` (candles, a multiple of eight hours) lets two symbols share a loop at different places.
    """

    end_ms = FOREVER_MS

    def __init__(
        self, loop: Loop, instrument: Instrument, interval_ms: int, first_ms: int, offset: int = 0
    ) -> None:
        self.symbol = instrument.symbol
        self.interval_ms = interval_ms
        self.first_ms = first_ms
        self.instrument = instrument
        self._loop = loop
        self._offset = offset
        self._price = _factors(instrument.tick_size)
        self._volume = _factors(instrument.qty_step)

    def rows(self, from_ms: int, to_ms: int) -> TapeRows:
        """Candles that open in ``[from_ms, to_ms)``."""
        first = -(-max(from_ms, self.first_ms) // self.interval_ms)
        number = np.arange(first, max(first, -(-to_ms // self.interval_ms)), dtype=np.int64)
        place = (number + self._offset) % len(self._loop.steps)
        numerator, scale = self._price
        ohlcv = np.empty((len(number), 5))
        ohlcv[:, :4] = self._loop.ticks[place] * numerator / scale
        numerator, scale = self._volume
        ohlcv[:, 4] = self._loop.steps[place] * numerator / scale
        turnover = np.round(ohlcv[:, 4] * ohlcv[:, :4].mean(axis=1), 4)
        return TapeRows(number * self.interval_ms, ohlcv, turnover)

    def rate(self, ts_ms: int) -> float:
        """The rate settled then."""
        rates = self._loop.rates
        number = (ts_ms + self._offset * self.interval_ms) // (8 * HOUR_MS)
        return float(rates[number % len(rates)])


def _factors(step: Decimal) -> tuple[float, float]:
    """Return ``(numerator, scale)`` with step = numerator / scale, both exact."""
    normal = step.normalize()
    exponent = normal.as_tuple().exponent
    places = max(0, -exponent) if isinstance(exponent, int) else 0
    return float(normal.scaleb(places)), 10.0**places
