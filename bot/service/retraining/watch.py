"""Retrains by schedule beside the loop: waits for the due time, runs the process, tells what came of it.

The loop only waits. Nothing that goes wrong here ends the daemon: the model in use goes on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from bot.domain.errors import StoreFailed
from bot.ports import Clock
from bot.service.retraining.kept import KeptTimetable
from bot.service.retraining.pipe import Task
from bot.service.retraining.timetable import SETTLE_MS, Outcome, Timetable, resumed

_LOOK_S, _LOOK_MAX_S = 1.0, 30.0
"""Shortest and longest time between two looks at the clock, which may be set."""
_UNKEPT_S = 900.0
"""Pause after the timetable could not be written."""
_ALERTS: Mapping[str, str] = {
    "promoted": "retrained",
    "refused": "retrain_refused",
    "failed": "retrain_failed",
}


class Retraining:
    """The schedule of one daemon.

    Args:
        schedule: as the settings have it.
        kept: the timetable on the disk.
        work: runs one retraining to its end; ``Worker.retrain`` does.
        task: makes its task, given when it began.
        ended: returns how the one that began at a time ended, if the record of the models knows it.
        clock: the daemon's.
        note: is told what happened: name and facts.
        may_begin: False while the start of a process would disturb: a close is near, or the start goes on.
        is_stopping: True once the daemon was asked to stop.
        is_rolled_back: True for the hash of a model that was rolled back after it was promoted.
    """

    def __init__(
        self,
        schedule: str,
        kept: KeptTimetable,
        work: Callable[[Task], Awaitable[Outcome]],
        *,
        task: Callable[[int], Task],
        ended: Callable[[int], Outcome | None],
        clock: Clock,
        note: Callable[[str, dict[str, object]], None],
        may_begin: Callable[[], bool],
        is_stopping: Callable[[], bool],
        is_rolled_back: Callable[[str], bool],
    ) -> None:
        self._kept, self._work, self._task = kept, work, task
        self._clock, self._note, self._may_begin = clock, note, may_begin
        self._is_stopping, self._is_rolled_back = is_stopping, is_rolled_back
        self._started_ms = clock.now_ms()
        before, outcome = self._read(), None
        if before is not None and before.began_ms is not None:  # it may have promoted a model before the end
            outcome = ended(before.began_ms)
        self.table = resumed(before, schedule, self._started_ms, outcome)
        if outcome is not None:
            self._tell(outcome)

    def facts(self) -> dict[str, object]:
        """Return what the status says; ``words.py`` makes a line of it."""
        table = self.table
        last = table.last
        return {
            "retrain": {
                "schedule": table.schedule,
                "next_ms": None if table.began_ms is not None else self.due_ms(),
                "running_since_ms": table.began_ms,
                "last_verdict": None if last is None else last.outcome.verdict,
                "last_model": None if last is None else last.outcome.candidate or None,
                "last_rolled_back": last is not None and self._is_rolled_back(last.outcome.candidate),
                "last_reason": None if last is None else last.outcome.reason,
                "last_ended_ms": None if last is None else last.ended_ms,
                "judged_ms": table.judged_ms,
                "counts": {verdict: table.counts.get(verdict, 0) for verdict in _ALERTS},  # type: ignore[call-overload]
            }
        }

    def due_ms(self) -> int:
        """Return when the next retraining begins; one that was missed waits until the start has settled."""
        due_ms = self.table.due_ms()
        return due_ms if due_ms > self._started_ms else self._started_ms + SETTLE_MS

    async def run(self) -> None:
        """Retrain at each due time until cancelled; a retraining that runs ends with this."""
        await self._keep(self.table)
        while True:
            left_s = self._clock.wall_s_until(self.due_ms())
            if left_s > 0.0 or not self._may_begin():
                await asyncio.sleep(min(max(left_s, _LOOK_S), _LOOK_MAX_S))
            elif await self._keep(self.table.begun(self._clock.now_ms())):
                await self._retrain()

    async def _retrain(self) -> None:
        assert self.table.began_ms is not None
        self._note("retrain_began", {"schedule": self.table.schedule})
        try:
            outcome = await self._work(self._task(self.table.began_ms))
        except Exception as error:  # trading must not end by what happens beside it
            outcome = Outcome(verdict="failed", reason=repr(error))
        if outcome.verdict == "failed" and self._is_stopping():
            # Whoever stops the daemon may end its processes, too: the next start counts it.
            await asyncio.Event().wait()
        self.table = self.table.ended(self._clock.now_ms(), outcome)
        self._tell(outcome)
        while not await self._keep(self.table):  # nothing new begins before
            pass

    async def _keep(self, table: Timetable) -> bool:
        """Keep a new state of the table; where that fails, say so, wait for long, and return False."""
        try:
            await asyncio.to_thread(self._kept.write, table)
        except StoreFailed as error:
            self._tell(Outcome(verdict="failed", reason=str(error)))
            await asyncio.sleep(_UNKEPT_S)
            return False
        self.table = table
        return True

    def _read(self) -> Timetable | None:
        """Return the kept timetable; without one that can be read the schedule begins anew."""
        try:
            return self._kept.read()
        except StoreFailed as error:
            self._tell(Outcome(verdict="failed", reason=str(error)))
            return None

    def _tell(self, outcome: Outcome) -> None:
        facts: dict[str, object] = {"reason": outcome.reason}
        if outcome.candidate:
            facts["model"] = outcome.candidate
        self._note(_ALERTS[outcome.verdict], facts)
