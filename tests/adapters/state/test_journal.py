"""The journal on disk: segments that carry on, snapshots that check, and disks that fail at any moment."""

import hashlib
import os
from pathlib import Path

import msgspec
import pytest

from bot.adapters.state.directory import StateDir
from bot.adapters.state.index import JournalIndex
from bot.adapters.state.journal import Journal, JournalWriter, account_folders, condense
from bot.domain.errors import Occupied, StoreFailed
from bot.domain.messages import Command, Filled, Quote
from bot.journal.entries import Answer, Closed, Effects, Header
from bot.journal.snapshot import Snapshot, first_part, last_part, named_by
from tests.adapters.state.failing import FailingDisk
from tests.helpers import T0, fill
from tests.journal.test_lines import EFFECTS, ENTRIES

HEADER = Header(format=1, account="", segment=0, process=1, ts_ms=T0, code="0", arguments=msgspec.Raw(b"{}"))
FIRST = b"".join(first_part((), (b'{"seq":7',)))
SNAPSHOT = FIRST + last_part(b"}", venue=None, risk_state="active", digest="ab")


def begun(writer: JournalWriter, snapshot: bytes = SNAPSHOT) -> None:
    """Begin a segment with a snapshot."""
    draft = writer.draft()
    try:
        draft.write([snapshot[:9], snapshot[9:]])
        writer.begin(HEADER, draft)
    except OSError as error:
        writer.fail(error)
    finally:
        draft.give_up()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "paper-1"


def filled(folder: Path, segments: int = 3) -> JournalWriter:
    writer = JournalWriter(folder)
    for number in range(segments):
        begun(writer) if number else writer.begin(HEADER)
        writer.append(Quote(T0 + number, "BTCUSDT", 1.0, 2.0))
        writer.append(Effects(EFFECTS))
    writer.sync()
    return writer


def test_segments_carry_on_from_one_another(folder: Path) -> None:
    filled(folder).close()
    journal = Journal(folder)
    segments = list(journal.all())
    assert [each.header.segment for each in segments] == [1, 2, 3]
    assert [each.entry for each in segments[1].entries] == [
        Quote(T0 + 1, "BTCUSDT", 1.0, 2.0),
        Effects(EFFECTS),
    ]
    assert [each.entries[-1].number for each in segments] == [3, 6, 9]
    assert journal.snapshot(segments[0].header) is None
    kept = journal.snapshot(segments[2].header)
    assert kept is not None
    assert bytes(kept.engine) == b'{"seq":7}'


def test_a_snapshot_of_an_older_version_has_its_checksum_first() -> None:
    body = SNAPSHOT
    old = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    new = body + b"\n" + hashlib.sha256(body).hexdigest().encode()
    assert Snapshot.decode(old) == Snapshot.decode(new)
    assert named_by(old) == named_by(new)


def opened(journal: Journal) -> Snapshot | None:
    """Read what a start reads."""
    last = journal.last()
    assert last is not None
    return journal.snapshot(last.header)


@pytest.mark.surface("journal")
@pytest.mark.parametrize("change", ["missing", "exchanged"])
def test_a_missing_or_exchanged_segment_is_refused_by_name(folder: Path, change: str) -> None:
    filled(folder).close()
    journal = Journal(folder)
    if change == "missing":
        journal.path(2).unlink()
    else:
        other = JournalWriter(folder.parent / "paper-2" / "paper-1")
        other.begin(HEADER)
        other.append(Command(T0, "halt"))
        other.close()
        journal.path(1).write_bytes(other.journal.path(1).read_bytes())
    with pytest.raises(StoreFailed, match=r"00000[23]\.jsonl: does not carry on from 000001\.jsonl"):
        list(journal.all())


@pytest.mark.fault(62)
@pytest.mark.invariant(15)
@pytest.mark.surface("journal")
def test_every_flipped_byte_of_a_segment_and_a_snapshot_is_refused_by_name(folder: Path) -> None:
    filled(folder).close()
    journal = Journal(folder)
    for path in (journal.path(3), journal.snapshot_path(3)):
        data = path.read_bytes()
        for at in range(len(data)):
            changed = bytearray(data)
            changed[at] ^= 0x20
            path.write_bytes(changed)
            with pytest.raises(StoreFailed, match=path.name):
                opened(journal)
        path.write_bytes(data)


@pytest.mark.fault(62)
@pytest.mark.invariant(15)
def test_cut_at_every_byte_of_its_last_entry_the_journal_goes_on_from_there(folder: Path) -> None:
    filled(folder, 1).close()
    journal = Journal(folder)
    data = journal.path(1).read_bytes()
    last = data[:-1].rfind(b"\n") + 1
    for cut in range(last, len(data)):
        journal.path(1).write_bytes(data[:cut])
        segment = journal.last()
        assert segment is not None
        writer = JournalWriter(folder)
        writer.resume(segment)
        writer.append(Command(T0, "unhalt"))
        writer.close()
        again = journal.last()
        assert again is not None
        assert again.torn_bytes == 0
        assert [each.entry for each in again.entries][:-1] == [each.entry for each in segment.entries]
        assert len(segment.entries) == (2 if cut == len(data) - 1 else 1)


@pytest.mark.fault(62)
def test_a_segment_whose_header_is_not_complete_was_never_begun(folder: Path) -> None:
    filled(folder, 2).close()
    journal = Journal(folder)
    data = journal.path(2).read_bytes()
    header = data[: data.find(b"\n")]
    for cut in range(len(header)):
        journal.path(2).write_bytes(header[:cut])
        segment = journal.last()
        assert segment is not None
        assert segment.header.segment == 1
    writer = JournalWriter(folder)
    writer.resume(segment)
    begun(writer)  # the unfinished file is replaced
    writer.close()
    assert [each.header.segment for each in journal.all()] == [1, 2]


@pytest.mark.parametrize("data", [b"\n", b"nonsense\n", b"deadbeef 1 2 {}\n", b"00000000 1 2 {}\n"])
def test_a_file_that_is_no_segment_is_refused_not_begun_again(folder: Path, data: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / "000001.jsonl").write_bytes(data)
    with pytest.raises(StoreFailed, match=r"000001\.jsonl: line 1"):
        Journal(folder).last()


def test_another_format_is_refused_with_both_numbers(folder: Path) -> None:
    filled(folder, 1).close()
    path = Journal(folder).path(1)
    from bot.journal.entries import encode
    from bot.journal.lines import line_of

    line, _ = line_of(encode(msgspec.structs.replace(HEADER, format=2, account="paper-1", segment=1)), 1, 0)
    path.write_bytes(line)
    with pytest.raises(StoreFailed, match="format 2; expected segment 1 of paper-1, format 1"):
        Journal(folder).last()


@pytest.mark.fault(64)
def test_whichever_act_of_the_disk_fails_nothing_promised_is_lost(tmp_path: Path) -> None:
    for fails_at in range(1, 200):
        folder = tmp_path / f"{fails_at}" / "paper-1"
        folder.parent.mkdir()
        disk, promised = FailingDisk(fails_at), []
        failed, writer = "", None
        try:
            writer = JournalWriter(folder, disk.disk)
            for number in range(2):
                begun(writer) if number else writer.begin(HEADER)
                for what in ("pause", "halt"):
                    entry = Command(T0 + number, what)  # type: ignore[arg-type]
                    writer.append(entry)
                    writer.sync()
                    promised.append(entry)
        except StoreFailed as error:
            failed = str(error)
        assert not failed or "No space left" in failed
        if failed and writer is not None:
            with pytest.raises(StoreFailed, match="nothing more can be kept"):
                writer.append(Closed(T0, "error"))  # room that comes back must not hide what was lost
        if writer is not None:
            writer.close()
        there = [each.entry for segment in Journal(folder).all() for each in segment.entries]
        assert there[: len(promised)] == promised, fails_at
        assert len(there) <= len(promised) + 1
        if not failed:
            break
    assert fails_at > 20
    assert not failed


def test_a_condensed_segment_keeps_all_but_market_events_and_its_place_in_the_chain(folder: Path) -> None:
    writer = JournalWriter(folder)
    for number in range(2):
        begun(writer) if number else writer.begin(HEADER)
        for entry in ENTRIES[1:]:
            writer.append(entry)
    writer.close()
    journal = Journal(folder)
    whole = journal.path(1).stat().st_size
    assert condense(journal, 1) == whole - journal.path(1).stat().st_size > 0
    assert condense(journal, 1) == 0
    first, second = journal.all()
    kinds = [type(each.entry) for each in first.entries]
    assert Quote not in kinds
    assert {Command, Answer, Effects} <= set(kinds)
    assert second.header.previous == first.header.condensed


@pytest.mark.surface("journal")
@pytest.mark.surface("process")
def test_what_others_execute_on_a_shared_account_is_no_fill_of_ours(folder: Path) -> None:
    writer = JournalWriter(folder)
    named = msgspec.structs.replace(HEADER, arguments=msgspec.Raw(b'{"name":"bot1"}'))
    writer.begin(named)
    for number, (order_id, cause) in enumerate(
        [("bot1-5-0", "order"), ("bot12-5-0", "order"), ("by-hand", "order"), ("", "stop_loss")]
    ):
        made = fill(order_id=order_id, exec_id=f"x{number}")
        writer.append(Filled(msgspec.structs.replace(made, cause=cause)))
    writer.close()
    index = JournalIndex(writer.journal)
    assert [each.exec_id for each in index.fills()] == ["x0", "x3"]
    assert len(index.columns("fills")["exec_id"]) == 4  # the export shows all


def test_files_are_their_owners_alone(folder: Path) -> None:
    filled(folder, 2).close()
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_accounts_are_found_oldest_first(tmp_path: Path) -> None:
    for name in ("paper-10", "paper-2", "demo-1", "paper-x", "other"):
        (tmp_path / "journal" / name).mkdir(parents=True)
    assert [each.name for each in account_folders(tmp_path, "paper")] == ["paper-2", "paper-10"]


@pytest.mark.fault(63)
def test_one_directory_one_daemon_and_the_second_is_told_which(tmp_path: Path) -> None:
    first = StateDir(tmp_path / "state")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    with pytest.raises(Occupied, match=rf"another bot runs .* \(process {os.getpid()}\)"):
        StateDir(tmp_path / "state")
    first.close()
    StateDir(tmp_path / "state").close()
