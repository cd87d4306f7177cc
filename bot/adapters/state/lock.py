"""Lock files: what only one process may do at a time is named by a file, and whoever holds its lock does it.

The lock is ``flock``'s. It belongs to the open file, so closing the file gives it up, and so does any end of
the process, even SIGKILL. The file itself stays and is never removed: a process that waits for a removed file
would hold a lock that nobody else can see.
"""

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import IO

from bot.domain.errors import Occupied

_HOLDER_BYTES = 300
"""A file that is also something else, such as a log, is not read as a whole to say who holds it."""


def exclusive(path: Path, occupied: Callable[[str], str], holder: str = "") -> IO[bytes]:
    """Open a file, made if it is missing, and hold its lock until the file is closed.

    Args:
        path: the file; its folder exists.
        occupied: makes the words of the error from what the file says, which is the holder's ``holder``.
        holder: who holds it, written into the file; if empty, the file keeps what it has.

    Raises:
        Occupied: another process holds it.
        OSError: the file cannot be opened, or its file system knows no locks.
    """
    file = path.open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        other = file.read(_HOLDER_BYTES).decode(errors="replace").strip()
        file.close()
        raise Occupied(occupied(other)) from error
    except OSError:
        file.close()
        raise
    if holder:
        file.truncate(0)
        file.write(holder.encode())
        file.flush()
    return file


def in_turn(path: Path) -> IO[bytes]:
    """Do as ``exclusive``, but wait until nobody else holds the lock: for acts of milliseconds.

    Raises:
        OSError: as ``exclusive``.
    """
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError:
        file.close()
        raise
    return file
