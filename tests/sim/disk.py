"""A disk that forgets: after a power cut, of what was not synced anything may be there, or nothing.

The files are real ones, so a reader needs no seam. Bytes are sure once their file is synced; a name is sure
once its folder is. At a power cut a file keeps what was synced and the first of the rest up to a random byte,
perhaps with zeros after it; of the folder's changes a random number of the first is kept.
"""

import errno
import random
from collections.abc import Callable
from pathlib import Path

from bot.adapters.state.disk import Disk
from tests.sim.loop import CURRENT, Process


class _Body:
    """The bytes of one file, whatever its names."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = bytearray(content)
        self.synced = len(content)
        self.told = 0
        """Bytes of it that the listener has been told of."""


class SimFile:
    """A file of a ``SimDisk``; dead with the process that opened it."""

    def __init__(self, disk: "SimDisk", path: Path, body: _Body) -> None:
        self._disk = disk
        self._path = path
        self._body = body
        self._process: Process | None = CURRENT.get()

    @property
    def _dead(self) -> bool:
        return self._process is not None and not self._process.alive

    def write(self, data: bytes) -> int:
        if self._dead:
            return len(data)
        data = data[: self._disk.room(len(data))]
        self._body.content += data
        if self._disk.holds(self._path, self._body):
            with self._path.open("ab", buffering=0) as file:  # a dead process must not hold it open
                file.write(data)
        return len(data)

    def sync(self) -> None:
        if self._dead:
            return
        self._disk.check("sync")
        self._body.synced = len(self._body.content)
        self._disk.tell()

    def close(self) -> None:
        return None


class SimDisk:
    """The disk of one simulated machine.

    Attributes:
        durable: called with a path and bytes of it that no power cut can take any more.
        failing: error number of every act from now on, None while the disk works; ``errno.ENOSPC`` fails
            writes only.
    """

    def __init__(self, root: Path, seed: str) -> None:
        self.root = root
        self.durable: Callable[[Path, bytes], None] = lambda path, data: None
        self.failing: int | None = None
        self.cuts = 0
        self.lost_bytes = 0
        self._rng = random.Random(seed)
        self._names: dict[Path, _Body] = {}
        self._sure: dict[Path, _Body] = {}
        """Names as they are after a power cut that takes every change since the last sync of the folder."""
        self._changes: list[tuple[Path, _Body | None]] = []

    def disk(self) -> Disk:
        """Return it as the daemon's seam."""
        return Disk(
            append=self.append,
            replace=self.replace,
            remove=self.remove,
            cut=self.cut,
            sync_directory=self.sync_directory,
        )

    # The seam

    def append(self, path: Path) -> SimFile:
        if path not in self._names:
            self.check("write")
            path.touch()
        return SimFile(self, path, self._body(path))

    def holds(self, path: Path, body: _Body) -> bool:
        """True if ``path`` is a name of ``body`` now."""
        return self._names.get(path) is body

    def _body(self, path: Path) -> _Body:
        body = self._names.get(path)
        if body is None:
            body = _Body(path.read_bytes() if path.exists() else b"")
            self._change(path, body)
        return body

    def replace(self, source: Path, target: Path) -> None:
        if self._dead():
            return
        self.check("write")
        source.replace(target)
        body = self._names[source]
        self._change(source, None)
        self._change(target, body)

    def remove(self, path: Path) -> None:
        if self._dead():
            return
        path.unlink(missing_ok=True)
        if path in self._names:
            self._change(path, None)

    def cut(self, path: Path, size: int) -> None:
        if self._dead():
            return
        self.check("write")
        body = self._body(path)
        del body.content[size:]
        body.synced = min(body.synced, size)
        path.write_bytes(body.content)
        self.check("sync")
        body.synced = len(body.content)
        body.told = min(body.told, size)
        self.tell()

    def sync_directory(self, path: Path) -> None:
        if self._dead():
            return
        self.check("sync")
        self._apply(self._sure, self._changes)
        self._changes.clear()
        self.tell()

    def _change(self, path: Path, body: _Body | None) -> None:
        self._apply(self._names, [(path, body)])
        self._changes.append((path, body))

    @staticmethod
    def _apply(names: dict[Path, _Body], changes: list[tuple[Path, _Body | None]]) -> None:
        for path, body in changes:
            if body is None:
                names.pop(path, None)
            else:
                names[path] = body

    @staticmethod
    def _dead() -> bool:
        process = CURRENT.get()
        return process is not None and not process.alive

    # What goes wrong

    def check(self, act: str) -> None:
        """Raise the error that the disk has now."""
        if self.failing is not None and not (self.failing == errno.ENOSPC and act == "sync"):
            raise OSError(self.failing, "simulated: " + errno.errorcode[self.failing])

    def room(self, wanted: int) -> int:
        """Return how many of ``wanted`` bytes the disk takes; a full disk may take some of them first."""
        if self.failing is None:
            return wanted
        self.check("write")
        return 0

    def tell(self) -> None:
        """Tell the listener of bytes that have become sure."""
        for path, body in self._sure.items():
            if body.told < body.synced:
                told, body.told = body.told, body.synced
                self.durable(path, bytes(body.content[told : body.synced]))

    def power_cut(self) -> None:
        """Lose what was not synced."""
        self.cuts += 1
        kept = self._changes[: self._rng.randint(0, len(self._changes))]
        self._apply(self._sure, kept)
        self._changes.clear()
        for path in self._names:
            path.unlink(missing_ok=True)
        self._names = dict(self._sure)
        for path, body in self._names.items():
            self._tear(body)
            path.write_bytes(body.content)

    def _tear(self, body: _Body) -> None:
        unsynced = len(body.content) - body.synced
        kept = self._rng.randint(0, unsynced)
        self.lost_bytes += unsynced - kept
        del body.content[body.synced + kept :]
        if self._rng.random() < 0.3:  # the length was written, and not the bytes
            body.content += bytes(self._rng.randint(0, unsynced - kept))
        body.synced = len(body.content)
