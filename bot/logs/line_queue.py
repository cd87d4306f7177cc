"""Lines on their way to a descriptor or a file: a thread writes them, so that nobody else waits for it."""

import contextlib
import os
import select
import threading
import time
from collections import deque
from typing import Protocol

LINES_MAX = 10_000
BYTES_MAX = 8 << 20


class Out(Protocol):
    """Takes a part of a line, or all of it; raises ``OSError`` if it cannot."""

    def write(self, data: memoryview, /) -> int:
        """Return how many bytes were taken."""


class LineQueue:
    """Keeps the order of lines and a bounded number of them.

    The thread writes to the descriptor itself, without Python's buffered streams: a thread that is stuck in
    one of those would keep the interpreter from ending.

    Args:
        out: where the lines go: a descriptor, or what writes to one; never closed here.
        lines_max, bytes_max: the most lines and bytes that may wait. A line beyond them is dropped.

    Attributes:
        dropped: lines that will never arrive: there was no room for them, or the descriptor refused them.
    """

    def __init__(self, out: int | Out, *, lines_max: int = LINES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self.dropped = 0
        self._out = _Descriptor(out) if isinstance(out, int) else out
        self._lines_max = lines_max
        self._bytes_max = bytes_max
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._changed = threading.Condition()  # reentrant: a signal handler may write, too
        self._writer: threading.Thread | None = None
        self._torn = False

    def put(self, line: str) -> None:
        """Take a line, with its end; return at once."""
        raw = line.encode("utf-8", "backslashreplace")
        with self._changed:
            if len(self._waiting) >= self._lines_max or self._bytes + len(raw) > self._bytes_max:
                self.dropped += 1
                return
            self._waiting.append(raw)
            self._bytes += len(raw)
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_all, name="log", daemon=True)
                self._writer.start()
            self._changed.notify_all()

    @property
    def is_idle(self) -> bool:
        """True while no line waits."""
        return not self._waiting

    def drain(self, within_s: float) -> bool:
        """Wait until every line has been written or dropped; return False if that took too long."""
        by_s = time.monotonic() + within_s
        with self._changed:
            while self._waiting:
                left_s = by_s - time.monotonic()
                if left_s <= 0.0:
                    return False
                self._changed.wait(left_s)
        return True

    # The thread

    def _write_all(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                raw = self._waiting[0]  # it counts as waiting until it has been written
            arrived = self._write(raw)
            with self._changed:
                self._waiting.popleft()
                self._bytes -= len(raw)
                self.dropped += not arrived
                self._changed.notify_all()

    def _write(self, raw: bytes) -> bool:
        """Write one line; return False if the descriptor refuses it: a closed pipe, a full disk."""
        left = memoryview(b"\n" + raw if self._torn else raw)
        while left:
            try:
                left = left[self._out.write(left) :]
            except OSError:
                self._torn = self._torn or len(left) < len(raw)  # the next line begins on a line of its own
                return False
        self._torn = False
        return True


class _Descriptor:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:  # somebody else made it non-blocking
            with contextlib.suppress(OSError):
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll(1_000)
            return 0
