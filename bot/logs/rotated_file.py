"""A log file that its owner alone can read, and that is moved aside when it is full.

``bot.log`` is the present one, ``bot.log.1`` the one before, and so on; the oldest goes. Only the thread of a
``LineQueue`` calls it, so nobody else waits for the disk.
"""

import contextlib
import os
import time
from pathlib import Path

_LOOK_EVERY_S = 1.0
"""How often it looks whether somebody else has moved the file away."""


class RotatedFile:
    """Appends lines to a file.

    Args:
        path: of the present file.
        max_bytes: a line that would make the file larger begins the next one.
        keep: how many earlier files stay.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, *, max_bytes: int, keep: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._look_s = 0.0
        self._open()

    def write(self, data: "memoryview | bytes") -> int:
        """Append; return how many bytes were taken. Raises ``OSError`` as the system does."""
        if self._size and self._size + len(data) > self._max_bytes:
            self._rotate()
        elif time.monotonic() >= self._look_s:
            self._look()
        taken = os.write(self._fd, data)
        self._size += taken
        return taken

    def close(self) -> None:
        """Close the present file."""
        os.close(self._fd)

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(self._fd, 0o600)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        """Move the files one number up and begin a new one; if that fails, go on in the present one."""
        try:
            if self._keep:
                for number in range(self._keep - 1, 0, -1):
                    with contextlib.suppress(FileNotFoundError):
                        self._numbered(number).replace(self._numbered(number + 1))
                self._path.replace(self._numbered(1))
            else:
                self._path.unlink(missing_ok=True)
        except OSError:
            self._size = 0  # try again after as many bytes
            return
        self._open_again()

    def _look(self) -> None:
        self._look_s = time.monotonic() + _LOOK_EVERY_S
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self._path).st_ino == os.fstat(self._fd).st_ino:
                return
        self._open_again()

    def _open_again(self) -> None:
        before = self._fd
        self._open()  # if it raises, the old file is still open
        os.close(before)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
