"""Does anything said at a close depend on what came later?

The history is cut at several closes. At each, the subject runs on files that end there, and on two whose
later prices, volumes and rates are others: threefold higher, and threefold lower. Whatever was said up to the
cut must be what the whole history made it say. Before that, equal runs must be equal: otherwise nothing can
be compared.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from bot.app.checks.copies import Change, Original, bent, closes, copied, ended, unchanged
from bot.app.checks.subjects import Said, Subject
from bot.app.checks.tables import ChangedValue, acted, compare
from bot.service.moments import minute_words

KEPT = 20
"""Differences that are listed of one finding."""
_GOLDEN = 0.6180339887498949
"""Steps of this share of a range fall evenly into it and never into the same place of an hour or a day."""
NO_PROOF = (
    "A clean result is no proof: only these cuts were tried, and only the candle files were changed. What "
    "the code knows from elsewhere (a fitted model, a constant, a date chosen with hindsight) stays unseen."
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong.

    Attributes:
        kind: ``future``: an earlier value changed with later bars; ``chance``: two equal runs differ;
            ``leftover``: a second run in one process differs; ``unseen_read``: the candle file was opened by
            a reader that cannot be given another future.
        words: what it is, where it begins, and what to do.
        cut_ms: after which close the bars were changed; None if none were.
        change: how they were changed.
        count: how many values differ.
        counts: the same by field.
        differences: the first of them.
    """

    kind: str
    words: str
    cut_ms: int | None = None
    change: str | None = None
    count: int = 0
    counts: dict[str, int] = {}
    differences: tuple[ChangedValue, ...] = ()


@dataclass
class Lookahead:
    """What a check of the future found."""

    subject: str
    bars: int
    cuts_ms: tuple[int, ...] = ()
    values: int = 0
    """Values that were compared at each cut, at most."""
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def told(self) -> dict[str, object]:
        """Return everything as JSON holds it."""
        return {
            "check": "lookahead",
            "subject": self.subject,
            "clean": self.clean,
            "bars": self.bars,
            "values": self.values,
            "cuts_ms": list(self.cuts_ms),
            "findings": [msgspec.to_builtins(each) for each in self.findings],
            "notes": self.notes,
        }


Progress = Callable[[int], None]


def check_lookahead(
    subject: Subject, sources: Sequence[Original], *, cuts: int, seed: int, progress: Progress | None = None
) -> Lookahead:
    """Run the subject on the history as it is, then on changed ones; ``progress`` is told runs done.

    Raises:
        TooFewBars: too few to cut.
        BotError: it cannot be run, or fails on the candles as they are.
    """
    done = _Runs(progress)
    times = closes(sources)
    end_ms = int(times[-1])
    with copied(sources, unchanged) as files:
        base = subject.say(files, to_ms=end_ms)
        done()
        again = subject.say(files, to_ms=end_ms)
        done()
        once_more = subject.say_again(files, to_ms=end_ms)
    found = Lookahead(subject.name, len(times))
    found.values = sum(len(each.ts_ms) * len(each.columns) for each in base.tables.values())
    found.notes += [*_read_notes(base), *subject.notes]
    if base.error is not None:
        raise base.error
    if not found.values:
        found.notes.append("it said nothing at any close: there was nothing to compare")
    if not _repeats(found, base, again, once_more, end_ms):
        return found
    found.cuts_ms = tuple(_cuts(times, base, cuts))
    for cut_ms in found.cuts_ms:
        for change, words in _changes(cut_ms, seed):
            if missed := _judge(found, subject, sources, base, cut_ms, change, words):
                found.findings.append(missed)
                return found
            done()
    return found


def runs(cuts: int) -> int:
    """Return how many runs a check makes."""
    return 2 + 3 * cuts


def _changes(cut_ms: int, seed: int) -> list[tuple[Change, str]]:
    return [
        (ended(cut_ms), "the history ends there"),
        (bent(cut_ms, up=True, seed=seed), "later prices and volumes are three times as high"),
        (bent(cut_ms, up=False, seed=seed), "later prices and volumes are a third"),
    ]


def _judge(
    found: Lookahead,
    subject: Subject,
    sources: Sequence[Original],
    base: Said,
    cut_ms: int,
    change: Change,
    words: str,
) -> Finding | None:
    """Add what one change moved to the findings; return a finding that ends the check."""
    with copied(sources, change) as files:
        said = subject.say(files, to_ms=cut_ms)
    if said.reads.missed:
        return _unseen_read(sorted(said.reads.missed))
    differences = compare(base.tables, said.tables, to_ms=cut_ms, tolerance=subject.same_frac)
    if said.error is not None:
        differences = differences[:KEPT]
        failed = f"with other bars after {minute_words(cut_ms)} ({words}) it fails: {said.error}"
        found.findings.append(
            Finding(
                kind="future",
                words=failed,
                cut_ms=cut_ms,
                change=words,
                count=max(1, len(differences)),
                differences=tuple(differences),
            )
        )
    elif differences:
        first = differences[0]
        found.findings.append(
            Finding(
                kind="future",
                words=f"only bars after {minute_words(cut_ms)} were changed ({words}). Values "
                f"up to there that moved: {len(differences):,}, from {minute_words(first.ts_ms)} on",
                cut_ms=cut_ms,
                change=words,
                count=len(differences),
                counts=dict(Counter(each.field for each in differences)),
                differences=tuple(differences[-KEPT:]),
            )
        )
    return None


def _repeats(found: Lookahead, base: Said, again: Said, once_more: Said | None, end_ms: int) -> bool:
    """Note if equal runs differ; the future can only be judged if they do not."""
    if missed := sorted(base.reads.missed):
        found.findings.append(_unseen_read(missed))
    differences = compare(base.tables, again.tables, to_ms=end_ms)
    if differences or again.error is not None:
        found.findings.append(
            Finding(
                kind="chance",
                words="two runs on the same candles differ: it uses chance without a seed, the clock, or "
                "something outside, such as a variable of the notebook; give every random generator a seed "
                "in the constructor, and keep in self what changes. Look-ahead cannot be judged before that",
                count=len(differences),
                differences=tuple(differences[:KEPT]),
            )
        )
        return False
    if once_more is not None:
        left = compare(base.tables, once_more.tables, to_ms=end_ms)
        if left or once_more.error is not None:
            found.findings.append(
                Finding(
                    kind="leftover",
                    words="a second run in the same process differs from the first: something outlives the "
                    "instance (a variable of the class or of the module); keep it in self, set in __init__. "
                    "Searches and several symbols share such a variable"
                    + (f" ({once_more.error})" if once_more.error is not None else ""),
                    count=len(left),
                    differences=tuple(left[:KEPT]),
                )
            )
    return not found.findings or found.findings[-1].kind == "leftover"


def _unseen_read(paths: Sequence[str]) -> Finding:
    return Finding(
        kind="unseen_read",
        words=f"{', '.join(paths)} was opened while it ran, by a reader that this check cannot give another "
        "future (or by another program): every later bar can be read there; take prices from the view or the "
        "candles alone",
        count=len(paths),
    )


def _read_notes(base: Said) -> list[str]:
    notes = []
    if base.reads.diverted:
        names = ", ".join(sorted(base.reads.diverted))
        notes.append(f"it opens {names} itself; it was given a changed copy each time")
    if base.reads.others:
        names = ", ".join(sorted(base.reads.others)[:5])
        notes.append(f"it also reads {names}, which this check does not change: see what is in there")
    return notes


def _cuts(times: NDArray[np.int64], base: Said, count: int) -> list[int]:
    """Return closes to cut at: one half where something new was said, the other spread over the bars."""
    first, last = max(len(times) // 3, _warm(times, base)), len(times) - 2
    inside = [ts_ms for ts_ms in acted(base.tables) if times[first] <= ts_ms <= times[last]]
    spread = times[first : last + 1].tolist()
    found = dict.fromkeys(_picked(inside, count // 2, 0.5)) | dict.fromkeys(_picked(spread, 2 * count, 0.0))
    return sorted([*found][:count])


def _picked(moments: Sequence[int], count: int, offset: float) -> list[int]:
    """Return ``count`` of the moments, evenly spread; each as often as it comes."""
    return [moments[int(len(moments) * ((i * _GOLDEN + offset) % 1.0))] for i in range(count) if moments]


def _warm(times: NDArray[np.int64], base: Said) -> int:
    """Return the index of the close until which every value has been said once; two thirds at most."""
    begun = [
        int(table.ts_ms[np.argmax(there)])
        for table in base.tables.values()
        for column in table.columns.values()
        if (there := column == column if column.dtype != object else column.astype(bool)).any()
    ]
    return min(int(np.searchsorted(times, max(begun, default=0))), 2 * len(times) // 3)


class _Runs:
    """Tells how many runs are done."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._done = progress, 0

    def __call__(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done)
