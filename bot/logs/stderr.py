"""Everything that this process writes to stderr: redacted line by line, and written without waiting.

Not only our log: the error log of asyncio and of the HTTP libraries, uncaught errors of this and other
threads, warnings and ``print``.
"""

import io
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from bot.logs.line_queue import LineQueue
from bot.logs.redact import Redactor

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_LONGEST_LINE = 64 << 10
"""Characters of a line without an end that may wait for it."""
_DRAIN_S = 1.0
"""How long the end of the program waits for a reader of its last lines."""

_CLEAR = "\r\x1b[K"
"""Go to the begin of the terminal's line, and clear it."""
_ErrorOf = tuple[type[BaseException], BaseException | None, TracebackType | None]


class Stderr(io.TextIOBase):
    """Stands in for ``sys.stderr``: takes whole lines, hides secrets in them, and queues them.

    A stream that is no file (as in tests) is written at once. ``under`` None: the process has no stderr, and
    every line is dropped.

    Attributes:
        log: the structured log, once there is one; errors that nobody caught go there.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, under: TextIO | None, redactor: Redactor) -> None:
        super().__init__()
        self.log: Any = None  # structlog's loggers are typed as Any
        self._under = under
        self._redactor = redactor
        self._queue = _queue_of(under)
        self._lost = 0
        self._begun = ""
        self._footer = ""
        self._turn = threading.RLock()

    def footer(self, text: str) -> None:
        """Show a line below all others, on a terminal: it is replaced by the next, and by nothing at last.

        It is left out while lines wait for their reader, so that it never pushes one out.
        """
        if not self.isatty() or (self._queue is not None and not self._queue.is_idle):
            return
        with self._turn:
            if self._begun:  # somebody else's line has no end yet
                return
            self._footer = self._redactor(text)
            self._put(_CLEAR + self._footer)

    @property
    def dropped(self) -> int:
        """Number of lines that nobody will read: the pipe is full or closed, or the disk is full."""
        return self._lost + (self._queue.dropped if self._queue is not None else 0)

    def drain(self, within_s: float = _DRAIN_S) -> bool:
        """Wait until every line is written; return False if that took longer than ``within_s``."""
        self.flush()
        with self._turn:
            if self._footer:
                self._footer = ""
                self._put(_CLEAR)
        return self._queue is None or self._queue.drain(within_s)

    # What a text stream has

    def write(self, text: str) -> int:
        """Take a text: whole lines leave, the rest waits for its end. Neither waits nor raises OSError."""
        if not isinstance(text, str):
            raise TypeError(f"stderr takes text, not {type(text).__name__}")
        with self._turn:
            begun = self._begun + text
            end = max(begun.rfind("\n"), begun.rfind("\r")) + 1  # a progress bar ends its lines with \r
            self._begun = begun[end:]
            for line in begun[:end].splitlines(keepends=True):
                self._send(line)
            if len(self._begun) > _LONGEST_LINE:
                self.flush()
        return len(text)

    def flush(self) -> None:
        """Let a line without an end leave; does not wait for a reader."""
        with self._turn:
            begun, self._begun = self._begun, ""
            if begun:
                self._send(begun)

    def isatty(self) -> bool:
        """True on a terminal."""
        try:
            return self._under is not None and self._under.isatty()
        except ValueError:  # it is closed
            return False

    def fileno(self) -> int:
        """Return the descriptor. Raises ``io.UnsupportedOperation`` if there is none."""
        if self._under is None:
            raise io.UnsupportedOperation("this process has no stderr")
        return self._under.fileno()

    def writable(self) -> bool:
        """Return True."""
        return True

    def _send(self, line: str) -> None:
        line = self._redactor(line)
        if self._footer:  # the line takes its place, and the footer comes below it
            line = _CLEAR + line + (self._footer if line.endswith("\n") else "")
        self._put(line)

    def _put(self, line: str) -> None:
        if self._queue is not None:
            self._queue.put(line)
            return
        try:
            if self._under is None:
                raise ValueError("no stderr")
            self._under.write(line)
            self._under.flush()
        except (OSError, ValueError):
            self._lost += 1


def _queue_of(under: TextIO | None) -> LineQueue | None:
    try:
        return LineQueue(under.fileno()) if under is not None else None
    except (OSError, ValueError):  # no file; io.UnsupportedOperation is both
        return None


@contextmanager
def guarded_stderr(redactor: Redactor) -> Iterator[Stderr]:
    """Replace ``sys.stderr``, the hooks for uncaught errors and the libraries' log; at the end drain it."""
    before = sys.stderr, sys.excepthook, threading.excepthook, sys.unraisablehook
    stderr = Stderr(before[0], redactor)
    libraries = _LibraryLog(stderr)
    sys.stderr = stderr

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not _report(stderr, "uncaught", (kind, error, trace)):
            before[1](kind, error, trace)

    def in_thread(args: threading.ExceptHookArgs) -> None:
        where = args.thread.name if args.thread is not None else None
        error = args.exc_type, args.exc_value, args.exc_traceback
        if not _report(stderr, "uncaught_in_thread", error, thread=where):
            before[2](args)

    def unraisable(args: "UnraisableHookArgs") -> None:
        error = args.exc_type, args.exc_value, args.exc_traceback
        if not _report(stderr, "unraisable", error, message=args.err_msg, where=repr(args.object)):
            before[3](args)

    sys.excepthook, threading.excepthook, sys.unraisablehook = uncaught, in_thread, unraisable
    logging.getLogger().addHandler(libraries)
    try:
        yield stderr
    finally:
        logging.getLogger().removeHandler(libraries)
        sys.stderr, sys.excepthook, threading.excepthook, sys.unraisablehook = before
        stderr.drain()


def _report(stderr: Stderr, event: str, error: _ErrorOf, **facts: object) -> bool:
    """Log an error that nobody caught; return False if there is no log yet."""
    if stderr.log is None:
        return False
    stderr.log.error(event, exc_info=error, **facts)
    return True


class _LibraryLog(logging.Handler):
    """Puts warnings and errors of libraries, asyncio's among them, into our log as one line each."""

    def __init__(self, stderr: Stderr) -> None:
        super().__init__(logging.WARNING)
        self._stderr = stderr

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
            log = self._stderr.log
        except Exception:
            self.handleError(record)
            return
        if log is None:
            self._stderr.write(text + "\n")
            return
        level = log.error if record.levelno >= logging.ERROR else log.warning
        level("library", logger=record.name, message=record.getMessage(), exc_info=record.exc_info)
