"""The schedule beside the loop, in virtual time: when it begins, what it tells, and what it survives."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.state.clock import MachineTime, WallClock
from bot.adapters.state.disk import Disk
from bot.domain.market import DAY_MS, HOUR_MS, MINUTE_MS
from bot.service.retraining.kept import KeptTimetable
from bot.service.retraining.pipe import Task
from bot.service.retraining.timetable import Outcome
from bot.service.retraining.watch import Retraining
from bot.service.retraining.words import retraining_words
from tests.helpers import T0
from tests.sim.loop import SimLoop

MIDNIGHT = T0 // DAY_MS * DAY_MS
REFUSED = Outcome(verdict="refused", reason="no better", judged=True)
FAILED = Outcome(verdict="failed", reason="no network")


class Life:
    """A daemon's schedule in virtual time; each retraining takes ten minutes."""

    def __init__(self, place: Path, *outcomes: Outcome, disk: Disk | None = None) -> None:
        self.loop = SimLoop()
        self.place, self.disk = place, disk or Disk()
        self.outcomes = list(outcomes)
        self.began: list[int] = []
        self.told: list[tuple[str, dict[str, object]]] = []
        self.may_begin: Callable[[], bool] = lambda: True
        self.stops = False
        self.rolled_back: set[str] = set()
        self.recorded: dict[int, Outcome] = {}
        """What the record of the models knows, by the begin of the retraining."""

    def at(self, begin_ms: int) -> WallClock:
        return WallClock(MachineTime(wall_ns=lambda: begin_ms * 1_000_000 + int(self.loop.now_s * 1e9)))

    async def _work(self, task: Task) -> Outcome:
        self.began.append(task.now_ms)
        await asyncio.sleep(600.0)
        return self.outcomes.pop(0) if self.outcomes else REFUSED

    def run(
        self, begin_ms: int, hours: float, work: Callable[[Task], Awaitable[Outcome]] | None = None
    ) -> Retraining:
        made = Retraining(
            "daily@03:00",
            KeptTimetable(self.place, self.disk),
            work or self._work,
            task=lambda now_ms: Task(settings={}, base="", now_ms=now_ms),
            ended=self.recorded.get,
            clock=self.at(begin_ms - int(self.loop.now_s * 1000)),
            note=lambda *note: self.told.append(note),
            may_begin=lambda: self.may_begin(),
            is_stopping=lambda: self.stops,
            is_rolled_back=self.rolled_back.__contains__,
        )

        async def for_a_while() -> None:
            task = asyncio.ensure_future(made.run())
            await asyncio.sleep(hours * 3600.0)
            assert not task.done(), task.exception()
            task.cancel()
            await asyncio.wait([task])

        self.loop.run_until_complete(for_a_while())
        return made


Born = Callable[..., Life]


@pytest.fixture
def born(tmp_path: Path) -> Iterator[Born]:
    lives: list[Life] = []

    def make(*outcomes: Outcome, disk: Disk | None = None) -> Life:
        lives.append(Life(tmp_path, *outcomes, disk=disk))
        return lives[-1]

    yield make
    for each in lives:
        each.loop.close()


def names(life: Life) -> list[str]:
    return [name for name, _ in life.told]


def test_it_begins_at_the_due_time_of_each_day_and_tells_the_verdict(born: Born) -> None:
    promoted = Outcome(verdict="promoted", reason="better", candidate="abc", judged=True)
    life = born(promoted, REFUSED)
    facts: Any = life.run(MIDNIGHT, 30.0).facts()["retrain"]
    assert [round((at - MIDNIGHT) / MINUTE_MS) for at in life.began] == [180, 180 + 1_440]
    assert names(life) == ["retrain_began", "retrained", "retrain_began", "retrain_refused"]
    assert life.told[1][1] == {"reason": "better", "model": "abc"}
    assert facts["counts"] == {"promoted": 1, "refused": 1, "failed": 0}
    assert (facts["last_verdict"], facts["next_ms"]) == ("refused", MIDNIGHT + 2 * DAY_MS + 3 * HOUR_MS)
    words = retraining_words(facts, MIDNIGHT + 30 * HOUR_MS)
    assert words.startswith("daily@03:00, next 2025-01-03 03:00:00 UTC; the last one promoted none 03:10:0")


def test_what_was_missed_runs_once_after_the_start_has_settled(born: Born) -> None:
    life = born()
    life.run(MIDNIGHT, 1.0)
    life.run(MIDNIGHT + 5 * DAY_MS, 2.0)
    assert [round((at - MIDNIGHT - 5 * DAY_MS) / MINUTE_MS) for at in life.began] == [1]


def test_a_failure_is_tried_again_later_and_not_at_once(born: Born) -> None:
    life = born(FAILED, FAILED, REFUSED)
    life.run(MIDNIGHT, 24.0)
    assert [round((at - MIDNIGHT) / MINUTE_MS) for at in life.began] == [180, 205, 275]
    assert names(life)[1::2] == ["retrain_failed", "retrain_failed", "retrain_refused"]


def test_it_waits_while_the_start_of_a_process_would_disturb(born: Born) -> None:
    life = born()
    clock = life.at(MIDNIGHT)
    life.may_begin = lambda: clock.now_ms() > MIDNIGHT + 4 * HOUR_MS
    life.run(MIDNIGHT, 6.0)
    assert [round((at - MIDNIGHT) / MINUTE_MS) for at in life.began] == [240]


def test_a_bug_in_it_is_a_failure_that_is_heard_and_ends_nothing(born: Born) -> None:
    async def broken(task: Task) -> Outcome:
        raise RuntimeError("a bug")

    life = born()
    facts: Any = life.run(MIDNIGHT, 3.1, broken).facts()["retrain"]
    assert life.told[-1] == ("retrain_failed", {"reason": "RuntimeError('a bug')"})
    assert facts["next_ms"] == pytest.approx(MIDNIGHT + 3 * HOUR_MS + 15 * MINUTE_MS, abs=5_000)


def test_one_that_ends_with_the_daemon_is_no_alarm_and_is_tried_after_the_restart(born: Born) -> None:
    life = born(FAILED)
    life.stops = True
    life.run(MIDNIGHT, 4.0)
    assert names(life) == ["retrain_began"]
    life.stops = False
    life.run(MIDNIGHT + 4 * HOUR_MS, 1.0)
    assert [round((at - MIDNIGHT) / MINUTE_MS) for at in life.began] == [180, 241]


PROMOTED = Outcome(verdict="promoted", reason="better", candidate="abc", judged=True)


def test_a_model_that_was_promoted_just_before_a_stop_is_told_as_promoted(born: Born) -> None:
    life = born(PROMOTED)
    life.stops = True
    facts: Any = life.run(MIDNIGHT, 4.0).facts()["retrain"]
    assert names(life) == ["retrain_began", "retrained"]
    assert (facts["last_verdict"], facts["counts"]["failed"]) == ("promoted", 0)
    assert "; the last one promoted abc 03:10:0" in retraining_words(facts, MIDNIGHT + 4 * HOUR_MS)


def test_a_model_that_is_rolled_back_later_is_told_as_such(born: Born) -> None:
    life = born(PROMOTED)
    made = life.run(MIDNIGHT, 4.0)
    life.rolled_back.add("abc")
    facts: Any = made.facts()["retrain"]
    assert facts["last_rolled_back"]
    words = retraining_words(facts, MIDNIGHT + 4 * HOUR_MS)
    assert words.endswith(", rolled back since then: better")
    assert "; the last one promoted abc 03:10:0" in words


def test_a_model_that_was_promoted_just_before_a_kill_is_told_after_the_restart(born: Born) -> None:
    life = born()
    life.run(MIDNIGHT, 3.1)  # killed while the process works
    (began_ms,) = life.began
    life.recorded[began_ms] = PROMOTED
    facts: Any = life.run(MIDNIGHT + 4 * HOUR_MS, 1.0).facts()["retrain"]
    assert life.told[-1] == ("retrained", {"reason": "better", "model": "abc"})
    assert (facts["last_verdict"], facts["counts"]) == (
        "promoted",
        {"promoted": 1, "refused": 0, "failed": 0},
    )
    assert len(life.began) == 1  # the next one is due tomorrow


def test_while_the_disk_takes_nothing_none_begins_and_trading_goes_on(born: Born) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    life = born(disk=Disk(replace=full))
    life.run(MIDNIGHT, 5.0)
    assert life.began == []
    assert set(names(life)) == {"retrain_failed"}
    assert len(life.told) < 25


def test_a_damaged_timetable_is_said_and_begins_anew(born: Born) -> None:
    life = born()
    KeptTimetable(life.place).path.write_bytes(b"{")
    life.run(MIDNIGHT, 4.0)
    assert names(life) == ["retrain_failed", "retrain_began", "retrain_refused"]
