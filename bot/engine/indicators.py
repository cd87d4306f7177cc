"""The indicators of one symbol's strategy: from the bars of its closes to ``view.ind``.

One definition, two sources of rows: ``Streamed`` computes each row as its bar closes, ``Computed`` holds the
rows of a whole history, made by the same machine code and so equal to the bit. Functions of one's own
(``Past``) run at each close in both.
"""

import hashlib
from collections import deque
from collections.abc import Sequence
from math import isfinite, nan
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bot.domain.errors import BadInput, BadUsage, Broken
from bot.domain.market import Bar
from bot.domain.snapshots import Real
from bot.engine.snapshot import IndicatorRecord
from bot.features.fitted import Fitted
from bot.features.indicators import Past
from bot.features.matrix import last_settled
from bot.features.ops import Op
from bot.features.program import lane_of
from bot.features.spec import FeatureSet
from bot.features.stream import FeatureStream
from bot.strategy.indicators import Values, indicators_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def rates_at(close_ms: Ints, funding_ms: Ints | None = None, rates: Floats | None = None) -> Floats:
    """Return the funding rate that the engine knows at each close: the last one settled before, else 0."""
    if funding_ms is None or rates is None:
        return np.zeros(len(close_ms))
    return np.nan_to_num(last_settled(funding_ms, rates, close_ms), nan=0.0)


class Rows(Protocol):
    """Where the rows of operators come from."""

    def take(self, bar: Bar, funding_rate: float) -> list[float]:
        """Take the next closed bar; return the value of each column, NaN while it is unknown."""

    def state_bytes(self) -> bytes:
        """Return everything that later rows depend on."""

    def load_state(self, blob: bytes) -> None:
        """Go on from ``state_bytes``.

        Raises:
            BadInput: the size does not fit.
        """


class Streamed:
    """Rows as bars close."""

    def __init__(self, feature_set: FeatureSet) -> None:
        self._stream = FeatureStream(feature_set, 1)
        self._slot = np.zeros(1, np.int64)
        self.state_bytes = self._stream.state_bytes
        self.load_state = self._stream.load_state

    def take(self, bar: Bar, funding_rate: float) -> list[float]:
        """See ``Rows.take``."""
        ohlcv = np.array([[bar.open, bar.high, bar.low, bar.close, bar.volume]])
        row = self._stream.push(self._slot, ohlcv, np.array([bar.start_ms]), np.array([funding_rate]))
        values: list[float] = row[0].tolist()
        return values


class Computed:
    """Rows of a history, computed at once when its first bar is taken: from that bar to the end."""

    def __init__(self, feature_set: FeatureSet, start_ms: Ints, ohlcv: Floats, funding: Floats) -> None:
        self._set, self._history = feature_set, (start_ms, ohlcv, funding)
        self._start_ms = start_ms
        self._rows: Floats | None = None
        self._next = 0
        self._first = 0
        self._block: list[list[float]] = []
        self._block_from = 0
        self._predicted: dict[int, Floats | None] = {}

    def predicted(self, place: int, model: Fitted, columns: Sequence[int]) -> float | None:
        """Return what a fitted model says of the bar taken last; None if it must be asked itself.

        The first call makes the predictions of the whole history. ``place``: of the model among all.
        """
        if place not in self._predicted:
            assert self._rows is not None, "no bar was taken"
            self._predicted[place] = model.predict_all(self._rows[:, columns])
        made = self._predicted[place]
        return None if made is None else float(made[self._next - 1])

    @property
    def refused(self) -> list[int]:
        """Places of the models that must be asked themselves."""
        return [place for place, made in self._predicted.items() if made is None]

    def take(self, bar: Bar, funding_rate: float) -> list[float]:
        """See ``Rows.take``.

        Raises:
            Broken: the bar is not the next one of the history.
        """
        at = self._next - self._block_from
        if at >= len(self._block):
            self._block_from, at = self._read(bar), 0
        self._next += 1
        return self._block[at]

    def _read(self, bar: Bar) -> int:
        """Turn the next rows into Python's floats; return the place of the first."""
        if self._rows is None:
            self._begin(int(self._start_ms.searchsorted(bar.start_ms)))
        assert self._rows is not None
        if self._next >= len(self._rows) or bar.start_ms != self._start_ms[self._next]:
            raise Broken(f"indicators of {bar.symbol} were not computed for its bar at {bar.start_ms} ms")
        self._block = self._rows[self._next : self._next + _BLOCK].tolist()
        return self._next

    def _begin(self, first: int) -> None:
        start_ms, ohlcv, funding = self._history
        self._start_ms, self._first, self._predicted = start_ms[first:], first, {}
        self._rows = FeatureStream(self._set, 1).replay(0, ohlcv[first:], self._start_ms, funding[first:])

    def state_bytes(self) -> bytes:
        """See ``Rows.state_bytes``."""
        return np.array([self._first, self._next], "<i8").tobytes()

    def load_state(self, blob: bytes) -> None:
        """See ``Rows.load_state``."""
        first, self._next = np.frombuffer(blob, "<i8").tolist()
        self._start_ms = self._history[0]
        self._begin(first)
        self._block, self._block_from = [], self._next


_BLOCK = 1024
"""Rows that are turned into Python's floats at once."""


class Indicators:
    """The indicators of one symbol. A hole in its bars makes all of them unknown again."""

    def __init__(
        self,
        strategy: object,
        interval_ms: int,
        history: tuple[Ints, Floats, Floats] | None = None,
        *,
        at_once: bool = True,
    ) -> None:
        """Stream; or, with ``history`` (start_ms, ohlcv, funding of every bar to come), compute at once.

        ``at_once``: fitted models of the user's own predict the history in one call.

        Raises:
            BadUsage: something declared is no indicator, or reads a second symbol's bars.
        """
        self._at_once = at_once
        self._names: list[str] = []
        self._own: list[_Own] = []
        columns = self._columns(strategy)
        self._set = FeatureSet("indicators", interval_ms, tuple((repr(op), op) for op in columns))
        self.definition = hashlib.sha256(
            repr((self._set.hash, self._names, [each.words for each in self._own])).encode()
        ).hexdigest()
        self._rows: Rows = Streamed(self._set) if history is None else Computed(self._set, *history)
        self._interval_ms = interval_ms
        self._next_start_ms = 0
        self.values = Values.fromkeys([*self._names, *(each.name for each in self._own)], nan)

    def _columns(self, strategy: object) -> list[Op]:
        """Sort what is declared into operators and functions; return the operators that must be computed."""
        named: dict[str, Op] = {}
        pasts: dict[str, Past] = {}
        for name, each in indicators_of(strategy).items():
            if isinstance(each, Past):
                pasts[name] = each
            elif isinstance(each, Op):
                named[name] = each
            else:
                raise BadUsage(
                    f"{type(strategy).__name__}.indicators[{name!r}]: must be made by "
                    f"bot.features.indicators, such as ema(close, 12), was {each!r}"
                )
        self._names = list(named)
        columns = list(named.values())
        for name, each in pasts.items():
            places = range(len(columns), len(columns) + len(each.sources))
            self._own.append(_Own(name, each, tuple(places)))
            columns += each.sources
        if any(lane_of(op) for op in columns):
            raise BadUsage(
                f"{type(strategy).__name__}.indicators: read a second symbol's bars, which a strategy of one "
                "symbol does not have"
            )
        return columns

    def take(self, bar: Bar, funding_rate: float) -> bool:
        """Take the bar that has just closed into ``values``; return whether every operator is known.

        Functions of the user are unknown until ``ask``.
        """
        values, known = self.values, True
        row = self._rows.take(bar, funding_rate)
        for name, value in zip(self._names, row, strict=False):
            if isfinite(value):
                values[name] = value
            else:
                values[name], known = nan, False
        for each in self._own:
            each.take(row, broken=bar.start_ms != self._next_start_ms)
            values[each.name] = nan
        self._next_start_ms = bar.start_ms + self._interval_ms
        return known

    def ask(self) -> bool:
        """Call the functions of the user; return whether all of their values are known.

        Raises:
            Exception: whatever they raise.
        """
        known = True
        for place, each in enumerate(self._own):
            value = self.values[each.name] = self._value(place, each)
            known = known and value == value
        return known

    @property
    def row_by_row(self) -> tuple[str, ...]:
        """Fitted models that could not predict the history in one call."""
        refused = self._rows.refused if isinstance(self._rows, Computed) else ()
        return tuple(repr(self._own[place].past) for place in refused)

    def _value(self, place: int, own: "_Own") -> float:
        """Return the value of one function; of a fitted model, in a history, from one call for all bars."""
        if self._at_once and isinstance(own.past, Fitted) and isinstance(self._rows, Computed):
            found = self._rows.predicted(place, own.past, own.columns)
            if found is not None:
                return found if isfinite(found) else nan
        return own.value()

    def record(self) -> IndicatorRecord:
        """Return everything that later values depend on, beside the definition."""
        return IndicatorRecord(
            definition=self.definition,
            next_start_ms=self._next_start_ms,
            rows=self._rows.state_bytes(),
            windows=tuple(tuple(tuple(each) for each in own.windows) for own in self._own),
        )

    def restore(self, record: IndicatorRecord, symbol: str) -> None:
        """Go on from ``record``: later values are equal to the bit.

        Raises:
            BadInput: the record is of other indicators.
        """
        if record.definition != self.definition:
            raise BadInput(f"the indicators of {symbol} were declared otherwise; declare them as they were")
        self._rows.load_state(record.rows)
        self._next_start_ms = record.next_start_ms
        for own, windows in zip(self._own, record.windows, strict=True):
            own.load(windows)


class _Own:
    """A function of the user's own, and the last values that it reads."""

    def __init__(self, name: str, past: Past, columns: Sequence[int]) -> None:
        self.name, self.past, self.columns = name, past, columns
        self._function, self._n = past.function, past.n
        self.windows: list[deque[float]] = [deque(maxlen=past.n) for _ in columns]
        named = getattr(past.function, "__qualname__", type(past.function).__qualname__)
        self.words = f"{name} {named} {past.n} {len(columns)}"

    def take(self, row: Sequence[float], *, broken: bool) -> None:
        """Take the newest values; forget all earlier ones after a hole or an unknown value."""
        for column, window in zip(self.columns, self.windows, strict=True):
            value = row[column]
            if broken or not isfinite(value):
                window.clear()
            if isfinite(value):
                window.append(value)

    def value(self) -> float:
        """Return the function of the windows; NaN while they are not full, and for what is not finite.

        Raises:
            TypeError: it did not return a number.
        """
        if any(len(window) < self._n for window in self.windows):
            return nan
        found = self._function(*(np.array(window) for window in self.windows))
        try:
            value = float(found)
        except (TypeError, ValueError):
            raise TypeError(f"indicators[{self.name!r}] must return a number, was {found!r}") from None
        return value if isfinite(value) else nan

    def load(self, windows: Sequence[Sequence[Real]]) -> None:
        """Take over the values of a record."""
        self.windows = [deque(map(float, values), self._n) for values in windows]
