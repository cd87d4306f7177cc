"""The daemon's sign of life: a small file that its event loop touches, for a supervisor outside of it."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.domain.errors import Occupied

BEAT_S = 1.0
"""Time between two signs of life."""
_NAME = "alive"


@dataclass(frozen=True)
class Sign:
    """The last sign of life: which process gave it, and when in nanoseconds of the file's clock.

    Compare two signs for equality only: the clock of the machine may be set in between.
    """

    pid: int
    beat_ns: int

    @property
    def process_exists(self) -> bool:
        """False if no process has this number any more; a number may have been given to another process."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:  # it belongs to somebody else
            return True
        return not _is_zombie(self.pid)


class SignOfLife:
    """The file ``alive`` in the state directory. Errors of the disk are ignored: the store meets them."""

    def __init__(self, state_dir: Path, pid: int | None = None) -> None:
        self._path = state_dir / _NAME
        self._pid = os.getpid() if pid is None else pid

    def begin(self) -> None:
        """Say that this process lives now."""
        beside = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            with open(beside, "w", encoding="ascii", opener=_private) as file:
                file.write(f"{self._pid}\n")
            beside.replace(self._path)

    def beat(self) -> None:
        """Say that it still lives."""
        with contextlib.suppress(OSError):
            os.utime(self._path)

    def withdraw(self) -> None:
        """Leave no sign: this process never had the account, so nothing there is its own."""
        with contextlib.suppress(OSError):
            self._path.unlink()

    def read(self) -> Sign | None:
        """Return the last sign of life; None if there never was one."""
        try:
            text = self._path.read_text(encoding="ascii")
            return Sign(int(text), self._path.stat().st_mtime_ns)
        except (OSError, ValueError):
            return None


@asynccontextmanager
async def beating(sign: SignOfLife, lives: Callable[[], bool] = lambda: True) -> AsyncIterator[None]:
    """Give signs of life while the event loop turns and ``lives`` says so.

    A process whose account another bot holds leaves no sign: a guard would take the other's entries.
    """

    async def beat() -> None:
        while True:
            if lives():
                sign.beat()
            await asyncio.sleep(BEAT_S)

    sign.begin()
    task = asyncio.ensure_future(beat())
    try:
        yield
    except Occupied:
        sign.withdraw()
        raise
    finally:
        task.cancel()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _is_zombie(pid: int) -> bool:
    """True if the process has ended and only waits for its parent. False where ``/proc`` does not say."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2][1]
            == "Z"
        )
    except (OSError, IndexError):
        return False
