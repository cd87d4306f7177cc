"""A file that follows a journal: what it holds is always what a fresh one would hold."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters.state import follower
from bot.adapters.state.index import JournalIndex
from bot.adapters.state.journal import Journal, JournalWriter, condense
from bot.domain.errors import StoreFailed
from bot.domain.messages import Command, Quote
from tests.helpers import T0
from tests.service.daemons import HEADER


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[JournalWriter]:
    made = JournalWriter(tmp_path / "paper-1")
    made.begin(HEADER)
    yield made
    made.close()


def times(index: JournalIndex) -> list[object]:
    index.refresh()
    return index.columns("events")["ts_ms"]


def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The segments that are read from their beginning from now on."""
    seen: list[int] = []
    whole = Journal.read
    monkeypatch.setattr(Journal, "read", lambda self, number: seen.append(number) or whole(self, number))
    return seen


@pytest.mark.surface("journal")
def test_it_reads_on_where_it_stopped_and_holds_what_a_fresh_one_holds(
    writer: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        writer.append(Command(T0 + number, "pause"))
    index, expected = JournalIndex(writer.journal), [T0, T0 + 1, T0 + 2]
    seen = reads(monkeypatch)
    for number in range(3, 12):
        if number == 7:
            writer.begin(HEADER)
        writer.append(Quote(T0 + number, "BTCUSDT", 1.0, 2.0))
        writer.append(Command(T0 + number, "pause"))
        expected.append(T0 + number)
        assert times(index) == expected
    assert seen == [2]  # a new segment is read once from its beginning; no other is
    index.path.unlink()
    assert times(JournalIndex(writer.journal)) == expected


def test_another_process_goes_on_too(writer: JournalWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        writer.append(Command(T0 + number, "pause"))
    JournalIndex(writer.journal)
    writer.append(Command(T0 + 3, "pause"))
    seen = reads(monkeypatch)
    assert len(times(JournalIndex(writer.journal))) == 4
    assert seen == []


def test_nothing_new_costs_no_look_into_the_database(
    writer: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append(Command(T0, "pause"))
    index = JournalIndex(writer.journal)
    monkeypatch.setattr(follower.JournalFollower, "_catch_up", lambda self: pytest.fail("nothing is new"))
    index.refresh()


@pytest.mark.surface("journal")
def test_a_torn_line_is_read_once_it_is_whole(writer: JournalWriter) -> None:
    for number in range(2):
        writer.append(Command(T0 + number, "pause"))
    path = writer.journal.path(1)
    whole = path.read_bytes()
    for cut in range(len(whole) - 40, len(whole)):
        path.write_bytes(whole[:cut])
        index = JournalIndex(writer.journal)
        assert times(index)[:1] == [T0]
        path.write_bytes(whole)
        assert times(index) == [T0, T0 + 1]
        index.path.unlink()


@pytest.mark.surface("journal")
def test_damage_behind_the_mark_is_refused_by_name(writer: JournalWriter) -> None:
    for number in range(2):
        writer.append(Command(T0 + number, "pause"))
    index, seen_bytes = JournalIndex(writer.journal), writer.size
    writer.append(Command(T0 + 2, "pause"))
    writer.append(Command(T0 + 3, "pause"))
    path = writer.journal.path(1)
    data = bytearray(path.read_bytes())
    data[seen_bytes + 30] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreFailed, match=r"000001\.jsonl: behind byte \d+: line 1 "):
        index.refresh()


@pytest.mark.surface("journal")
def test_a_condensed_segment_and_another_journal_are_noticed(writer: JournalWriter, tmp_path: Path) -> None:
    for number in range(4):
        writer.append(Quote(T0 + number, "BTCUSDT", 1.0, 2.0))
        writer.append(Command(T0 + number, "pause"))
    index = JournalIndex(writer.journal)
    writer.begin(HEADER)
    condense(writer.journal, 1)
    writer.append(Command(T0 + 9, "pause"))
    assert times(index) == [T0, T0 + 1, T0 + 2, T0 + 3, T0 + 9]
    other = JournalWriter(tmp_path / "other" / "paper-1")
    other.begin(HEADER)
    for number in range(6):
        other.append(Command(7 + number, "resume"))
    other.close()
    writer.journal.path(2).unlink()
    writer.journal.path(1).write_bytes(other.journal.path(1).read_bytes())  # as from a backup
    assert times(JournalIndex(writer.journal)) == [7, 8, 9, 10, 11, 12]


@pytest.mark.surface("journal")
def test_another_journal_of_the_same_shape_is_noticed(writer: JournalWriter, tmp_path: Path) -> None:
    other = JournalWriter(tmp_path / "other" / "paper-1")
    other.begin(HEADER)
    for number in range(3):
        writer.append(Command(T0 + number, "pause"))
    index = JournalIndex(writer.journal)
    for number in range(5):
        other.append(Command(T0 + 500 + number, "pause"))  # lines of the same lengths
    other.close()
    writer.journal.path(1).write_bytes(other.journal.path(1).read_bytes())
    assert times(index) == [T0 + 500 + number for number in range(5)]


def test_after_a_restart_of_the_machine_it_is_built_again(
    writer: JournalWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.append(Command(T0, "pause"))
    index = JournalIndex(writer.journal)
    with sqlite3.connect(index.path) as database:
        database.execute("DELETE FROM events")  # what an unsynced file may have lost
    database.close()
    monkeypatch.setattr(follower, "_boot", lambda: "another")
    assert times(JournalIndex(writer.journal)) == [T0]


def test_a_file_that_is_no_database_is_built_again(writer: JournalWriter) -> None:
    writer.append(Command(T0, "pause"))
    index = JournalIndex(writer.journal)
    index.path.write_bytes(b"no database" * 100)
    assert times(JournalIndex(writer.journal)) == [T0]
