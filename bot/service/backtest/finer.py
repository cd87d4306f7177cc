"""Finer candles by the start of their bar: what ``--detail`` and ``--mark`` give to the exchange."""

from collections.abc import Iterator, Mapping, Sequence

from bot.adapters.files.candles import Candles
from bot.domain.market import Bar


class FinerBars(Mapping[int, Sequence[Bar]]):
    """Maps the start of a bar of ``interval_ms`` to the finer candles inside it, built on request.

    A bar whose finer candles are incomplete is not in the mapping.
    """

    def __init__(self, finer: Candles, interval_ms: int) -> None:
        self._finer = finer
        self._interval_ms = interval_ms

    def __getitem__(self, start_ms: int) -> Sequence[Bar]:
        """The finer bars of one bar, oldest first."""
        starts = self._finer.start_ms
        first, last = starts.searchsorted([start_ms, start_ms + self._interval_ms]).tolist()
        if last - first != self._interval_ms // self._finer.interval_ms:
            raise KeyError(start_ms)
        return tuple(self._finer.bars(first, last))

    def __iter__(self) -> Iterator[int]:
        """Starts of the bars that are covered."""
        starts = self._finer.start_ms
        for start_ms in starts[starts % self._interval_ms == 0].tolist():
            if start_ms in self:
                yield start_ms

    def __len__(self) -> int:
        """How many bars are covered."""
        return sum(1 for _ in self)


class MarkBars(Mapping[int, Bar]):
    """Mark-price candles of the same interval, by ``start_ms``."""

    def __init__(self, marks: Candles) -> None:
        self._marks = marks

    def __getitem__(self, start_ms: int) -> Bar:
        """The mark candle that opens at ``start_ms``."""
        index = int(self._marks.start_ms.searchsorted(start_ms))
        if index == len(self._marks) or int(self._marks.start_ms[index]) != start_ms:
            raise KeyError(start_ms)
        return next(self._marks.bars(index, index + 1))

    def __iter__(self) -> Iterator[int]:
        """Starts, oldest first."""
        return iter(self._marks.start_ms.tolist())

    def __len__(self) -> int:
        """How many there are."""
        return len(self._marks)
