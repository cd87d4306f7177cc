"""The disk as what must outlive a crash sees it: append, sync, put in place, remove.

Everything that the bot relies on after a power cut goes through a ``Disk``. A test gives a full one, a
simulation one that loses what was not synced. Imports little: ``bot kill`` halts through it first.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from bot.adapters.state.failpoint import reach


class File(Protocol):
    """A file that is appended to."""

    def write(self, data: bytes) -> int:
        """Append; return how many bytes were taken."""

    def sync(self) -> None:
        """Return once all written bytes are on the disk."""

    def close(self) -> None:
        """Close the file."""


class DiskFile:
    """A file opened for appending, unbuffered; made if it is missing, for its owner alone."""

    def __init__(self, path: Path) -> None:
        self._raw: IO[bytes] = open(path, "ab", buffering=0, opener=_private)  # noqa: SIM115

    def write(self, data: bytes) -> int:
        """Append; a nearly full disk may take less than all."""
        return self._raw.write(data)

    def sync(self) -> None:
        """``fsync``."""
        os.fsync(self._raw.fileno())

    def close(self) -> None:
        """Close it."""
        self._raw.close()


def sync_directory(path: Path) -> None:
    """Have the disk keep what was made, renamed or removed in a directory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)
        os.fsync(file.fileno())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _replace(source: Path, target: Path) -> None:
    source.replace(target)


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The acts on a disk; reading needs no seam. Each raises ``OSError`` as the system does.

    ``append`` opens a file for appending; ``cut`` shortens one to so many bytes and syncs it. A file that was
    made, replaced or removed is sure to be so after a power cut only once ``sync_directory`` of its folder
    has returned.
    """

    append: Callable[[Path], File] = DiskFile
    replace: Callable[[Path, Path], None] = _replace
    remove: Callable[[Path], None] = _remove
    cut: Callable[[Path, int], None] = _cut
    sync_directory: Callable[[Path], None] = sync_directory


THIS_DISK = Disk()


def write_all(file: File, data: bytes) -> None:
    """Append all of ``data``."""
    left = data
    while left:
        left = left[file.write(left) :]


def keep_file(disk: Disk, path: Path, data: bytes) -> None:
    """Write a whole file so that a crash leaves the old one or the new one, never a part."""
    beside = beside_of(path)
    disk.remove(beside)
    file = disk.append(beside)
    try:
        write_all(file, data)
        file.sync()
    finally:
        file.close()
    put_in_place(disk, path)


def beside_of(path: Path) -> Path:
    """Return where a file is written before it is put in its place."""
    return path.with_name(path.name + ".new")


def put_in_place(disk: Disk, path: Path) -> None:
    """Put a file that was written and synced beside ``path`` in its place, for good."""
    beside = beside_of(path)
    reach("rename.before")
    disk.replace(beside, path)
    reach("rename.after")
    disk.sync_directory(path.parent)
