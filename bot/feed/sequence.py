"""One symbol's confirmed bars in order: each bar is released once, and none before its turn.

The first confirmation of a bar counts. A bar that comes before its turn waits for the missing ones. A bar
that was released and comes again is compared with the first and counted, never released again.
"""

from collections import deque
from collections.abc import Sequence

import msgspec

from bot.domain.market import Bar

REMEMBERED_BARS = 16
"""Released bars that are kept to compare repeats with."""
AHEAD_BARS = 4096
"""Bars that may wait for missing ones. Beyond that the newest is dropped; REST brings it later."""
MAX_JUMP = 3.0
"""A streamed close above the last one times this, or below the last one divided by this, is not believed
until REST shows the same close."""


class BarCounts(msgspec.Struct):
    """Bars that came and were not simply the next one, by kind."""

    repeats: int = 0
    """The bar came again with the same numbers."""
    conflicts: int = 0
    """The bar came again with other numbers; the first one was used."""
    late: int = 0
    """The bar is older than all remembered ones."""
    early: int = 0
    """The bar had to wait for missing ones."""
    misaligned: int = 0
    """The bar has another interval, or had not closed when it came."""
    jumps: int = 0
    """The close is too far from the last one."""

    def __add__(self, other: "BarCounts") -> "BarCounts":
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return BarCounts(*(a + b for a, b in pairs))


class BarSequence:
    """Puts the bars of one symbol in order.

    Args:
        symbol: the symbol of the bars.
        interval_ms: length of a bar.
        next_ms: start of the first wanted bar.

    Attributes:
        next_ms: start of the next bar. Every bar before it was released once, or given up.
        counts: bars that were not simply the next one.
    """

    __slots__ = ("_ahead", "_last_close", "_used", "counts", "interval_ms", "next_ms", "symbol")

    def __init__(self, symbol: str, interval_ms: int, next_ms: int) -> None:
        self.symbol = symbol
        self.interval_ms = interval_ms
        self.next_ms = next_ms
        self.counts = BarCounts()
        self._ahead: dict[int, Bar] = {}
        self._used: deque[Bar] = deque(maxlen=REMEMBERED_BARS)
        self._last_close: float | None = None

    @property
    def waiting(self) -> int:
        """Number of bars that came before their turn and wait."""
        return len(self._ahead)

    def take(self, bar: Bar, now_ms: int | None = None, *, sure: bool = False) -> Sequence[Bar]:
        """Take a confirmed bar; return the bars whose turn has come, oldest first.

        With ``now_ms`` a bar that closes later than that is refused. A ``sure`` bar (from REST) is believed
        at any price, and replaces a streamed bar that still waits.
        """
        if bar.interval_ms != self.interval_ms or (now_ms is not None and bar.close_ms > now_ms):
            self.counts.misaligned += 1
            return ()
        if bar.start_ms < self.next_ms:
            self._compare(bar, self._find(bar.start_ms))
            return ()
        waiting = self._ahead.get(bar.start_ms)
        if waiting is not None:
            self._compare(bar, waiting)
            if not sure:
                return ()
        if not sure and self._jumps(bar):
            self.counts.jumps += 1
            return ()
        if bar.start_ms > self.next_ms:
            self._wait(bar, known=waiting is not None)
            return ()
        return self._release(bar)

    def take_all(self, bars: Sequence[Bar]) -> Sequence[Bar]:
        """Take many ``sure`` bars, oldest first. Like ``take`` for each, but faster if they simply follow."""
        step, first_ms = self.interval_ms, self.next_ms
        expected = range(first_ms, first_ms + len(bars) * step, step)
        run = not self._ahead and all(
            bar.start_ms == start_ms and bar.interval_ms == step
            for bar, start_ms in zip(bars, expected, strict=True)
        )
        if not run:
            return [released for bar in bars for released in self.take(bar, sure=True)]
        if bars:
            self.next_ms = expected.stop
            self._used.extend(bars[-REMEMBERED_BARS:])
            self._last_close = bars[-1].close
        return bars

    def missing(self, before_ms: int) -> tuple[int, int] | None:
        """Return the starts ``[from, to)`` of the first missing bars before ``before_ms``, None if none."""
        to_ms = min(min(self._ahead, default=before_ms), before_ms)
        return (self.next_ms, to_ms) if to_ms > self.next_ms else None

    def skip_to(self, start_ms: int) -> Sequence[Bar]:
        """Give up the bars missing before ``start_ms``; return the bars whose turn has come."""
        if start_ms <= self.next_ms:
            return ()
        self._ahead = {ms: bar for ms, bar in self._ahead.items() if ms >= start_ms}
        self.next_ms = start_ms
        self._last_close = None
        first = self._ahead.pop(start_ms, None)
        return () if first is None else self._release(first)

    def used(self, start_ms: int) -> Bar | None:
        """Return the bar released for ``start_ms``, if it is still remembered."""
        return self._find(start_ms)

    def _release(self, bar: Bar) -> list[Bar]:
        released = [bar]
        self.next_ms += self.interval_ms
        ahead = self._ahead
        while ahead and (following := ahead.pop(self.next_ms, None)) is not None:
            released.append(following)
            self.next_ms += self.interval_ms
        self._used.extend(released)
        self._last_close = released[-1].close
        return released

    def _wait(self, bar: Bar, *, known: bool) -> None:
        if known or len(self._ahead) < AHEAD_BARS:
            self._ahead[bar.start_ms] = bar
            self.counts.early += not known

    def _compare(self, bar: Bar, first: Bar | None) -> None:
        if first is None:
            self.counts.late += 1
        elif _prices(first) == _prices(bar):
            self.counts.repeats += 1
        else:
            self.counts.conflicts += 1

    def _find(self, start_ms: int) -> Bar | None:
        return next((bar for bar in self._used if bar.start_ms == start_ms), None)

    def _jumps(self, bar: Bar) -> bool:
        """True if the close is too far from the last released close to be believed."""
        if self._last_close is None:
            return False
        ratio = bar.close / self._last_close
        return not 1.0 / MAX_JUMP <= ratio <= MAX_JUMP


def _prices(bar: Bar) -> tuple[float, ...]:
    """Prices and volume; no turnover, because not every source sends it."""
    return bar.open, bar.high, bar.low, bar.close, bar.volume
