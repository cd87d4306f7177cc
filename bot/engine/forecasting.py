"""From the bars of one close to forecasts: update features, run one batched model step, enforce warm-up."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from bot.domain.errors import BadInput
from bot.domain.market import Bar, Forecast
from bot.domain.messages import ModelSwapped
from bot.domain.snapshots import Real, to_real
from bot.engine.drift import DriftRecord, DriftWatch
from bot.features.bridge import NO_BRIDGE, Bridge, filled
from bot.ports import Floats, Predictor

if TYPE_CHECKING:  # a run without a model does not load the compiler behind the features
    from bot.features.stream import FeatureStream


_BY_SYMBOL = (
    "bars_seen",
    "next_start_ms",
    "last_close",
    "last_volume",
    "last_funding",
    "owed_until_ms",
    "withheld_until_ms",
)
"""Fields of the record with one value a symbol."""


class ForecasterRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a ``Forecaster`` remembers; numeric state is raw little-endian bytes."""

    symbols: tuple[str, ...]
    features_hash: str
    """Of the feature set. The model is an argument of the engine; its state's size is checked."""
    bars_seen: tuple[int, ...]
    next_start_ms: tuple[int, ...]
    last_close: tuple[Real, ...]
    last_volume: tuple[Real, ...]
    last_funding: tuple[Real, ...]
    owed_until_ms: tuple[int, ...]
    withheld_until_ms: tuple[int, ...]
    features: bytes
    predictor: bytes
    drift: DriftRecord | None = None

    def digest(self) -> str:
        """Return the sha256 of it all."""
        told = msgspec.structs.replace(self, features=b"", predictor=b"")
        digest = hashlib.sha256(msgspec.json.encode(told))
        digest.update(self.features)
        digest.update(self.predictor)
        return digest.hexdigest()


@dataclass(frozen=True)
class Successor:
    """A model that may take the place of the one that forecasts: it reads the same features of the same bars.

    ``predictor`` is fresh and serves the same symbols. The others are as in ``Forecaster``.
    """

    model: str
    features_hash: str
    predictor: Predictor
    bridge: Bridge
    drift: DriftWatch | None = None


class Forecaster:
    """The features and the model of all symbols that trade one interval.

    A forecast is given only after ``warmup_bars`` contiguous bars of a symbol. A hole that ``bridge`` allows
    is filled when the next bar comes, and forecasts are withheld for the bars that ``bridge`` says; any other
    hole restarts the count. A symbol's forecast never depends on which other symbols closed with it.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        features: "FeatureStream",
        predictor: Predictor,
        bridge: Bridge = NO_BRIDGE,
        *,
        model: str = "",
        drift: DriftWatch | None = None,
    ) -> None:
        self.model = model
        """Hash of the model: forecasts and orders carry it. Empty where the caller names none."""
        self.drift = drift
        """Measures whether the market still looks like the training data; None: nobody asks."""
        self._slot = {symbol: slot for slot, symbol in enumerate(symbols)}
        self._features = features
        self._predictor = predictor
        self._warmup_bars = predictor.warmup_bars
        self._bars_seen = [0] * len(symbols)
        self._next_start_ms = [0] * len(symbols)
        self._bridge = bridge
        self._last_close = [0.0] * len(symbols)  # 0: no bar yet
        self._last_volume = [0.0] * len(symbols)
        self._last_funding = [0.0] * len(symbols)
        self._owed_until_ms = [0] * len(symbols)
        self._withheld_until_ms = [0] * len(symbols)

    def rehearse(self) -> None:
        """Run features and model once on made-up input; changes nothing.

        This compiles them before the first close: it takes ten seconds, once on each machine.
        """
        slot, bar = np.zeros(1, np.int64), np.ones((1, 5))
        self._features.peek(slot, bar, np.zeros(1, np.int64), np.zeros(1))
        self._predictor.peek(np.zeros((1, len(self._features.feature_set.names))), slot)

    def step(self, bars: Sequence[Bar], funding_rates: Sequence[float]) -> list[Forecast | None]:
        """Take one close; return a forecast a bar, None if it is withheld.

        That is: its symbol is cold, its row is not finite, or a hole was bridged too few bars ago.
        """
        slots = np.array([self._slot[bar.symbol] for bar in bars], dtype=np.int64)
        for slot, bar, funding_rate in zip(slots.tolist(), bars, funding_rates, strict=True):
            if bar.start_ms != self._next_start_ms[slot]:
                self._cross_hole(slot, bar)
            self._follow(slot, bar, funding_rate)
        rows = self._features.push(slots, *_columns(bars, funding_rates))
        forecasts = self._forecast(slots, bars, rows)
        if self.drift is not None:
            self.drift.take(slots.tolist(), bars, rows, forecasts)
        return forecasts

    def _forecast(self, slots: NDArray[np.int64], bars: Sequence[Bar], rows: Floats) -> list[Forecast | None]:
        warm = np.isfinite(rows).all(axis=1)
        if warm.all():  # nearly every close
            stepped = self._predictor.step(rows, slots)
            return list(map(self._if_due, slots.tolist(), bars, stepped))
        forecasts: list[Forecast | None] = [None] * len(bars)
        ready = np.flatnonzero(warm)
        if len(ready):
            stepped = self._predictor.step(rows[ready], slots[ready])
            for index, forecast in zip(ready.tolist(), stepped, strict=True):
                forecasts[index] = self._if_due(int(slots[index]), bars[index], forecast)
        return forecasts

    def peek(self, bars: Sequence[Bar], funding_rates: Sequence[float]) -> list[Forecast | None]:
        """Return forecasts for open bars as if they closed now; changes nothing.

        None for a bar that does not follow the symbol's last closed bar: a hole is filled at a close only.
        """
        forecasts: list[Forecast | None] = [None] * len(bars)
        chosen = [index for index, bar in enumerate(bars) if self._may_peek(bar)]
        if not chosen:
            return forecasts
        slots = np.array([self._slot[bars[index].symbol] for index in chosen], dtype=np.int64)
        columns = _columns([bars[index] for index in chosen], [funding_rates[index] for index in chosen])
        rows = self._features.peek(slots, *columns)
        ready = np.flatnonzero(np.isfinite(rows).all(axis=1))
        if len(ready):
            peeked = self._predictor.peek(rows[ready], slots[ready])
            for index, forecast in zip(ready.tolist(), peeked, strict=True):
                forecasts[chosen[index]] = forecast
        return forecasts

    def is_warm(self, symbol: str) -> bool:
        """Return True if the symbol has seen its warm-up bars."""
        return self._bars_seen[self._slot[symbol]] >= self._warmup_bars

    @property
    def features_hash(self) -> str:
        """Hash of the feature set."""
        return self._features.feature_set.hash

    @property
    def next_start_ms(self) -> tuple[int, ...]:
        """For each symbol, the open time of the bar that comes next; 0 if it has seen none."""
        return tuple(self._next_start_ms)

    def is_as_warm_as(self, other: "Forecaster") -> bool:
        """Return True if a swap from ``other``, which has the same symbols, takes no forecast away."""
        return all(self.is_warm(symbol) or not other.is_warm(symbol) for symbol in self._slot)

    def succeed(self, successor: Successor, swap: ModelSwapped) -> None:
        """Go on with another model, whose memory of the same bars is in ``swap``. The features stay.

        The drift of the new model is measured anew; what is known of the market itself is kept.

        Raises:
            BadInput: it reads other features, or its memory is not of these bars; nothing has changed then.
        """
        if successor.features_hash != self.features_hash:
            raise BadInput(f"model {successor.model[:12]} reads other features than {self.model[:12]}")
        if swap.next_start_ms != self.next_start_ms:
            raise BadInput(f"model {successor.model[:12]} has not seen the same bars as {self.model[:12]}")
        successor.predictor.load_state(swap.state)
        if successor.drift is not None and self.drift is not None:
            successor.drift.follow(self.drift)
        self.model, self.drift = successor.model, successor.drift
        if not self._bridge.bars:
            self._last_close = [0.0] * len(self._last_close)  # nobody has followed it
        self._predictor, self._bridge = successor.predictor, successor.bridge
        self._warmup_bars = successor.predictor.warmup_bars
        self._bars_seen = list(swap.bars_seen)
        self._owed_until_ms = list(swap.owed_until_ms)
        self._withheld_until_ms = list(swap.withheld_until_ms)

    def swap(self, ts_ms: int, interval_ms: int) -> ModelSwapped:
        """Return the event by which a forecaster of the same symbols goes on with this one's model."""
        return ModelSwapped(
            ts_ms,
            interval_ms,
            self.model,
            next_start_ms=self.next_start_ms,
            bars_seen=tuple(self._bars_seen),
            owed_until_ms=tuple(self._owed_until_ms),
            withheld_until_ms=tuple(self._withheld_until_ms),
            state=self._predictor.state_bytes(),
        )

    @property
    def row_by_row(self) -> tuple[str, ...]:
        """Models of the user's own that could not predict a history in one call."""
        return getattr(self._predictor, "row_by_row", ())

    # What survives the process

    def record(self) -> "ForecasterRecord":
        """Return everything that later forecasts depend on, beside model and feature set."""
        return ForecasterRecord(
            symbols=tuple(self._slot),
            features_hash=self._features.feature_set.hash,
            bars_seen=tuple(self._bars_seen),
            next_start_ms=tuple(self._next_start_ms),
            last_close=tuple(map(to_real, self._last_close)),
            last_volume=tuple(map(to_real, self._last_volume)),
            last_funding=tuple(map(to_real, self._last_funding)),
            owed_until_ms=tuple(self._owed_until_ms),
            withheld_until_ms=tuple(self._withheld_until_ms),
            features=self._features.state_bytes(),
            predictor=self._predictor.state_bytes(),
            drift=None if self.drift is None else self.drift.record(),
        )

    def restore(self, record: "ForecasterRecord") -> None:
        """Go on from ``record``: later forecasts are equal to the bit.

        Raises:
            BadInput: the record is of other symbols, another feature set or another model.
        """
        if record.symbols != tuple(self._slot):
            raise BadInput(f"forecasts were of {', '.join(record.symbols)}, not of {', '.join(self._slot)}")
        if record.features_hash != self._features.feature_set.hash:
            raise BadInput(f"forecasts were of another feature set ({record.features_hash[:12]})")
        values = (getattr(record, name) for name in _BY_SYMBOL)
        if any(len(each) != len(self._slot) for each in values):
            raise BadInput("forecasts: there must be one value of each kind for each symbol")
        self._features.load_state(record.features)
        self._predictor.load_state(record.predictor)
        if self.drift is not None:
            self.drift.restore(record.drift)
        self._bars_seen = list(record.bars_seen)
        self._next_start_ms = list(record.next_start_ms)
        self._last_close = list(map(float, record.last_close))
        self._last_volume = list(map(float, record.last_volume))
        self._last_funding = list(map(float, record.last_funding))
        self._owed_until_ms = list(record.owed_until_ms)
        self._withheld_until_ms = list(record.withheld_until_ms)

    def _may_peek(self, bar: Bar) -> bool:
        slot = self._slot[bar.symbol]
        return bar.start_ms == self._next_start_ms[slot] and self._is_due(slot, bar)

    def _is_due(self, slot: int, bar: Bar) -> bool:
        return self._bars_seen[slot] >= self._warmup_bars and bar.start_ms >= self._withheld_until_ms[slot]

    def _cross_hole(self, slot: int, bar: Bar) -> None:
        """Fill the hole before ``bar``, or forget the symbol if the bridge does not reach."""
        hole_bars = (bar.start_ms - self._next_start_ms[slot]) // bar.interval_ms
        owed_bars = max(0, self._owed_until_ms[slot] - bar.start_ms) // bar.interval_ms
        owed = self._bridge.cross(hole_bars, owed_bars)
        if owed is None or not self._last_close[slot]:
            self._predictor.reset(slot)
            self._bars_seen[slot] = self._owed_until_ms[slot] = self._withheld_until_ms[slot] = 0
            return
        self._owed_until_ms[slot] = bar.start_ms + owed * bar.interval_ms
        withheld_until_ms = bar.start_ms + self._bridge.withheld_bars(owed) * bar.interval_ms
        self._withheld_until_ms[slot] = max(self._withheld_until_ms[slot], withheld_until_ms)
        self._fill(slot, bar, hole_bars)

    def _fill(self, slot: int, bar: Bar, hole_bars: int) -> None:
        slots, funding = np.array([slot], np.int64), np.array([self._last_funding[slot]])
        missing = filled(self._last_close[slot], self._last_volume[slot], bar.open, hole_bars)
        for index, ohlcv in enumerate(missing):
            start_ms = np.array([self._next_start_ms[slot] + index * bar.interval_ms], np.int64)
            row = self._features.push(slots, ohlcv[None], start_ms, funding)
            self._bars_seen[slot] += 1
            if np.isfinite(row).all() and self._predictor.step(row, slots)[0] is None:
                self._bars_seen[slot] = 0

    def _follow(self, slot: int, bar: Bar, funding_rate: float) -> None:
        self._bars_seen[slot] += 1
        self._next_start_ms[slot] = bar.start_ms + bar.interval_ms
        if self._bridge.bars:
            self._last_close[slot], self._last_volume[slot] = bar.close, bar.volume
            self._last_funding[slot] = funding_rate

    def _if_due(self, slot: int, bar: Bar, forecast: Forecast | None) -> Forecast | None:
        if forecast is None:  # not finite: the predictor has reset this symbol, so the count restarts too
            self._bars_seen[slot] = 0
            return None
        return forecast if self._is_due(slot, bar) else None


def _columns(
    bars: Sequence[Bar], funding_rates: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ohlcv = np.array([(b.open, b.high, b.low, b.close, b.volume) for b in bars], dtype=np.float64)
    starts = np.array([b.start_ms for b in bars], dtype=np.int64)
    return ohlcv, starts, np.array(funding_rates, dtype=np.float64)
