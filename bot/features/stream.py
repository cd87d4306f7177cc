"""Feature rows as bars close: ``push`` one bar for each of some symbols, get one row for each.

The whole state is three flat arrays (``state``, ``ages``, ``clock``) with one row or column per symbol slot.
So a snapshot is a copy and a digest is a hash of bytes. A row does not depend on the other rows of the call.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bot.domain.errors import BadInput, Broken
from bot.domain.words import utc_words
from bot.features import vm
from bot.features.spec import FeatureSet
from bot.features.vm import Floats, Ints

T = TypeVar("T", np.float64, np.int64)

_REASONS = {
    vm.NOT_NEWER: "is not newer than the last bar of its slot",
    vm.TWICE: "names a slot that is already in this call",
    vm.BAD_BAR: "is not a candle (prices > 0, low <= open, close <= high, volume >= 0)",
    vm.NO_SLOT: "names a slot that does not exist",
}


class FeatureStream:
    """The streaming form of a feature set, for a fixed number of symbols."""

    def __init__(self, feature_set: FeatureSet, symbols: int) -> None:
        program = feature_set.program
        self.feature_set = feature_set
        # ``full`` writes the memory now. After ``zeros``, the first bar of 600 symbols took 0.6 s.
        self.state: Floats = np.full((symbols, program.state_size), 0.0)
        self.ages: Ints = np.zeros((symbols, program.lanes), np.int64)
        self.clock: Ints = np.zeros((2, symbols), np.int64)
        self.clock[0] = vm.NEVER
        self._definition = (program.table, program.pars, program.rings, program.lane_ends, program.columns)

    def push(self, slots: Ints, bars: Floats, start_ms: Ints, funding: Floats) -> Floats:
        """Take one closed bar for each of ``slots`` and return its feature row.

        Args: ``slots`` (n,), distinct; ``bars`` (n, 5) open, high, low, close, volume; for a joined set (n,
            10), with the second symbol's bar of the same close (NaN if it has none); ``start_ms`` (n,);
            ``funding`` (n,), the last rate settled before the close (T < close_ms), NaN if none is known.
        Returns: (n, F), NaN in columns that are not warm. If a bar does not follow the last bar of its slot,
            the slot is reset first (``gap_resets`` counts this).

        Raises:
            Broken: a bar is not newer than its slot's last bar, repeats a slot, or is not a candle. Nothing
                changed then.
        """
        return self._advance(slots, bars, start_ms, funding, commit=True)

    def peek(self, slots: Ints, bars: Floats, start_ms: Ints, funding: Floats) -> Floats:
        """Return what ``push`` would return for open candles. Changes nothing."""
        return self._advance(slots, bars, start_ms, funding, commit=False)

    def replay(self, slot: int, bars: Floats, start_ms: Ints, funding: Floats) -> Floats:
        """Push consecutive bars of one slot in one call. Bit-equal to pushing them one by one."""
        slots = np.full(len(start_ms), slot, np.int64)
        return self._advance(slots, bars, start_ms, funding, commit=True, replay=True)

    def reset(self, slot: int) -> None:
        """Forget the windows of one slot, after a gap. Bars older than its last bar are still refused."""
        self.state[slot] = 0.0
        self.ages[slot] = 0

    def bars_since_reset(self, slot: int) -> int:
        """Return the bars pushed since the start or the last gap.

        From ``feature_set.warmup`` on the slot is warm.
        """
        return int(self.ages[slot, 0])

    @property
    def gap_resets(self) -> Ints:
        """How often a gap in time has reset each slot, (symbols,)."""
        return np.array(self.clock[1])

    def state_bytes(self) -> bytes:
        """Return the whole state as little-endian bytes.

        The definition is not in it; store its hash beside it.
        """
        little = (array.astype(array.dtype.newbyteorder("<"), copy=False) for array in self._arrays())
        return b"".join(np.ascontiguousarray(array).data for array in little)

    def load_state(self, blob: bytes) -> None:
        """Load bytes from ``state_bytes`` of an equal feature set with the same number of symbols.

        Raises:
            BadInput: the size does not fit.
        """
        if len(blob) != sum(array.nbytes for array in self._arrays()):
            raise BadInput(
                f"feature state has {len(blob)} bytes, not {sum(a.nbytes for a in self._arrays())}"
            )
        offset = 0
        for array in self._arrays():
            flat = np.frombuffer(blob, array.dtype.newbyteorder("<"), array.size, offset)
            array[...] = flat.reshape(array.shape)
            offset += array.nbytes

    def _arrays(self) -> tuple[Floats, Ints, Ints]:
        return self.state, self.ages, self.clock

    def _advance(
        self,
        slots: Ints,
        bars: Floats,
        start_ms: Ints,
        funding: Floats,
        *,
        commit: bool,
        replay: bool = False,
    ) -> Floats:
        slots, start_ms = _plain(slots, np.int64), _plain(start_ms, np.int64)
        bars, funding = _plain(bars, np.float64), _plain(funding, np.float64)
        n = len(slots)
        if bars.shape != (n, 5 * self.ages.shape[1]) or len(start_ms) != n or len(funding) != n:
            raise Broken(f"{n} slots need bars of shape {(n, 5 * self.ages.shape[1])}, got {bars.shape}")
        rows = np.empty((n, len(self.feature_set.columns)))
        row, reason = vm.advance(
            *self._definition,
            self.state,
            self.ages,
            self.clock,
            slots,
            bars,
            start_ms,
            funding,
            self.feature_set.interval_ms,
            rows,
            commit,
            replay,
        )
        if reason != vm.OK:
            at = utc_words(start_ms[row])
            raise Broken(f"bar {row} of slot {slots[row]} at {at} {_REASONS[reason]}: {bars[row]}")
        return rows


def _plain(values: NDArray[T], dtype: type[T]) -> NDArray[T]:
    """Return a contiguous, writable array: ``advance`` is compiled for this layout only."""
    array = np.ascontiguousarray(values, dtype)
    return array if array.flags.writeable else array.copy()
