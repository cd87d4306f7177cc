"""Older segments are checked beside the run: what is damaged is told once, and of sound ones nothing."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from bot.adapters.state.journal import Journal, condense
from bot.service.alarms.notes import alert_of
from bot.service.daemon import older_segments
from bot.service.daemon.older_segments import OlderSegments
from tests.adapters.state.test_journal import filled


@pytest.fixture(autouse=True)
def _without_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(older_segments, "_REST_S", 0.0)


async def checked(
    journal: Journal, last: int = 4
) -> tuple[list[str], list[tuple[str, Mapping[str, object]]]]:
    notes: list[tuple[str, Mapping[str, object]]] = []
    older = OlderSegments(journal, last, lambda name, facts: notes.append((name, facts)))
    task = asyncio.create_task(older.run())
    while older.checked < len(journal.numbers()[:last]):  # noqa: ASYNC110 (it offers no event)
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert not task.done()  # a task that ends would end the daemon
    task.cancel()
    return older.damaged, notes


def journal_of_four(folder: Path) -> Journal:
    filled(folder, 4).close()
    return Journal(folder)


async def test_sound_segments_condensed_or_not_are_told_of_nothing(tmp_path: Path) -> None:
    journal = journal_of_four(tmp_path / "journal" / "paper-1")
    condense(journal, 1)
    condense(journal, 2)
    assert await checked(journal) == ([], [])


@pytest.mark.fault(62)
@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("a digit", "000001.jsonl: line 2"),
        ("the last line", "000002.jsonl: does not carry on from 000001.jsonl"),
        ("a torn end", "000002.jsonl: does not carry on from 000001.jsonl"),
        ("a whole file", "000003.jsonl: does not carry on from 000001.jsonl"),
        ("a snapshot", "000002.snapshot.json"),
    ],
)
async def test_each_damage_is_an_alarm_that_names_the_file(what: str, named: str, tmp_path: Path) -> None:
    journal = journal_of_four(tmp_path / "journal" / "paper-1")
    first = journal.path(1)
    data = first.read_bytes()
    match what:
        case "a digit":
            at = data.index(b"BTCUSDT")
            first.write_bytes(data[:at] + b"b" + data[at + 1 :])
        case "the last line":
            first.write_bytes(data[: data[:-1].rindex(b"\n") + 1])
        case "a torn end":
            first.write_bytes(data[:-20])
        case "a whole file":
            journal.path(2).unlink()
        case _:
            kept = journal.snapshot_path(2)
            kept.write_bytes(kept.read_bytes().replace(b'"seq":7', b'"seq":8'))
    damaged, notes = await checked(journal)
    assert len(damaged) == 1
    assert named in damaged[0]
    assert [name for name, _ in notes] == ["journal_damaged"]
    level, words, do = alert_of(*notes[0])  # type: ignore[misc]
    assert level == "error"
    assert named in words
    assert "bot journal verify" in do


async def test_many_damaged_segments_are_one_alarm(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal" / "paper-1")
    filled(journal.folder, 6).close()
    for number in range(1, 6):
        path = journal.path(number)
        path.write_bytes(path.read_bytes().replace(b"BTCUSDT", b"XTCUSDT", 1))
    damaged, notes = await checked(journal, 6)
    assert len(damaged) == 5
    assert len(notes) == 1
    assert "and 2 more" in str(notes[0][1]["reason"])
