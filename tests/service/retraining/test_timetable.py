"""When a retraining begins: once a due time, once after a standstill, later after a failure."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.state.disk import Disk
from bot.domain.errors import StoreFailed
from bot.domain.market import DAY_MS, HOUR_MS, MINUTE_MS
from bot.domain.schedules import Schedule
from bot.service.retraining.kept import KeptTimetable
from bot.service.retraining.timetable import INTERRUPTED, Outcome, Timetable, resumed
from tests.helpers import T0

REFUSED = Outcome(verdict="refused", reason="no better", judged=True)
FAILED = Outcome(verdict="failed", reason="no network")
MIDNIGHT = T0 // DAY_MS * DAY_MS


def fresh(schedule: str = "daily@03:00", now_ms: int = MIDNIGHT) -> Timetable:
    return resumed(None, schedule, now_ms)


def done(table: Timetable, at_ms: int, outcome: Outcome = REFUSED, takes_ms: int = MINUTE_MS) -> Timetable:
    return table.begun(at_ms).ended(at_ms + takes_ms, outcome)


def test_each_due_time_is_taken_once() -> None:
    table = fresh()
    assert table.due_ms() == MIDNIGHT + 3 * HOUR_MS
    table = done(table, MIDNIGHT + 3 * HOUR_MS + 5)
    assert table.due_ms() == MIDNIGHT + DAY_MS + 3 * HOUR_MS


def test_a_clock_that_steps_back_runs_nothing_twice() -> None:
    table = done(fresh(), MIDNIGHT + 3 * HOUR_MS + 5)
    again = resumed(table, "daily@03:00", MIDNIGHT + 2 * HOUR_MS)
    assert again.due_ms() == MIDNIGHT + DAY_MS + 3 * HOUR_MS


def test_what_was_missed_runs_once() -> None:
    table = resumed(fresh(), "daily@03:00", MIDNIGHT + 9 * DAY_MS)
    assert table.due_ms() <= MIDNIGHT + 9 * DAY_MS
    assert done(table, MIDNIGHT + 9 * DAY_MS).due_ms() == MIDNIGHT + 9 * DAY_MS + 3 * HOUR_MS


def test_a_restart_neither_retrains_at_once_nor_moves_a_span() -> None:
    table = fresh("12h", MIDNIGHT + 5)
    for hours in range(1, 12):
        table = resumed(table, "12h", MIDNIGHT + hours * HOUR_MS)
        assert table.due_ms() == MIDNIGHT + 5 + 12 * HOUR_MS


def test_what_comes_due_while_one_runs_is_not_made_up_for() -> None:
    table = done(fresh("1h"), MIDNIGHT + HOUR_MS, takes_ms=5 * HOUR_MS)
    assert table.due_ms() == MIDNIGHT + 7 * HOUR_MS


def test_a_failed_one_is_tried_again_after_a_pause_that_grows_until_the_next_due_time() -> None:
    table, at_ms = fresh("weekly@mon 00:00"), Schedule.of("weekly@mon 00:00").next_after(MIDNIGHT, 0)
    next_ms, pauses = at_ms + 7 * DAY_MS, []
    while at_ms < next_ms:
        table = done(table, at_ms, FAILED)
        pauses.append((table.due_ms() - at_ms - MINUTE_MS) / MINUTE_MS)
        at_ms = table.due_ms()
    assert pauses[:-1] == [15, 60, 240, 960, 3_840]
    assert at_ms == next_ms
    assert done(table, at_ms, FAILED).due_ms() == at_ms + 16 * MINUTE_MS  # the next week begins anew
    assert done(table, at_ms).due_ms() == next_ms + 7 * DAY_MS


def test_one_that_the_end_of_the_process_interrupted_has_failed_and_is_tried_again() -> None:
    began_ms = MIDNIGHT + 3 * HOUR_MS
    table = resumed(fresh().begun(began_ms), "daily@03:00", began_ms + MINUTE_MS)
    assert table.began_ms is None
    assert table.last is not None
    assert table.last.outcome == Outcome(verdict="failed", reason=INTERRUPTED)
    assert table.due_ms() == began_ms + 15 * MINUTE_MS


def test_another_schedule_and_the_time_of_another_exchange_begin_anew() -> None:
    table = done(fresh(), MIDNIGHT + 3 * HOUR_MS)
    assert resumed(table, "12h", MIDNIGHT + 4 * HOUR_MS).due_ms() == MIDNIGHT + 16 * HOUR_MS
    year_ago = MIDNIGHT - 365 * DAY_MS
    again = resumed(table, "daily@03:00", year_ago)
    assert again.due_ms() == year_ago + 3 * HOUR_MS
    assert again.counts == {"refused": 1}


@given(
    st.sampled_from(["1h", "12h", "daily@03:00", "weekly@sun 03:00"]),
    st.lists(
        st.tuples(st.integers(-2 * DAY_MS, 9 * DAY_MS), st.sampled_from([REFUSED, FAILED]), st.booleans()),
        max_size=30,
    ),
)
def test_whatever_the_clock_does_no_two_begin_for_one_due_time(
    schedule: str, life: list[tuple[int, Outcome, bool]]
) -> None:
    period_ms = Schedule.of(schedule).period_ms
    table, now_ms, taken = fresh(schedule), MIDNIGHT, []
    for step_ms, outcome, restarts in life:
        now_ms += max(step_ms, -period_ms // 2)
        if restarts:
            table = resumed(table, schedule, now_ms)
        if now_ms < table.due_ms():
            continue
        is_retry = table.failures > 0
        table = done(table, now_ms, outcome)
        if not is_retry:
            taken.append(table.done_ms)
        assert table.due_ms() > now_ms
    assert len(taken) == len(set(taken))


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    kept, table = KeptTimetable(tmp_path / "models"), done(fresh(), MIDNIGHT + 3 * HOUR_MS)
    assert kept.read() is None
    kept.write(table)
    assert kept.read() == table
    kept.path.write_bytes(kept.path.read_bytes()[:-9])
    with pytest.raises(StoreFailed, match=r"schedule\.json: cannot be read"):
        kept.read()


def test_a_disk_that_takes_nothing_is_said(tmp_path: Path) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreFailed, match="make room"):
        KeptTimetable(tmp_path, Disk(replace=full)).write(fresh())
