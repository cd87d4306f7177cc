"""The journal on disk: one directory an account, segments in it, and a snapshot beside each segment.

::

    state_dir/journal/paper-1/000001.jsonl             the first segment of a fresh account
                              000002.snapshot.json     the state with which segment 2 begins
                              000002.jsonl

``Journal`` reads, ``JournalWriter`` is the only writer; the state directory must be locked by its process.
A segment is never changed after the next one began, except that old ones are condensed: their market events,
nearly all of their bytes, are taken out.
"""

import hashlib
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from bot.adapters.state.disk import THIS_DISK, Disk, File, beside_of, keep_file, put_in_place, write_all
from bot.adapters.state.failpoint import reach
from bot.domain.errors import BadInput, StoreFailed
from bot.journal.entries import FORMAT, MARKET, Entry, Header, Place, encode
from bot.journal.lines import Chained, Damaged, check_lines, line_of, read_lines
from bot.journal.snapshot import Snapshot, named_by

FOLDER = "journal"
_SEGMENT = re.compile(r"(\d{6,})\.jsonl")
_ACCOUNT = re.compile(r"([a-z]+)-(\d+)")
_WHAT_TO_DO = (
    "restore a backup of the state directory; or look at the account yourself, move this directory away and "
    "start anew"
)


class Segment(msgspec.Struct, frozen=True):
    """A segment as it was read. ``torn_bytes`` of an unfinished write at its end do not count."""

    path: Path
    header: Header
    entries: Sequence[Chained]
    end: Place
    size: int
    torn_bytes: int


class Bookmark(msgspec.Struct, frozen=True):
    """A place in a segment that a reader has come to: its last entry, and where that line begins and ends."""

    entry: int
    crc: int
    line: int
    end: int


class Journal:
    """Reads the journal of one account; needs no lock, so it works beside a running daemon."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.account = folder.name

    def numbers(self) -> list[int]:
        """Return the numbers of the segments, oldest first."""
        found = (_SEGMENT.fullmatch(name) for name in _names(self.folder))
        return sorted(int(match[1]) for match in found if match)

    def path(self, number: int) -> Path:
        """Return the file of a segment."""
        return self.folder / f"{number:06d}.jsonl"

    def snapshot_path(self, number: int) -> Path:
        """Return the file of the state with which a segment begins."""
        return self.folder / f"{number:06d}.snapshot.json"

    def size(self, number: int) -> int:
        """Return the bytes that a segment and its snapshot take on the disk."""
        paths = (self.path(number), self.snapshot_path(number))
        return sum(path.stat().st_size for path in paths if path.exists())

    def last(self) -> Segment | None:
        """Return the newest segment; None for an account without one.

        A newer file without a whole header was never begun: the process died while it made the file.

        Raises:
            StoreFailed: it is damaged or cannot be read.
        """
        for number in reversed(self.numbers()):
            segment = self.read(number)
            if segment is not None:
                return segment
        return None

    def read(self, number: int) -> Segment | None:
        """Return a segment; None if its header is not complete.

        Raises:
            StoreFailed: it is damaged or cannot be read.
        """
        path = self.path(number)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StoreFailed(f"{path}: cannot be read ({error.strerror})") from error
        return self.parse(number, data)

    def parse(self, number: int, data: bytes) -> Segment | None:
        """Return the segment that ``data`` holds; None if its header is not complete.

        Raises:
            StoreFailed: it is damaged, or another one.
        """
        path = self.path(number)
        try:
            header = _header_of(data)
            if header is None:
                return None
            before = header.previous or Place(0, 0, 0)
            chained = list(read_lines(data, before.crc, before.entry + 1))
        except Damaged as error:
            raise StoreFailed(f"{path}: {error}; {_WHAT_TO_DO}") from error
        if header.format != FORMAT or header.account != self.account or header.segment != number:
            raise StoreFailed(
                f"{path}: holds segment {header.segment} of {header.account}, format {header.format}; "
                f"expected segment {number} of {self.account}, format {FORMAT}"
            )
        end = Place(number, chained[-1].number, chained[-1].crc)
        size = chained[-1].end
        return Segment(path, header, chained[1:], end, size, max(0, len(data) - size))

    def is_condensed(self, number: int) -> bool:
        """Return True if a segment's market events were taken out; reads its first line alone.

        Raises:
            StoreFailed: it is damaged or cannot be read.
        """
        path = self.path(number)
        try:
            with path.open("rb") as file:
                header = _header_of(file.readline())
        except OSError as error:
            raise StoreFailed(f"{path}: cannot be read ({error.strerror})") from error
        except Damaged as error:
            raise StoreFailed(f"{path}: {error}; {_WHAT_TO_DO}") from error
        return header is not None and header.condensed is not None

    def since(self, number: int, mark: Bookmark) -> list[Chained] | None:
        """Return the entries of a segment behind a mark; None if the file is not as it was at the mark.

        Raises:
            StoreFailed: what follows is damaged, or cannot be read.
        """
        path = self.path(number)
        try:
            with path.open("rb") as file:
                file.seek(mark.line)
                data = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreFailed(f"{path}: cannot be read ({error.strerror})") from error
        cut = mark.end - mark.line
        if cut <= 0 or data[:9] != b"%08x " % mark.crc or data[cut - 1 : cut] != b"\n":
            return None
        try:
            found = list(read_lines(data[cut:], mark.crc, mark.entry + 1))
        except Damaged as error:
            raise StoreFailed(f"{path}: behind byte {mark.end}: {error}; {_WHAT_TO_DO}") from error
        return [msgspec.structs.replace(each, end=mark.end + each.end) for each in found]

    def snapshot(self, header: Header) -> Snapshot | None:
        """Return the state with which a segment begins; None for a fresh account.

        Raises:
            StoreFailed: it is missing, damaged, or not the one that the header names.
        """
        if header.snapshot_sha256 is None:
            return None
        path = self.snapshot_path(header.segment)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StoreFailed(f"{path}: cannot be read ({error.strerror}); {_WHAT_TO_DO}") from error
        kept = self.check_snapshot(header.segment, data)
        if named_by(data) != header.snapshot_sha256:
            raise StoreFailed(f"{path}: is not the snapshot that its segment names; {_WHAT_TO_DO}")
        return kept

    def check_snapshot(self, number: int, data: bytes) -> Snapshot:
        """Return the snapshot that ``data`` holds.

        Raises:
            StoreFailed: it is damaged.
        """
        try:
            return Snapshot.decode(data)
        except BadInput as error:
            raise StoreFailed(f"{self.snapshot_path(number)}: {error}; {_WHAT_TO_DO}") from error

    def check(self, number: int, before: Place | None) -> Place | None:
        """Check a segment and its snapshot, faster than reading it; return where it ended.

        ``before`` is where the segment before it ended, None if that is not known. The writer of this
        journal may condense segments meanwhile. None: the segment was never begun.

        Raises:
            StoreFailed: it is damaged, does not carry on from the one before, or cannot be read.
        """
        path = self.path(number)
        try:
            data = path.read_bytes()
            header = _header_of(data)
            if header is None:
                return before
            previous = header.previous or Place(0, 0, 0)
            end = Place(number, *check_lines(data, previous.crc, previous.entry + 1))
        except OSError as error:
            raise StoreFailed(f"{path}: cannot be read ({error.strerror})") from error
        except Damaged as error:
            raise StoreFailed(f"{path}: {error}; {_WHAT_TO_DO}") from error
        if before is not None and header.previous != before:
            raise StoreFailed(_not_following(path, before))
        try:
            self.snapshot(header)
        except StoreFailed:
            if not self.is_condensed(number):  # else its snapshot went meanwhile
                raise
        return header.condensed or end

    def all(self) -> Iterator[Segment]:
        """Yield every segment, oldest first, and check that each carries on from the one before.

        Raises:
            StoreFailed: one is damaged, missing, or does not follow the one before.
        """
        before: Segment | None = None
        for number in self.numbers():
            segment = self.read(number)
            if segment is None:
                continue
            if before is not None and segment.header.previous != ended_at(before):
                raise StoreFailed(_not_following(segment.path, before.end))
            yield segment
            before = segment


def _not_following(path: Path, before: Place) -> str:
    return (
        f"{path}: does not carry on from {before.segment:06d}.jsonl; a segment is missing or was changed; "
        f"{_WHAT_TO_DO}"
    )


def ended_at(segment: Segment) -> Place:
    """Return where a segment ended, or once ended before it was condensed."""
    return segment.header.condensed or segment.end


def account_folders(state_dir: Path, kind: str) -> list[Path]:
    """Return the journals of a venue kind such as ``paper``, oldest account first."""
    found = []
    for name in _names(state_dir / FOLDER):
        match = _ACCOUNT.fullmatch(name)
        if match and match[1] == kind:
            found.append((int(match[2]), name))
    return [state_dir / FOLDER / name for _, name in sorted(found)]


class Draft:
    """The snapshot of the segment to come while it is being written; no reader knows of it.

    Any thread may write it. Once it was given up nothing more is written, so another one may begin. Raises
    ``OSError`` as the disk does.
    """

    def __init__(self, disk: Disk, path: Path, present: File | None) -> None:
        self.path = path
        self._present = present
        self._lock = threading.Lock()
        self._given_up = False
        self._sha = hashlib.sha256()
        disk.remove(beside_of(path))
        self._file = disk.append(beside_of(path))

    def write(self, pieces: Iterable[bytes]) -> bool:
        """Write pieces of it; return False if it was given up."""
        for piece in pieces:
            with self._lock:
                if self._given_up:
                    return False
                write_all(self._file, piece)
            self._sha.update(piece)
        return True

    def sync(self) -> bool:
        """Sync what there is of it, and the present segment; return False if it was given up."""
        with self._lock:
            if self._given_up:
                return False
            if self._present is not None:
                self._present.sync()
            self._file.sync()
        return True

    def end(self) -> str:
        """Write its checksum and have all of it on the disk; return its name."""
        name = self._sha.hexdigest()
        try:
            self.write((b"\n" + name.encode(),))
            self._file.sync()
        finally:
            self.give_up()
        return name

    def give_up(self) -> None:
        """Let nobody write any more; a draft that has not ended is of no use then."""
        with self._lock:
            if not self._given_up:
                self._given_up = True
                self._file.close()


class JournalWriter:
    """Appends to the journal of one account. The first write that fails ends it: nothing more is taken.

    Raises:
        StoreFailed: the directory cannot be made.
    """

    def __init__(self, folder: Path, disk: Disk = THIS_DISK) -> None:
        self.journal = Journal(folder)
        self.failed = ""
        """Why nothing more can be written."""
        self.size = 0
        """Bytes of the present segment."""
        self.synced = True
        self._disk = disk
        self._file: File | None = None
        self._end = Place(0, 0, 0)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._disk.sync_directory(folder.parent)
        except OSError as error:
            self.fail(error)

    @property
    def end(self) -> Place:
        """Where the journal ends."""
        return self._end

    def resume(self, segment: Segment) -> None:
        """Go on in a segment that was read; cut off what a crash has torn.

        Raises:
            StoreFailed: it cannot be written.
        """
        try:
            if segment.torn_bytes:
                self._disk.cut(segment.path, segment.size)
            file = self._disk.append(segment.path)
            if len(segment.path.read_bytes()) < segment.size:
                write_all(file, b"\n")  # only the last line end was torn off
        except OSError as error:
            self.fail(error)
        self._file, self._end, self.size = file, segment.end, segment.size

    def draft(self) -> Draft:
        """Begin the snapshot of the segment to come.

        Raises:
            StoreFailed: it cannot be written.
        """
        self._check()
        reach("snapshot.before")
        try:
            return Draft(self._disk, self.journal.snapshot_path(self._end.segment + 1), self._file)
        except OSError as error:
            self.fail(error)

    def begin(self, header: Header, snapshot: Draft | None = None) -> None:
        """Begin a new segment; its place in the chain and the snapshot's name are filled in.

        Snapshot and header are on the disk when this returns. A crash before that leaves the old segment as
        the newest one.

        Raises:
            StoreFailed: it cannot be written.
        """
        self._check()
        before = self._end if self._end.segment else None
        number = self._end.segment + 1
        old = self._file
        try:
            if old is not None:
                old.sync()
            name = None
            if snapshot is not None:
                name = snapshot.end()
                put_in_place(self._disk, snapshot.path)
            header = msgspec.structs.replace(
                header,
                format=FORMAT,
                account=self.journal.account,
                segment=number,
                previous=before,
                snapshot_sha256=name,
            )
            line, crc = line_of(encode(header), self._end.entry + 1, self._end.crc)
            self._disk.remove(self.journal.path(number))
            self._file = self._disk.append(self.journal.path(number))
            reach("header.before")
            write_all(self._file, line)
            self._file.sync()
            reach("header.after")
            self._disk.sync_directory(self.journal.folder)
        except OSError as error:
            self.fail(error)
        finally:
            if old is not None and old is not self._file:
                old.close()
        self.size, self.synced = len(line), True
        self._end = Place(number, self._end.entry + 1, crc)

    def append(self, entry: Entry) -> int:
        """Append an entry; return its number.

        Raises:
            StoreFailed: it cannot be written.
        """
        self._check()
        assert self._file is not None, "a segment was begun or resumed"
        number = self._end.entry + 1
        line, crc = line_of(encode(entry), number, self._end.crc)
        try:
            reach("append.before")
            write_all(self._file, line)
            reach("append.after")
        except OSError as error:
            self.fail(error)
        self._end = Place(self._end.segment, number, crc)
        self.size += len(line)
        self.synced = False
        return number

    def sync(self) -> None:
        """Return once everything appended is on the disk.

        Raises:
            StoreFailed: it cannot be kept.
        """
        self._check()
        if self.synced or self._file is None:
            return
        try:
            reach("sync.before")
            self._file.sync()
            reach("sync.after")
        except OSError as error:
            self.fail(error)
        self.synced = True

    def close(self) -> None:
        """Close the file; what is not synced is synced if possible.

        Raises:
            StoreFailed: it cannot be kept.
        """
        file, self._file = self._file, None
        if file is None:
            return
        try:
            if not self.failed and not self.synced:
                file.sync()
        except OSError as error:
            self.fail(error)
        finally:
            file.close()

    def _check(self) -> None:
        if self.failed:
            raise StoreFailed(f"{self.journal.folder}: {self.failed}; nothing more can be kept")

    def fail(self, error: OSError) -> NoReturn:
        """Take nothing more: the disk has failed.

        Raises:
            StoreFailed: always.
        """
        self.failed = error.strerror or type(error).__name__
        raise StoreFailed(f"{self.journal.folder}: {self.failed}; make room, then start again") from error


def condense(journal: Journal, number: int, disk: Disk = THIS_DISK) -> int:
    """Take the market events out of an old segment and drop its snapshot; return the bytes that it lost.

    The segment can then be read but no longer replayed. Its chain begins anew; its header keeps where the
    segment once ended, so the next segment still carries on from it.

    Raises:
        StoreFailed: it is damaged, or cannot be written.
    """
    if journal.is_condensed(number):
        return 0
    segment = journal.read(number)
    if segment is None:
        return 0
    before = segment.header.previous or Place(0, 0, 0)
    header = msgspec.structs.replace(segment.header, condensed=segment.end, snapshot_sha256=None)
    lines, crc = [], before.crc
    kept = [header, *(each.entry for each in segment.entries if not isinstance(each.entry, MARKET))]
    for index, entry in enumerate(kept):
        line, crc = line_of(encode(entry), before.entry + 1 + index, crc)
        lines.append(line)
    size = journal.size(number)
    try:
        keep_file(disk, segment.path, b"".join(lines))
        disk.remove(journal.snapshot_path(number))
    except OSError as error:
        raise StoreFailed(f"{segment.path}: {error.strerror}") from error
    return size - journal.size(number)


def _names(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []


def _header_of(data: bytes) -> Header | None:
    """Return the header that a segment begins with; None if its line is not complete.

    The chain before it is taken from the header itself, then checked.

    Raises:
        Damaged: the first line is no header.
    """
    end = data.find(b"\n")
    if end < 0 and not data.rstrip(b"\0").endswith(b"}"):
        return None
    line = data[:end] if end >= 0 else data.rstrip(b"\0")
    body = line.split(b" ", 3)[-1]
    try:
        header = msgspec.json.decode(body, type=Header)
    except msgspec.MsgspecError as error:
        if end < 0:
            return None
        raise Damaged(1, 0, f"no header of a segment ({error})") from error
    return header
