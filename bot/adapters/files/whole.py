"""Writes a file as a whole: a reader sees the old file or the new one, never a part of it.

Every file that a user asks for goes through here: tables, reports, drawings, candles. If it cannot be
written, the file that was there stays as it was, and the error is one line.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.domain.errors import NotWritten

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a place without room."""
_SHOWN = 40
"""Characters of the name in a temporary file's name: a longer one may be too long for the file system."""


def write_whole(path: str | Path, writer: Callable[[Path], object]) -> None:
    """Let ``writer`` write a temporary file beside ``path``, which then replaces ``path``.

    Missing folders are made. A link keeps pointing to its file; a device or a pipe is written directly.

    Raises:
        NotWritten: no space, no permission, no such place; says which, and what to do.
    """
    with replacing(Path(path)) as temporary:
        writer(temporary)


def write_text(path: str | Path, text: str) -> None:
    """Write a text as ``write_whole`` does, in UTF-8."""
    write_whole(path, lambda place: place.write_text(text, encoding="utf-8"))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside ``path``; when the block succeeds it is synced and replaces ``path``.

    Raises:
        NotWritten: as ``write_whole``.
    """
    try:
        yield from _replacing(path)
    except OSError as error:
        raise NotWritten(f"{path}: {why_not(error)}") from error


def why_not(error: OSError) -> str:
    """Say why a file cannot be written, and what to do."""
    code = error.errno
    # Arrow's texts are long and repeat themselves; the number says the same in few words.
    reason = os.strerror(code) if code is not None else str(error)
    remedy = "free space there or name another place" if code in FULL else "name another place"
    return f"cannot be written ({reason}); {remedy}"


def _replacing(path: Path) -> Iterator[Path]:
    target = path.resolve()
    if target.exists() and not target.is_file() and not target.is_dir():
        yield target
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name[:_SHOWN]}.{os.getpid()}.tmp")
    try:
        yield temporary
        if target.is_file():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        _sync(temporary)
        temporary.replace(target)
        _sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
