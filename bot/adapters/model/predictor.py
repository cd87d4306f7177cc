"""The ``Predictor`` port: on the compiled kernel (the default), on torch, and from rows computed in bulk.

All three give the same forecast, up to rounding. The kernel does not need torch, so torch is imported only
inside the other two. ``bulk_forecasts`` is the chunked form over a whole history in bounded
memory: ``bot predict``, ``bot evaluate`` and fast backtests use it.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import nan
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from bot.adapters.files.candles import Candles, Funding
from bot.adapters.model.checkpoint import Checkpoint
from bot.domain.errors import BadInput, BadModel, Broken
from bot.domain.horizons import HOUR, Horizons
from bot.domain.market import FORECAST_FIELDS, Forecast, interval_name
from bot.features import matrix
from bot.features.bridge import BridgedBars, bridged
from bot.model.config import OUTPUTS
from bot.ports import Floats, Slots
from bot.settings.models import model_for

if TYPE_CHECKING:
    from bot.model.performer import Performer

T = TypeVar("T", np.float32, np.int64)

PIECE = 4096
"""Bars computed at a time in bulk; this bounds memory and changes no result."""

FORECAST_COLUMNS = HOUR.columns
"""Columns of every ``(T, 6)`` table for 15 and 60 minutes, in the order of ``domain.market.Forecast``."""


class KernelPredictor:
    """Streams on the compiled kernel; no torch. ``state`` is the whole memory, one row per symbol."""

    def __init__(self, checkpoint: Checkpoint, symbols: int) -> None:
        self._kernel = checkpoint.kernel(symbols)
        self._own = own_columns(checkpoint.horizons)
        self.warmup_bars = checkpoint.warmup_bars

    @property
    def state(self) -> NDArray[np.float32]:
        """Everything remembered: copy it for a snapshot, hash it for a digest, write it to restore."""
        return self._kernel.state

    def step(self, rows: Floats, slots: Slots) -> list[Forecast | None]:
        """See ``ports.Predictor.step``."""
        forecasts = _forecasts(self._kernel.step(rows, slots), self._own)
        for slot, forecast in zip(slots.tolist(), forecasts, strict=True):
            if forecast is None:
                self._kernel.reset(slot)
        return forecasts

    def peek(self, rows: Floats, slots: Slots) -> list[Forecast | None]:
        """See ``ports.Predictor.peek``."""
        return _forecasts(self._kernel.peek(rows, slots), self._own)

    def reset(self, slot: int) -> None:
        """Forget one symbol's history."""
        self._kernel.reset(slot)

    def state_bytes(self) -> bytes:
        """See ``ports.Predictor.state_bytes``."""
        return _bytes_of(self.state)

    def load_state(self, blob: bytes) -> None:
        """See ``ports.Predictor.load_state``."""
        self.state[...] = _from_bytes(blob, self.state)


class TorchPredictor:
    """Streams on the torch model, one row at a time so that rows never interact; slower, for comparison."""

    def __init__(self, checkpoint: Checkpoint, symbols: int) -> None:
        self._model = performer(checkpoint)
        self._short_share = checkpoint.horizons.short_share
        self._own = own_columns(checkpoint.horizons)
        self._scale = checkpoint.scale
        self._states = [self._model.start(1) for _ in range(symbols)]
        self.warmup_bars = checkpoint.warmup_bars

    @property
    def state(self) -> NDArray[np.float32]:
        """Everything remembered, ``(symbols, layers, heads, features, d_head + 1)``; a copy."""
        return np.concatenate([state.numpy() for state in self._states])

    def step(self, rows: Floats, slots: Slots) -> list[Forecast | None]:
        """See ``ports.Predictor.step``."""
        return [self._one(row, slot, write=True) for row, slot in zip(rows, slots.tolist(), strict=True)]

    def peek(self, rows: Floats, slots: Slots) -> list[Forecast | None]:
        """See ``ports.Predictor.peek``."""
        return [self._one(row, slot, write=False) for row, slot in zip(rows, slots.tolist(), strict=True)]

    def reset(self, slot: int) -> None:
        """Forget one symbol's history."""
        self._states[slot] = self._model.start(1)

    def state_bytes(self) -> bytes:
        """See ``ports.Predictor.state_bytes``."""
        return _bytes_of(self.state)

    def load_state(self, blob: bytes) -> None:
        """See ``ports.Predictor.load_state``."""
        import torch

        state = _from_bytes(blob, self.state)
        self._states = [torch.tensor(state[slot : slot + 1]) for slot in range(len(state))]

    def _one(self, row: Floats, slot: int, *, write: bool) -> Forecast | None:
        import torch

        from bot.model.performer import forecast

        before = self._states[slot]
        with torch.inference_mode():
            x = torch.from_numpy(self._scale.apply(row)[None])
            raw, state = self._model.step(x, before) if write else (self._model.peek(x, before), before)
            made = forecast(raw, self._short_share)[0].tolist()
            answer = _forecast(made, self._own) if np.isfinite(row).all() else None
        if write:
            self._states[slot] = state if answer is not None else self._model.start(1)
        return answer


class BulkPredictor:
    """Serves forecasts computed in advance, for each symbol in the order of its warm rows.

    ``tables`` has one ``(n, 6)`` table per slot, as ``bulk_forecasts`` makes it, without the cold rows. The
    values of the rows passed to ``step`` are not read; only their number and order count.
    """

    def __init__(self, tables: Sequence[Floats], warmup_bars: int, horizons: Horizons = HOUR) -> None:
        self._tables = tables
        self._own = own_columns(horizons)
        self._next: list[Iterator[list[float]]] = [_in_blocks(table) for table in tables]
        self._taken = [0] * len(tables)
        self.warmup_bars = warmup_bars

    def step(self, rows: Floats, slots: Slots) -> list[Forecast | None]:
        """See ``ports.Predictor.step``.

        Raises:
            Broken: more rows than were computed.
        """
        out: list[Forecast | None] = []
        for slot in slots.tolist():
            row = next(self._next[slot], None)
            if row is None:
                raise Broken(f"slot {slot} has no forecast left: it was computed for fewer bars")
            self._taken[slot] += 1
            out.append(_forecast(row, self._own))
        return out

    def peek(self, rows: Floats, slots: Slots) -> list[Forecast | None]:
        """Open candles were not computed: None for each."""
        return [None] * len(slots)

    def reset(self, slot: int) -> None:
        """Nothing to do: the table was computed with the gaps in it."""

    def state_bytes(self) -> bytes:
        """Return how many rows of each table were served; the tables themselves are not in it."""
        return _bytes_of(np.array(self._taken, np.int64))

    def load_state(self, blob: bytes) -> None:
        """See ``ports.Predictor.load_state``."""
        self._taken = _from_bytes(blob, np.array(self._taken, np.int64)).tolist()
        taken = zip(self._tables, self._taken, strict=True)
        self._next = [_in_blocks(table[first:]) for table, first in taken]


def bridged_candles(checkpoint: Checkpoint, candles: Candles, funding: Funding | None) -> BridgedBars:
    """The bars of a candle file as the model sees them: holes filled that its bridge allows.

    Raises:
        BadModel: the bars have another interval than the model's.
    """
    if candles.interval_ms != checkpoint.interval_ms:
        raise BadModel(
            f"{candles.path or candles.symbol}: bars of {interval_name(candles.interval_ms)}, the model was "
            f"trained on {interval_name(checkpoint.interval_ms)}: {model_for(candles.interval_ms)}, or use "
            f"bars of {interval_name(checkpoint.interval_ms)}"
        )
    settled = (np.empty(0, np.int64), np.empty(0)) if funding is None else (funding.start_ms, funding.rate)
    rates = matrix.last_settled(*settled, candles.start_ms + candles.interval_ms)
    return bridged(checkpoint.bridge, candles.start_ms, candles.ohlcv, rates, candles.interval_ms)


def feature_rows(checkpoint: Checkpoint, bars: BridgedBars) -> Floats:
    """Raw feature rows ``(N, F)`` of all bars, filled ones included; NaN while cold."""
    return matrix.compute_at(checkpoint.feature_set, bars.start_ms, bars.ohlcv, bars.funding)


def forecast_table(
    checkpoint: Checkpoint, candles: Candles, funding: Funding | None, *, form: Literal["bulk", "step"]
) -> Floats:
    """Forecasts ``(T, 6)`` of a candle file, NaN where none counts: what ``bot predict`` writes.

    Raises:
        BadModel: the bars have another interval than the model's.
    """
    bars = bridged_candles(checkpoint, candles, funding)
    rows = feature_rows(checkpoint, bars)
    return settled_forecasts(checkpoint, bars.start_ms, rows, bars.withheld, form=form)[bars.real]


def settled_forecasts(
    checkpoint: Checkpoint,
    start_ms: NDArray[np.int64],
    rows: Floats,
    withheld: NDArray[np.bool_],
    *,
    form: Literal["bulk", "step"] = "bulk",
) -> Floats:
    """Forecasts ``(N, 6)`` of feature rows, NaN where an engine gets none.

    That is before ``warmup_bars`` unbroken or bridged bars, and where the bridge has them ``withheld``.
    """
    table = (bulk_forecasts if form == "bulk" else step_forecasts)(checkpoint, start_ms, rows)
    table[withheld | ~settled_rows(start_ms, checkpoint.interval_ms, checkpoint.warmup_bars)] = np.nan
    return table


def bulk_forecasts(checkpoint: Checkpoint, start_ms: NDArray[np.int64], rows: Floats) -> Floats:
    """Forecasts ``(T, 6)`` of feature rows ``(T, F)`` in the chunked form; NaN where a row is not finite.

    The state starts anew at every gap, as a live stream's does. Memory stays bounded whatever T is.
    """
    model = performer(checkpoint)
    x = checkpoint.scale.apply(rows)
    return run_chunked(model, x, complete(rows), start_ms, checkpoint.interval_ms)


def run_chunked(
    model: "Performer", x: NDArray[np.float32], warm: NDArray[np.bool_], start_ms: NDArray[np.int64],
    interval_ms: int, restart_bars: int | None = None,
) -> Floats:  # fmt: skip
    """As ``bulk_forecasts`` on scaled inputs ``x`` (T, F), of which only ``warm`` (T,) rows are read.

    ``restart_bars`` starts the state anew that often as well: what a shorter memory would know.
    """
    import torch

    from bot.model.performer import forecast

    out = np.full((len(x), OUTPUTS), np.nan)
    device = next(model.parameters()).device
    model.eval()
    with torch.inference_mode():
        for stretch in _stretches(start_ms, interval_ms):
            index = stretch[warm[stretch]]
            state = None
            for first in range(0, len(index), restart_bars or PIECE):
                part = index[first : first + (restart_bars or PIECE)]
                batch = torch.from_numpy(x[part])[None].to(device)
                raw, state = model(batch, None if restart_bars else state)
                out[part] = forecast(raw, model.short_share)[0].cpu().numpy()
    return out


def step_forecasts(checkpoint: Checkpoint, start_ms: NDArray[np.int64], rows: Floats) -> Floats:
    """As ``bulk_forecasts``, one bar at a time on the streaming kernel: what a live stream says."""
    kernel = checkpoint.kernel(symbols=1)
    out = np.full((len(rows), OUTPUTS), np.nan)
    warm = complete(rows)
    for stretch in _stretches(start_ms, checkpoint.interval_ms):
        kernel.reset(0)
        index = stretch[warm[stretch]]
        out[index] = kernel.step(rows[index], np.zeros(len(index), np.int64))
    return out


def complete(rows: Floats) -> NDArray[np.bool_]:
    """Which rows ``(T, F)`` are finite in every column, ``(T,)``: the ones a predictor is given."""
    return np.asarray(np.isfinite(rows).all(axis=1), dtype=np.bool_)


def settled_rows(start_ms: NDArray[np.int64], interval_ms: int, warmup_bars: int) -> NDArray[np.bool_]:
    """Bars ``(T,)`` with at least ``warmup_bars`` unbroken bars of their symbol, themselves included.

    Bars that a bridge filled count.
    """
    settled = np.zeros(len(start_ms), np.bool_)
    for stretch in _stretches(start_ms, interval_ms):
        settled[stretch[max(warmup_bars - 1, 0) :]] = True
    return settled


def performer(checkpoint: Checkpoint) -> "Performer":
    """The torch model of a checkpoint, in evaluation mode.

    Raises:
        BadModel: weights that are not the config's.
    """
    import torch

    from bot.model.performer import Performer

    model = Performer(checkpoint.config)
    try:
        # a copy: safetensors hands out read-only memory
        model.load_state_dict({name: torch.tensor(value) for name, value in checkpoint.weights.items()})
    except RuntimeError as error:
        raise BadModel(f"weights do not fit the config: {' '.join(str(error).split())}") from error
    return model.eval()


def _stretches(start_ms: NDArray[np.int64], interval_ms: int) -> list[NDArray[np.int64]]:
    """Row numbers of each gap-free stretch."""
    edges = [0, *(np.flatnonzero(np.diff(start_ms) != interval_ms) + 1).tolist(), len(start_ms)]
    return [np.arange(first, last) for first, last in pairwise(edges)]


def _bytes_of(state: NDArray[T]) -> bytes:
    return state.astype(state.dtype.newbyteorder("<")).tobytes()


def _from_bytes(blob: bytes, like: NDArray[T]) -> NDArray[T]:
    """Read ``_bytes_of`` into a new array of the shape and type of ``like``.

    Raises:
        BadInput: the size does not fit.
    """
    if len(blob) != like.nbytes:
        raise BadInput(f"model state has {len(blob)} bytes, not {like.nbytes}: it is of another model")
    read = np.frombuffer(blob, like.dtype.newbyteorder("<"))
    return read.astype(like.dtype).reshape(like.shape)


def _in_blocks(table: Floats, size: int = 8192) -> Iterator[list[float]]:
    for first in range(0, len(table), size):
        yield from table[first : first + size].tolist()


def _forecasts(table: Floats, own: tuple[str, ...]) -> list[Forecast | None]:
    return [_forecast(row, own) for row in table.tolist()]


def _forecast(row: list[float], own: tuple[str, ...]) -> Forecast | None:
    """None unless every value is finite: a NaN or infinity makes the sum of products with 0 a NaN."""
    return None if sum(value * 0.0 for value in row) != 0.0 else forecast_of(row, own)


def own_columns(horizons: Horizons) -> tuple[str, ...]:
    """Return the columns of a model with horizons of its own; nothing for 15 and 60 minutes."""
    return () if horizons == HOUR else horizons.columns


def forecast_of(row: Sequence[float], own: tuple[str, ...]) -> Forecast:
    """Return a forecast of the six values of a model; ``own``: their names, if its horizons are its own."""
    if not own:
        return Forecast.of(row)
    told = dict(zip(own, row, strict=True))
    fields = dict.fromkeys(FORECAST_FIELDS, nan)
    fields |= {name: told[name] for name in FORECAST_FIELDS if name in told}
    if "rv_60m" not in told:
        fields["rv_log_sd"] = nan  # it is of another variance
    return Forecast.of(fields.values(), tuple(told.items()))
