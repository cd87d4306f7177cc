"""After how many bars do results no longer depend on where the history begins?

A recursive indicator (an exponential mean, RSI, a model's state) remembers its first bars for long. Features
and forecasts: the history is begun later at several bars, and each column is compared with that of the whole
history; the answer is the first bar from which both agree for good. A strategy trades from several starts, on
the same account, with ever fewer bars shown before the start; the answer is the fewest with which it decides
as it does with the whole history.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bot.app.checks.copies import Original, begun, closes, copied, unchanged
from bot.app.checks.subjects import Said, StrategySubject, Subject
from bot.app.checks.tables import ChangedValue, Table, compare, different, says_after, spread
from bot.domain.errors import TooFewBars
from bot.domain.words import counted

NO_PROOF = (
    "A clean result is no proof: only these beginnings were tried. A rare rule that looks back further stays "
    "unseen."
)
Progress = Callable[[int], None]


@dataclass
class Warmup:
    """What a check of the beginning found."""

    subject: str
    bars: int
    given: int
    """Bars that a run gives it first."""
    tolerance: float
    needed: int | None = None
    """Bars after which results no longer depend on the beginning; None: not within the bars there are."""
    tried: int = 0
    """The most bars that could be tried."""
    starts_ms: tuple[int, ...] = ()
    columns: dict[str, int | None] = field(default_factory=dict)
    """The same for each column of features and forecasts."""
    differences: tuple[ChangedValue, ...] = ()
    """What differs with the bars that a run gives."""
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether a run gives enough bars."""
        return self.needed is not None and self.needed <= self.given

    @property
    def words(self) -> str:
        """Say it in one sentence."""
        if self.needed is None:
            return f"results still depend on where the history begins after {counted(self.tried, 'bar')}"
        return f"results no longer depend on where the history begins after {counted(self.needed, 'bar')}"

    @property
    def advice(self) -> str:
        """Say it, and what to do if a run does not give enough bars."""
        return (
            f"{self.words}, but a run reads {self.given:,} before --start; shorten what it remembers, or "
            "begin --start so many bars after the file does"
        )

    def told(self) -> dict[str, object]:
        """Return everything as JSON holds it."""
        return {
            "check": "warmup",
            "subject": self.subject,
            "clean": self.clean,
            "bars": self.bars,
            "needed_bars": self.needed,
            "given_bars": self.given,
            "tried_bars": self.tried,
            "tolerance": self.tolerance,
            "starts_ms": list(self.starts_ms),
            "columns": self.columns,
            "differences": [msgspec.to_builtins(each) for each in self.differences],
            "words": self.words,
            "notes": self.notes,
        }


def check_warmup(
    subject: Subject,
    sources: Sequence[Original],
    *,
    starts: int,
    tolerance: float | None = None,
    progress: Progress | None = None,
) -> Warmup:
    """Find the bars after which the beginning is forgotten; ``progress`` is told runs done.

    ``tolerance`` is the relative difference that counts as none; None: 1e-6, of a model's forecasts 1 %.

    Raises:
        TooFewBars: too few bars to begin later.
        BotError: the subject cannot be run.
    """
    if isinstance(subject, StrategySubject):
        return _of_strategy(subject, sources, starts, tolerance, progress)
    return _of_columns(subject, sources, starts, tolerance, progress)


# Features and forecasts: one value a bar, so the bars can be counted in one run


def _of_columns(
    subject: Subject, sources: Sequence[Original], starts: int, given: float | None, progress: Progress | None
) -> Warmup:
    times = closes(sources)
    end_ms = int(times[-1])
    with copied(sources, unchanged) as files:
        whole = _sound(subject.say(files, to_ms=end_ms))
    tolerance = subject.settled_frac if given is None else given
    found = Warmup(subject.name, len(times), subject.warmup_bars, tolerance)
    begins = _spread(times, 0.1, 0.45, starts)
    found.starts_ms = tuple(begins)
    needed: dict[str, int | None] = {}
    for done, begin_ms in enumerate(begins, 1):
        with copied(sources, begun(begin_ms)) as files:
            part = _sound(subject.say(files, to_ms=end_ms))
        for name, bars in _forgotten(whole.tables, part.tables, begin_ms, tolerance).items():
            known = needed.get(name, 0)
            needed[name] = None if bars is None or known is None else max(bars, known)
        found.tried = max(found.tried, int((times > begin_ms).sum()))
        if progress is not None:
            progress(done)
    found.columns = needed
    bars_needed = list(needed.values())
    if bars_needed and None not in bars_needed:
        found.needed = max(bars for bars in bars_needed if bars is not None)
    if found.needed is None:
        found.tried = int((times > begins[-1]).sum())
    return found


def _forgotten(
    whole: Mapping[str, Table], part: Mapping[str, Table], begin_ms: int, tolerance: float
) -> dict[str, int | None]:
    """Return for each column after how many bars the part says what the whole says; None: it never does."""
    found: dict[str, int | None] = {}
    for symbol, table in part.items():
        base = whole[symbol]
        common, at, its = np.intersect1d(base.ts_ms, table.ts_ms, return_indices=True)
        for name in base.columns:
            one, other = base.columns[name][at], _of(table, name, its)
            differ = np.flatnonzero(different(one, other, tolerance, spread(one)))
            bars: int | None = int(differ[-1]) + 1 if differ.size else 0
            if differ.size and differ[-1] >= len(common) - 1:
                bars = None
            known = found.get(name, 0)
            found[name] = None if bars is None or known is None else max(bars, known)
    return found


def _of(table: Table, name: str, rows: NDArray[Any]) -> NDArray[Any]:
    column = table.columns.get(name)
    return np.full(len(rows), np.nan) if column is None else column[rows]


# A strategy: its decisions depend on its account, so every run trades from the same start


def _of_strategy(
    subject: StrategySubject,
    sources: Sequence[Original],
    starts: int,
    given: float | None,
    progress: Progress | None,
) -> Warmup:
    times = closes(sources)
    bisection = _Bisection(subject, sources, times, given, progress)
    begins = _spread(times, 0.55, 0.85, starts)
    needed: list[int | None] = [bisection.needed(start_ms) for start_ms in begins]
    tolerance = subject.settled_frac if given is None else given
    found = Warmup(subject.name, len(times), subject.warmup_bars, tolerance)
    found.starts_ms, found.tried = tuple(begins), bisection.tried
    found.needed = None if None in needed else max(bars for bars in needed if bars is not None)
    found.differences = tuple(bisection.differences)
    if not bisection.said:
        found.notes.append("it said nothing after any start: there was nothing to compare")
    return found


class _Bisection:
    """Looks for the fewest bars before a start with which everything after it is the same."""

    def __init__(
        self,
        subject: StrategySubject,
        sources: Sequence[Original],
        times: NDArray[np.int64],
        tolerance: float | None,
        progress: Progress | None,
    ) -> None:
        self._subject, self._sources, self._times, self._given = subject, sources, times, tolerance
        self._interval_ms = max(each.candles.interval_ms for each in sources)
        self._progress, self._runs = progress, 0
        self.tried = 0
        self.said = False
        self.differences: list[ChangedValue] = []

    def needed(self, start_ms: int) -> int | None:
        """Return the fewest bars before ``start_ms``; None: more than there are."""
        at = int(np.searchsorted(self._times, start_ms))
        end_ms = int(self._times[min(len(self._times) - 1, at + _LOOK_BARS)])
        with copied(self._sources, unchanged) as files:
            whole = _sound(self._subject.say(files, to_ms=end_ms, start_ms=start_ms))
        self.said |= any(says_after(table, start_ms) for table in whole.tables.values())
        given, most = self._subject.warmup_bars, 9 * at // 10
        self.tried = max(self.tried, most)

        def enough(bars: int) -> bool:
            differences = self._differences(whole, start_ms, end_ms, bars)
            if differences and bars >= min(given, most) and not self.differences:
                self.differences = differences[:_KEPT]
            return differences == []

        low, high = -1, min(given, most)
        while not enough(high):
            if high >= most:
                return None
            low, high = high, min(2 * high, most)
        while high - low > max(1, high // 100):
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high

    def _differences(self, whole: Said, start_ms: int, end_ms: int, bars: int) -> list[ChangedValue] | None:
        """Return what differs after the start with so many bars before it; None: it could not run."""
        self._runs += 1
        if self._progress is not None:
            self._progress(self._runs)
        with copied(self._sources, begun(start_ms - bars * self._interval_ms)) as files:
            try:
                part = self._subject.say(files, to_ms=end_ms, start_ms=start_ms)
            except TooFewBars:
                return None
        if part.error is not None:
            return None
        tolerance = self._subject.settled_frac if self._given is None else self._given
        found = compare(whole.tables, part.tables, from_ms=start_ms + 1, to_ms=end_ms, tolerance=tolerance)
        return [each for each in found if each.field != "target.reason"]  # a word moves no money


_LOOK_BARS = 500
"""Bars after a start whose decisions are compared."""
_KEPT = 20


def _sound(said: Said) -> Said:
    if said.error is not None:
        raise said.error
    return said


def _spread(times: NDArray[np.int64], first: float, last: float, count: int) -> list[int]:
    """Return ``count`` closes between two shares of the history: a bar opens at each."""
    shares = np.linspace(first, last, count) if count > 1 else np.array([(first + last) / 2])
    return [int(times[int(len(times) * share)]) for share in shares]
