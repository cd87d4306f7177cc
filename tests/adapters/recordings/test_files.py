"""The files of a recording: readable after any cut, bounded, never damaged without a word."""

import zlib
from pathlib import Path

import pytest

from bot.adapters.recordings.files import RecordedFile, RecordingFolder, recording_files
from bot.adapters.recordings.rows import FRAME, MARK, End, frame_row, mark_row
from bot.domain.errors import BadFile, Occupied, StoreFailed
from tests.adapters.state.failing import FailingDisk

NOW_US = 1_767_225_600_123_456


def block(number: int, rows: int = 20) -> bytes:
    return b"".join(
        frame_row(NOW_US + number, b'{"topic":"t","n":%d}' % (number * rows + i)) for i in range(rows)
    )


def folder(path: Path, *, max_bytes: int = 10**9, removed: list[str] | None = None) -> RecordingFolder:
    found = removed if removed is not None else list[str]()
    return RecordingFolder(path, max_bytes, lambda file, size: found.append(file.name))


def recorded(path: Path, blocks: int) -> Path:
    """Write one file of so many blocks."""
    there = folder(path)
    there.begin(NOW_US)
    for number in range(blocks):
        there.store(block(number))
    there.close()
    (file,) = recording_files(path)
    return file


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    there = folder(tmp_path)
    there.begin(NOW_US)
    there.store(frame_row(5, b'{"a":\n1}') + mark_row(6, End("stopped")))
    there.close()
    (file,) = recording_files(tmp_path)
    frame, mark = RecordedFile(file)
    assert frame == (5, FRAME, b'{"a": 1}')
    assert (mark.received_us, mark.sort, mark.mark()) == (6, MARK, End("stopped"))
    assert zlib.decompress(file.read_bytes(), 31).startswith(b"5 {")  # as zcat does


def test_a_file_cut_anywhere_is_readable_up_to_its_last_whole_block(tmp_path: Path) -> None:
    whole = recorded(tmp_path / "whole", 3).read_bytes()
    ends = [len(recorded(tmp_path / str(n), n).read_bytes()) for n in range(4)]
    cut = tmp_path / "20260101T000000.000000Z.frames.gz"
    for size in range(len(whole) + 1):
        cut.write_bytes(whole[:size])
        file = RecordedFile(cut)
        blocks = max(n for n in range(4) if ends[n] <= size)
        assert sum(1 for _ in file) == 20 * blocks
        assert file.torn_bytes == size - ends[blocks]


def test_a_changed_byte_is_an_error_that_names_the_place(tmp_path: Path) -> None:
    file = recorded(tmp_path, 2)
    data = bytearray(file.read_bytes())
    data[len(data) // 2 + 15] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(BadFile, match=r"block at byte \d+"):
        list(RecordedFile(file))


def test_the_oldest_files_go_beyond_the_bound_and_files_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    removed: list[str] = []
    there = folder(tmp_path, max_bytes=2_000, removed=removed)
    began = []
    for number in range(30):
        there.begin(NOW_US + number * 1_000_000)
        began.append(max(recording_files(tmp_path)).name)
        there.store(block(number))
        assert sum(file.stat().st_size for file in recording_files(tmp_path)) <= 2_000
    there.close()
    left = [file.name for file in recording_files(tmp_path)]
    assert removed + left == began
    assert len(left) > 5
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_one_file_never_holds_a_large_part_of_the_bound(tmp_path: Path) -> None:
    there = folder(tmp_path, max_bytes=4_000)
    there.begin(NOW_US)
    for number in range(10):
        if there.is_full:
            break
        there.store(block(number))
    there.close()
    (file,) = recording_files(tmp_path)
    assert 4_000 / 16 <= file.stat().st_size < 4_000 / 8


def test_files_stay_in_order_when_the_clock_is_set_back(tmp_path: Path) -> None:
    for number, now_us in enumerate((NOW_US, NOW_US - 3_600_000_000, NOW_US)):
        there = folder(tmp_path)  # a process each
        there.begin(now_us)
        there.store(block(number, rows=1))
        there.close()
    rows = [row.text for file in recording_files(tmp_path) for row in RecordedFile(file)]
    assert rows == [b'{"topic":"t","n":%d}' % number for number in range(3)]


def test_a_second_recorder_is_refused(tmp_path: Path) -> None:
    first = folder(tmp_path)
    with pytest.raises(Occupied, match="another recorder"):
        folder(tmp_path)
    first.close()
    folder(tmp_path).close()


@pytest.mark.parametrize("fails_at", range(1, 8))
def test_a_full_disk_is_an_error_and_leaves_what_was_there(tmp_path: Path, fails_at: int) -> None:
    disk = FailingDisk(fails_at, for_good=True)
    there = RecordingFolder(tmp_path, 10**9, lambda file, size: None, disk.disk)
    stored: list[int] = []

    def write() -> None:
        there.begin(NOW_US)
        for number in range(3):
            there.store(block(number))
            stored.append(number)

    with pytest.raises(StoreFailed, match="No space left"):
        write()
    there.close()
    disk.lose_unsynced()
    rows = [row for file in recording_files(tmp_path) for row in RecordedFile(file)]
    assert len(rows) == 20 * len(stored)
