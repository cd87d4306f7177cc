"""What this process holds of the machine now: memory, tasks, descriptors, threads."""

import asyncio
import os
import resource
import sys
import threading
from pathlib import Path

_STATM = Path("/proc/self/statm")
_DESCRIPTORS = Path("/dev/fd")


def resources() -> dict[str, float | int | None]:
    """Return ``rss_mb``, ``tasks`` of the running loop, ``threads`` and ``descriptors``; None if unknown.

    Where the system does not tell the memory in use now, ``rss_mb`` is the most it ever was.
    """
    return {
        "rss_mb": round(_rss_bytes() / 1e6, 1),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "descriptors": _descriptors(),
    }


def _rss_bytes() -> int:
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def _descriptors() -> int | None:
    try:
        return len(os.listdir(_DESCRIPTORS)) - 1  # one is the listing itself
    except OSError:
        return None
