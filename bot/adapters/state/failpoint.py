"""Places at which a test kills this process, to see what the next one makes of what is left.

::

    FAILPOINT=sync.before:3                 SIGKILL at the third passage of the point ``sync.before``
    FAILPOINT_FROM=/tmp/armed               count passages only once this file exists

Without ``FAILPOINT`` in the environment ``reach`` does nothing. A point is a name in ``POINTS``; a process
with an unknown one does not start.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

Point = Literal[
    "append.before",
    "append.after",
    "sync.before",
    "sync.after",
    "send.before",
    "send.after",
    "answer",
    "snapshot.before",
    "snapshot.ahead",
    "rename.before",
    "rename.after",
    "header.before",
    "header.after",
    "recovery.replayed",
    "recovery.read",
]
POINTS: tuple[Point, ...] = get_args(Point)
"""Before and after: an entry, a sync, a request to the venue, a snapshot, a segment's header; in a start.

``snapshot.ahead``: the first part of a snapshot is on the disk, and nothing else of the segment to come."""


class _Armed:
    """Kills this process at the ``passage``-th passage of ``point``; passages count once ``since`` exists."""

    def __init__(self, point: str, passage: int, since: Path | None) -> None:
        self._point = point
        self._left = passage
        self._since = since

    def __call__(self, point: Point) -> None:
        if point != self._point:
            return
        if self._since is not None:
            if not self._since.exists():
                return
            self._since = None
        self._left -= 1
        if self._left == 0:
            signal.raise_signal(signal.SIGKILL)


def _nothing(point: Point) -> None:
    pass


def _armed(wanted: str, since: str) -> Callable[[Point], None]:
    if not wanted:
        return _nothing
    name, colon, passage = wanted.partition(":")
    passage = passage if colon else "1"
    if name not in POINTS or not passage.isdecimal() or not int(passage):
        raise SystemExit(f"error: FAILPOINT={wanted}: give NAME or NAME:N; names are {', '.join(POINTS)}")
    return _Armed(name, int(passage), Path(since) if since else None)


reach: Callable[[Point], None] = _armed(os.environ.get("FAILPOINT", ""), os.environ.get("FAILPOINT_FROM", ""))
"""Say that a point is passed."""
