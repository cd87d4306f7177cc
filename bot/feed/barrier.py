"""The close barrier: all bars of one close leave together, in time order.

A close is complete when every symbol that has released all bars before it has released this one too. A
symbol that is behind is not waited for. A bar that comes after its close was decided is late: it is emitted
with ``live=False`` and never traded on. When to stop waiting for a bar is the caller's decision (``decide``).
"""

from collections.abc import Iterable

from bot.domain.market import Bar
from bot.domain.messages import BarsClosed


class CloseBarrier:
    """Gathers released bars into one ``BarsClosed`` for each close, in order.

    Args:
        next_ms: for each symbol the start of its first bar to come (``BarSequence.next_ms``).
        interval_ms: length of a bar.
        decided_ms: closes up to this one are late from the start.
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
        """The earliest undecided close of which at least one bar is here."""
        return min(self._pending, default=None)

    def add(self, bars: Iterable[Bar]) -> None:
        """Take bars that sequences released. The bars of one symbol come oldest first."""
        step, decided_ms = self._interval_ms, self.decided_ms
        late, pending = self._late, self._pending
        last: Bar | None = None  # the last bar of a symbol says which of its bars comes next
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
        """Note that the bars of ``symbol`` before ``start_ms`` will not come."""
        self._move(symbol, start_ms)

    def drop(self, symbol: str) -> None:
        """Wait for no more bars of ``symbol``."""
        next_ms = self._next_ms.pop(symbol)
        self._at[next_ms] -= 1
        if not self._at[next_ms]:
            del self._at[next_ms]

    def missing(self, close_ms: int) -> list[str]:
        """Return the symbols whose bar of ``close_ms`` has not come."""
        return [symbol for symbol, next_ms in self._next_ms.items() if next_ms < close_ms]

    def late(self) -> list[BarsClosed]:
        """Return the bars that came after their close was decided, oldest close first; each once."""
        if not self._late:
            return []
        late, self._late = self._late, {}
        return [self._closed(close_ms, late[close_ms], 0, live=False) for close_ms in sorted(late)]

    def complete(self, seen_ms: int) -> list[BarsClosed]:
        """Decide and return the closes for which no bar is missing, oldest first."""
        found = []
        while (close_ms := self.waited_for) is not None and not self._at.get(close_ms - self._interval_ms):
            found.append(self._decide(close_ms, seen_ms, live=True))
        return found

    def decide(self, until_ms: int, seen_ms: int, *, live: bool) -> list[BarsClosed]:
        """Decide every close up to ``until_ms`` with the bars that are here; return them, oldest first."""
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
