"""When the next retraining begins: a value that outlives the process, and its rules. No clock, no file.

::

    due ──begin──> running ──end──> promoted or refused      the next one is at the next due time
                      │
                      └────────────> failed                  again after 15 min, 1 h, 4 h, 16 h ...,
                                                             but not later than the next due time

Due times that pass while no daemon runs, or while a retraining runs, are made up for once at most. The
periods count from a moment that is kept, so a restart moves none of them.
"""

from typing import Literal

import msgspec

from bot.domain.market import MINUTE_MS
from bot.domain.schedules import Schedule

Verdict = Literal["promoted", "refused", "failed"]
SETTLE_MS = 60_000
"""A retraining that was missed begins so long after the start of the daemon."""
_AGAIN_MS = 15 * MINUTE_MS
_GROWTHS_MAX = 8
"""Each pause is 4 times the one before; longer ones are never reached, for the next due time comes first."""
INTERRUPTED = "the daemon ended while the retraining ran"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a retraining ended. ``judged``: it came to a judgement on the candidate, whichever."""

    verdict: Verdict
    reason: str
    candidate: str = ""
    judged: bool = False


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """A retraining that has ended."""

    began_ms: int
    ended_ms: int
    outcome: Outcome


class Timetable(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept between two retrainings, and over a restart.

    Args:
        schedule: as it was written.
        since_ms: when this schedule began.
        done_ms: due times up to this one are done with.
        began_ms: when the retraining that runs began; None: none runs.
        failures: failed attempts since the last due time.
        last: the last one that ended.
        judged_ms: when one last came to a judgement.
        counts: how many ended so, by verdict.
    """

    schedule: str
    since_ms: int
    done_ms: int
    began_ms: int | None = None
    failures: int = 0
    last: Past | None = None
    judged_ms: int | None = None
    counts: dict[Verdict, int] = {}

    def due_ms(self) -> int:
        """Return when the next retraining is due."""
        due_ms = Schedule.of(self.schedule).next_after(self.done_ms, self.since_ms)
        if not self.failures or self.last is None:
            return due_ms
        pause_ms = _AGAIN_MS << 2 * min(self.failures - 1, _GROWTHS_MAX)
        return min(due_ms, self.last.ended_ms + pause_ms)

    def begun(self, now_ms: int) -> "Timetable":
        """Return the table once a retraining has begun: what was due until now is done with."""
        is_new = Schedule.of(self.schedule).next_after(self.done_ms, self.since_ms) <= now_ms
        failures = 0 if is_new else self.failures
        return msgspec.structs.replace(
            self, began_ms=now_ms, done_ms=self._done_ms(now_ms), failures=failures
        )

    def ended(self, now_ms: int, outcome: Outcome) -> "Timetable":
        """Return the table once the retraining that ran has ended."""
        assert self.began_ms is not None
        return msgspec.structs.replace(
            self,
            began_ms=None,
            done_ms=self._done_ms(now_ms),
            failures=self.failures + 1 if outcome.verdict == "failed" else 0,
            last=Past(began_ms=self.began_ms, ended_ms=now_ms, outcome=outcome),
            judged_ms=now_ms if outcome.judged else self.judged_ms,
            counts={**self.counts, outcome.verdict: self.counts.get(outcome.verdict, 0) + 1},
        )

    def _done_ms(self, now_ms: int) -> int:
        return max(self.done_ms, Schedule.of(self.schedule).last_until(now_ms, self.since_ms))


def resumed(kept: Timetable | None, schedule: str, now_ms: int, outcome: Outcome | None = None) -> Timetable:
    """Return the table for a process that begins at ``now_ms``.

    Another schedule begins anew. So does one that was kept by a clock that was ahead by more than a period,
    such as that of another local exchange. A retraining that ran when the process before ended has come to
    ``outcome``; without one it was interrupted, which is a failure.
    """
    if kept is None:
        return Timetable(schedule=schedule, since_ms=now_ms, done_ms=now_ms)
    if kept.began_ms is not None:
        kept = kept.ended(kept.began_ms, outcome or Outcome(verdict="failed", reason=INTERRUPTED))
    ahead_ms = max(kept.done_ms, kept.last.ended_ms if kept.last is not None else 0) - now_ms
    if kept.schedule == schedule and ahead_ms <= Schedule.of(schedule).period_ms:
        return kept
    return msgspec.structs.replace(kept, schedule=schedule, since_ms=now_ms, done_ms=now_ms, failures=0)
