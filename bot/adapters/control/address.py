"""The name of a unix socket, also where its path is too long for one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SHORT = 100
"""Bytes of a path that a unix socket surely takes (Linux 107, macOS 103)."""


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """Give a name of the socket that is short enough: the path, or one over its open directory (Linux)."""
    if len(os.fsencode(path)) <= _SHORT:
        yield str(path)
        return
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{handle}/{path.name}"
    finally:
        os.close(handle)
