"""The files of a recording: blocks that are whole or absent, rotation, and a bound on the size of the folder.

A file is a chain of gzip members, one a block: written by one call, synced, and complete in itself. So
whatever kills the recorder or the machine, a file can be read up to its last whole block. gzip and not zstd:
Python has it, every system reads it (``zcat``), and frames of the local exchange shrink to a fifth by either.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from bot.adapters.recordings.rows import Row, rows_of
from bot.adapters.state.disk import THIS_DISK, Disk, File, write_all
from bot.adapters.state.lock import exclusive
from bot.domain.errors import BadFile, StoreFailed

SUFFIX = ".frames.gz"
_NAME = re.compile(r"(\d{8}T\d{6}\.\d{6})Z" + re.escape(SUFFIX))
_TIME = "%Y%m%dT%H%M%S.%f"
_LEVEL = 6
_GZIP = 31
"""zlib's window bits for a gzip member."""
_CHUNK_BYTES = 1 << 20
_BLOCK_BYTES_MAX = 256 << 20
"""A larger block was not written by a recorder: reading it would use up the memory."""
_MAGIC = b"\x1f\x8b\x08"
_TAIL_BYTES = 8 << 20
_PARTS = 16
"""A file has at most this part of the folder's bound, so that removing the oldest removes little."""


def recording_files(folder: Path) -> list[Path]:
    """Return the files of a recording, oldest first; empty if the folder holds none."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


class RecordedFile:
    """The rows of one file. ``torn_bytes``, once they are read: what a kill has cut off at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn_bytes = 0

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows.

        Raises:
            BadFile: the file is damaged, or holds something else.
        """
        for at, block in self._blocks():
            yield from rows_of(block, f"{self.path}, block at byte {at}")

    def _blocks(self) -> Iterator[tuple[int, bytes]]:
        """Yield each whole block with its place in the file."""
        self.torn_bytes = at = 0
        left = b""
        try:
            with self.path.open("rb") as file:
                while left := left or file.read(_CHUNK_BYTES):
                    member, parts, taken = zlib.decompressobj(_GZIP), list[bytes](), 0
                    while not member.eof:
                        if not left and not (left := file.read(_CHUNK_BYTES)):
                            self.torn_bytes = taken
                            return
                        parts.append(member.decompress(left, _BLOCK_BYTES_MAX))
                        taken += len(left) - len(member.unused_data)
                        left = member.unused_data
                        if member.unconsumed_tail or sum(map(len, parts)) > _BLOCK_BYTES_MAX:
                            raise BadFile(f"{self.path}, block at byte {at}: larger than any that we write")
                    yield at, b"".join(parts)
                    at += taken
        except zlib.error as error:
            raise BadFile(
                f"{self.path}, block at byte {at}: damaged ({error}); the rows before it can be used, "
                "move the file away or get it again"
            ) from error
        except OSError as error:
            raise BadFile(f"{self.path}: cannot be read ({error.strerror})") from error


def last_rows(path: Path) -> list[Row]:
    """Return the rows of the last whole blocks of a file, without reading those before them.

    Raises:
        BadFile: the file is damaged, or holds something else.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            tail = file.read()
    except OSError as error:
        raise BadFile(f"{path}: cannot be read ({error.strerror})") from error
    at = len(tail)
    while (at := tail.rfind(_MAGIC, 0, at)) >= 0:
        member = zlib.decompressobj(_GZIP)
        try:
            block = member.decompress(tail[at:], _BLOCK_BYTES_MAX)
        except zlib.error:
            continue  # these bytes only look like the beginning of a block
        if member.eof:
            return list(rows_of(block, f"{path}, its end"))
    return list(RecordedFile(path))


class RecordingFolder:
    """Writes blocks into a folder that one recorder holds.

    Args:
        path: the folder; made if it is missing.
        max_bytes: of all its recording files; beyond that the oldest go.
        on_removed: called with each file that was removed for that, and its size in bytes.

    Raises:
        Occupied: another recorder writes there.
        StoreFailed: the folder cannot be used.
    """

    def __init__(
        self,
        path: Path,
        max_bytes: int,
        on_removed: Callable[[Path, int], None],
        disk: Disk = THIS_DISK,
    ) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.written_bytes = 0
        """By this process, compressed."""
        self._on_removed = on_removed
        self._disk = disk
        self._file: File | None = None
        self._name: Path | None = None
        self._file_bytes = 0
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = exclusive(path / "lock", self._occupied)
        except OSError as error:
            raise StoreFailed(f"{path}: cannot be used ({error.strerror}); name another --out") from error
        self._sizes = {each: each.stat().st_size for each in recording_files(path)}
        """Of the files that are there."""

    @property
    def is_full(self) -> bool:
        """True once the present file has its part of the folder's bound."""
        return self._file_bytes * _PARTS >= self.max_bytes

    def begin(self, now_us: int) -> None:
        """Close the present file and begin one that is named by the time.

        Raises:
            StoreFailed: it cannot be made.
        """
        self._end()
        latest = max((_began_us(each) for each in self._sizes), default=0)
        # Files stay in order if the clock is set back.
        self._name = self.path / _name(max(now_us, latest + 1))
        self._file_bytes = 0
        try:
            self._file = self._disk.append(self._name)
            self._disk.sync_directory(self.path)
        except OSError as error:
            raise self._failed(error) from error
        self._sizes[self._name] = 0

    def store(self, rows: bytes) -> None:
        """Append a block, on the disk when this returns; then remove the oldest files beyond the bound.

        Raises:
            StoreFailed: the disk does not take it. What is there stays readable.
        """
        assert self._file is not None, "begin comes first"
        assert self._name is not None, "begin comes first"
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        block = packer.compress(rows) + packer.flush()
        try:
            write_all(self._file, block)
            self._file.sync()
        except OSError as error:
            raise self._failed(error) from error
        self._file_bytes += len(block)
        self.written_bytes += len(block)
        self._sizes[self._name] = self._file_bytes
        self._prune(self._name)

    def close(self) -> None:
        """Close the present file and let another recorder write here."""
        self._end()
        self._lock.close()

    def _prune(self, present: Path) -> None:
        while sum(self._sizes.values()) > self.max_bytes:
            oldest = min(self._sizes)
            if oldest == present:
                return
            size = self._sizes.pop(oldest)
            try:
                self._disk.remove(oldest)
            except OSError as error:
                raise self._failed(error) from error
            self._on_removed(oldest, size)

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None

    def _occupied(self, _holder: str) -> str:
        return f"{self.path}: another recorder writes there; stop it, or name another --out"

    def _failed(self, error: OSError) -> StoreFailed:
        return StoreFailed(
            f"{self._name}: cannot be written ({error.strerror}); what was recorded until then can be read, "
            "make room or name another --out"
        )


def _name(began_us: int) -> str:
    seconds, rest_us = divmod(began_us, 1_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_us)
    return f"{moment:{_TIME}}Z{SUFFIX}"


def _began_us(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    assert found is not None, "recording_files takes no other names"
    moment = datetime.strptime(found[1], _TIME).replace(tzinfo=UTC)
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond
