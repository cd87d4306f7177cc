"""Standard error without secrets, whoever writes to it.

The log removes secrets by itself. Tracebacks of the interpreter, of threads and of asyncio, warnings and the
loggers of other packages do not: they write to ``sys.stderr``, and this stream takes the secrets out there.
"""

import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO


class RedactedStream:
    """A text stream that removes secrets from each line before the line is written.

    A line may come in pieces. The last piece is held back until its line ends, or until ``flush``.
    """

    def __init__(self, stream: TextIO, redact: Callable[[str], str]) -> None:
        self._stream = stream
        self._redact = redact
        self._rest = ""
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        """Take a text; write the lines that are whole."""
        with self._lock:
            text = self._rest + text
            end = max(text.rfind("\n"), text.rfind("\r")) + 1  # a progress bar ends its lines with \r
            self._rest = text[end:]
            if end:
                self._stream.write(self._redact(text[:end]))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Take several texts."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Write what is held back, too."""
        with self._lock:
            rest, self._rest = self._rest, ""
            if rest:
                self._stream.write(self._redact(rest))
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:  # isatty, fileno, encoding, …: as the stream has them
        return getattr(self._stream, name)


def hide_secrets(redact: Callable[[str], str]) -> None:
    """Take the secrets out of everything that this process writes to ``sys.stderr`` from now on."""
    stream = sys.stderr
    if isinstance(stream, RedactedStream):
        stream = stream._stream
    sys.stderr = RedactedStream(stream, redact)
