"""A process beside the daemon lets the daemon go first."""

import contextlib
import os
from pathlib import Path

_DIES_FIRST = "1000"
_OOM = Path("/proc/self/oom_score_adj")


def give_way(nicer: int) -> None:
    """Lower the priority of this process, where the system allows it; none needs it to do its work."""
    with contextlib.suppress(OSError):
        os.nice(nicer)


def die_first() -> None:
    """Let the kernel end this process, and not the daemon, where memory ends (Linux)."""
    with contextlib.suppress(OSError):
        _OOM.write_text(_DIES_FIRST, encoding="ascii")
