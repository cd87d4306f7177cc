"""A disk that fails the n-th act, and one that loses what was not synced."""

import errno
import os
from pathlib import Path

from bot.adapters.state.disk import Disk, DiskFile, File


class FailingDisk:
    """Fails the n-th open, write, sync, rename, removal or cut; a write that fails takes a part.

    ``for_good``: each later act fails, too. ``synced`` is how much of each file would outlive a power cut.
    """

    def __init__(self, fails_at: int, *, for_good: bool = False) -> None:
        self.left = fails_at
        self.for_good = for_good
        self.failed = False
        self.synced: dict[Path, int] = {}
        self.disk = Disk(
            append=self.append,
            replace=self.replace,
            remove=self.remove,
            cut=self.cut,
            sync_directory=self.sync_directory,
        )

    def act(self) -> None:
        self.left -= 1
        if self.left == 0 or (self.left < 0 and self.for_good):
            self.failed = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def lose_unsynced(self) -> None:
        """Cut the power."""
        for path, size in self.synced.items():
            if path.exists():
                os.truncate(path, size)

    def append(self, path: Path) -> File:
        self.act()
        self.synced[path] = path.stat().st_size if path.exists() else 0
        return _File(path, self)

    def replace(self, old: Path, new: Path) -> None:
        self.act()
        old.replace(new)
        self.synced[new] = self.synced.pop(old)

    def remove(self, path: Path) -> None:
        self.act()
        path.unlink(missing_ok=True)

    def cut(self, path: Path, size: int) -> None:
        self.act()
        os.truncate(path, size)

    def sync_directory(self, folder: Path) -> None:
        self.act()


class _File(DiskFile):
    def __init__(self, path: Path, disk: FailingDisk) -> None:
        super().__init__(path)
        self._path = path
        self._disk = disk

    def write(self, data: bytes) -> int:
        try:
            self._disk.act()
        except OSError:
            super().write(data[: len(data) // 2])
            raise
        return super().write(data)

    def sync(self) -> None:
        self._disk.act()
        self._disk.synced[self._path] = self._path.stat().st_size
