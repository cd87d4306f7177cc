"""What a process leaves behind is for its owner alone: its files, and no image of its memory."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def forbid_core_dump() -> None:
    """Let the system write no core dump: the memory of this process may hold keys."""
    with suppress(ValueError, OSError):  # a limit that may not be changed is a lower one already
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextmanager
def private_files() -> Iterator[None]:
    """Make new files 0600 and new directories 0700 inside the block, whatever the user's umask is."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
