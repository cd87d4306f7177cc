"""The order of confirmed bars: each used once, in order, and those of one close together.

``BarSequence`` tracks one symbol: the first confirmation of a bar is used, and a bar that comes too early
waits for the missing ones. ``CloseBarrier`` collects the bars that the sequences release into
``BarsClosed``. Both are pure; the caller decides when a close is overdue.
"""

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from bot.domain.market import Bar
from bot.domain.messages import BarsClosed

REMEMBERED_BARS = 16
"""Number of used bars that are kept, to compare repeated bars with."""
AHEAD_BARS = 4096
"""Number of bars that may wait for missing ones. Beyond it the newest is dropped and fetched again later."""
MAX_JUMP = 3.0
"""Largest plausible ratio of two closes. A streamed bar beyond it is ignored until REST sends the bar."""


class BarCounts(msgspec.Struct):
    """Counts of bars that were not simply the next bar."""

    repeats: int = 0
    """A bar received again with the same numbers."""
    conflicts: int = 0
    """A bar received again with other numbers. The first one was used."""
    late: int = 0
    """A bar older than all remembered bars."""
    early: int = 0
    """A bar that had to wait for missing bars."""
    misaligned: int = 0
    """A bar of another interval, or a bar that cannot have closed yet."""
    jumps: int = 0
    """A bar whose close is too far from the last close."""

    def __add__(self, other: "BarCounts") -> "BarCounts":
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return BarCounts(*(a + b for a, b in pairs))


class BarSequence:
    """The bars of one symbol, in order.

    Args:
        symbol, interval_ms: of the bars.
        next_ms: start of the first bar that is needed.

    Attributes:
        next_ms: start of the next bar; every bar before it was released once or skipped.
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
        """Number of bars that wait for missing ones."""
        return len(self._ahead)

    def take(self, bar: Bar, now_ms: int | None = None, *, sure: bool = False) -> Sequence[Bar]:
        """Take a confirmed bar. Return the bars that are now in order, oldest first.

        If ``now_ms`` is given, a bar that cannot have closed yet is refused. A bar that is ``sure`` (from
        REST) is accepted with any price, and replaces a streamed bar that still waits.
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
        """Do ``take`` for many ``sure`` bars, oldest first; much faster if they follow each other."""
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
        """Return the first missing stretch before ``before_ms`` as starts ``[from, to)``, or None."""
        to_ms = min(min(self._ahead, default=before_ms), before_ms)
        return (self.next_ms, to_ms) if to_ms > self.next_ms else None

    def skip_to(self, start_ms: int) -> Sequence[Bar]:
        """Skip the missing bars before ``start_ms``. Return the bars that are now in order."""
        if start_ms <= self.next_ms:
            return ()
        self._ahead = {ms: bar for ms, bar in self._ahead.items() if ms >= start_ms}
        self.next_ms = start_ms
        self._last_close = None
        first = self._ahead.pop(start_ms, None)
        return () if first is None else self._release(first)

    def used(self, start_ms: int) -> Bar | None:
        """Return the used bar with this start, if it is recent."""
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
        """True if the close is more than ``MAX_JUMP`` times higher or lower than the last used close."""
        if self._last_close is None:
            return False
        ratio = bar.close / self._last_close
        return not 1.0 / MAX_JUMP <= ratio <= MAX_JUMP


def _prices(bar: Bar) -> tuple[float, ...]:
    """Return the numbers to compare, without turnover: not every source sends it."""
    return bar.open, bar.high, bar.low, bar.close, bar.volume


class CloseBarrier:
    """Collects released bars into one ``BarsClosed`` for each close, in order.

    A close is complete when each symbol that has all earlier bars also has its bar of this close. A symbol
    that is behind is not waited for. A bar that comes after its close was decided is late: it is sent with
    ``live=False`` and never traded on.

    Args:
        next_ms: for each symbol the start of its first bar to come (``BarSequence.next_ms``).
        interval_ms: of the bars.
        decided_ms: closes up to this time count as decided from the start.
    """

    def __init__(self, next_ms: dict[str, int], interval_ms: int, decided_ms: int) -> None:
        self.decided_ms = decided_ms
        self._interval_ms = interval_ms
        self._next_ms = dict(next_ms)
        self._at: dict[int, int] = {}
        for start_ms in next_ms.values():
            self._at[start_ms] = self._at.get(start_ms, 0) + 1
        self._pending: dict[int, list[Bar]] = {}
        self._late: dict[int, list[Bar]] = {}

    @property
    def waited_for(self) -> int | None:
        """The earliest close that has a bar and is not decided yet."""
        return min(self._pending, default=None)

    def add(self, bars: Iterable[Bar]) -> None:
        """Take bars that sequences released. The bars of one symbol must be oldest first."""
        step, decided_ms = self._interval_ms, self.decided_ms
        late, pending = self._late, self._pending
        last: Bar | None = None  # the last bar of a symbol: only this one moves the symbol on
        for bar in bars:
            if last is not None and bar.symbol != last.symbol:
                self._move(last.symbol, last.start_ms + step)
            last = bar
            close_ms = bar.start_ms + step
            kind = late if close_ms <= decided_ms else pending
            waiting = kind.get(close_ms)
            if waiting is None:
                kind[close_ms] = [bar]
            else:
                waiting.append(bar)
        if last is not None:
            self._move(last.symbol, last.start_ms + step)

    def skip(self, symbol: str, start_ms: int) -> None:
        """Note that a symbol's bars before ``start_ms`` will not come."""
        self._move(symbol, start_ms)

    def missing(self, close_ms: int) -> list[str]:
        """Return the symbols whose bar of ``close_ms`` has not come."""
        return [symbol for symbol, next_ms in self._next_ms.items() if next_ms < close_ms]

    def late(self) -> list[BarsClosed]:
        """Return the bars that came too late for their close, oldest close first, each once."""
        if not self._late:
            return []
        late, self._late = self._late, {}
        return [self._closed(close_ms, late[close_ms], 0, live=False) for close_ms in sorted(late)]

    def complete(self, seen_ms: int) -> list[BarsClosed]:
        """Decide and return the closes that need not wait any longer, oldest first."""
        found = []
        while (close_ms := self.waited_for) is not None and not self._at.get(close_ms - self._interval_ms):
            found.append(self._decide(close_ms, seen_ms, live=True))
        return found

    def decide(self, until_ms: int, seen_ms: int, *, live: bool) -> list[BarsClosed]:
        """Decide every close up to ``until_ms`` with the bars that are here. Return them, oldest first."""
        due = sorted(close_ms for close_ms in self._pending if close_ms <= until_ms)
        found = [self._decide(close_ms, seen_ms, live=live) for close_ms in due]
        self.decided_ms = max(self.decided_ms, until_ms)
        return found

    def _decide(self, close_ms: int, seen_ms: int, *, live: bool) -> BarsClosed:
        self.decided_ms = close_ms
        return self._closed(close_ms, self._pending.pop(close_ms), seen_ms if live else 0, live=live)

    def _closed(self, close_ms: int, bars: list[Bar], seen_ms: int, *, live: bool) -> BarsClosed:
        bars.sort(key=lambda bar: bar.symbol)
        return BarsClosed(close_ms, self._interval_ms, tuple(bars), seen_ms, live)

    def _move(self, symbol: str, next_ms: int) -> None:
        before_ms = self._next_ms[symbol]
        self._next_ms[symbol] = next_ms
        left = self._at[before_ms] - 1
        if left:
            self._at[before_ms] = left
        else:
            del self._at[before_ms]
        self._at[next_ms] = self._at.get(next_ms, 0) + 1
