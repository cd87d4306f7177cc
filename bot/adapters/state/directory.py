"""The state directory: its lock, and the halt file that outlives every process.

Imports little: ``bot kill`` halts with it before anything else.
"""

import os
from contextlib import suppress
from pathlib import Path

from bot.adapters.state.disk import THIS_DISK, Disk
from bot.adapters.state.lock import exclusive
from bot.domain.errors import StoreFailed


class StateDir:
    """Makes the state directory private (0700) and locks it for one daemon.

    Raises:
        Occupied: another bot holds it.
        StoreFailed: it cannot be made, or it is a directory of others.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            if why := _is_not_ours(path):
                raise StoreFailed(f"{path}: {why}; set state_dir to a directory of the bot's own")
            path.chmod(0o700)
            self._lock = exclusive(path / "lock", self._occupied, holder=str(os.getpid()))
        except OSError as error:
            raise StoreFailed(f"{path}: cannot be used ({error.strerror}); set state_dir") from error

    def _occupied(self, pid: str) -> str:
        holder = f" (process {pid})" if pid.isdecimal() else ""
        return f"{self.path}: another bot runs on this state directory{holder}; stop it, or set state_dir"

    def close(self) -> None:
        """Release the lock."""
        self._lock.close()


def _is_not_ours(path: Path) -> str | None:
    """Say why a directory cannot be made private: others use it. None if it can."""
    told = path.stat()
    if told.st_uid != os.geteuid():
        return "belongs to another user"
    if told.st_mode & 0o002:
        return "may be written by everybody"
    places = [(Path.cwd(), "the working directory")]
    with suppress(RuntimeError):  # a user without a name and without HOME, as in a container, has no home
        places.append((Path("~").expanduser(), "your home directory"))
    for place, what in places:
        if path.resolve() in (place.resolve(), *place.resolve().parents):
            return f"is or holds {what}"
    return None


class HaltFile:
    """The halt file: ``bot kill`` writes it, the daemon checks it before it sends anything."""

    def __init__(self, state_dir: Path, disk: Disk = THIS_DISK) -> None:
        self._path = state_dir / "halted"
        self._disk = disk

    def set(self) -> None:
        """Halt every bot on this directory, now and after every restart."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            file = self._disk.append(self._path)
        except PermissionError:
            if not self.is_set():
                raise
            return  # the administrator has set it: the file counts, whoever owns it
        try:
            file.write(b"bot kill\n")
            file.sync()
        finally:
            file.close()
        self._disk.sync_directory(self._path.parent)

    def is_set(self) -> bool:
        """True while the bot is halted."""
        return self._path.exists()

    def clear(self) -> None:
        """Remove the halt."""
        self._disk.remove(self._path)
        self._disk.sync_directory(self._path.parent)
