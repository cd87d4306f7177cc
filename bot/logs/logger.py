"""The structured log: one fact per line, as JSON for machines or columns for people, without secrets."""

import json
import sys
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from bot.logs.redact import Redactor


def make_logger(
    redactor: Redactor,
    *,
    level: str = "info",
    form: Literal["auto", "console", "json"] = "auto",
    stream: TextIO | None = None,
    also: Callable[[str], None] | None = None,
) -> Any:  # structlog's loggers are typed as Any
    """Return a structlog logger on ``stream`` (default stderr).

    ``form`` ``auto`` writes columns on a terminal and JSON elsewhere. ``also`` gets each line as JSON.
    """
    import structlog

    stream = stream or sys.stderr
    console = form == "console" or (form == "auto" and stream.isatty())
    renderer: Any = structlog.dev.ConsoleRenderer(colors=stream.isatty()) if console else _json
    return structlog.wrap_logger(
        _Lines(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _with_times,
            *([_Copy(redactor, also)] if also is not None else []),
            *([_say_words, _escape] if console else []),
            renderer,
            lambda _logger, _method, line: redactor(str(line)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )


def _json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    """Return one line of JSON: letters of any script as they are, and what does not print escaped.

    So no value breaks the line (U+2028) or reaches a terminal as a command (U+009B).
    """
    text = json.dumps(dict(event), default=str, ensure_ascii=False)
    return (
        text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
    )


class _Copy:
    """Hands each line on as JSON, whatever form the stream has."""

    def __init__(self, redactor: Redactor, to: Callable[[str], None]) -> None:
        self._redactor = redactor
        self._to = to

    def __call__(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        self._to(self._redactor(_json(logger, method, event)) + "\n")
        return event


_EPOCH_MS = 10**12
"""A number of milliseconds from here on is a moment (2001 and later), a smaller one is a span."""
_LAST_MS = 253_402_300_799_999
"""The last moment that a date can name (9999-12-31)."""


def _with_times(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Write each moment in words beside its milliseconds: ``bar_utc=2025-12-01 08:00:00``."""
    for key, value in tuple(event.items()):
        if key.endswith("_ms") and type(value) is int and _EPOCH_MS <= value <= _LAST_MS:
            words = datetime.fromtimestamp(value / 1000.0, UTC).strftime("%Y-%m-%d %H:%M:%S")
            event.setdefault(f"{key.removesuffix('_ms')}_utc", words)
    return event


class _Lines:
    """Writes one line per call. If the stream cannot take a line, the line is lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return  # broken pipe, full disk, closed stream: the run continues

    debug = info = warning = error = critical = msg


def _say_words(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Leave a line that has words for people its words and what to do; its facts are for programs."""
    if "words" not in event:
        return event
    kept = {key: event[key] for key in ("level", "timestamp", "do", "exception") if key in event}
    return {"event": f"{event['event']}: {event['words']}", **kept}


def _escape(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape control characters in values from outside, so that such a value cannot forge a log line.

    The lines of a traceback stay lines, each behind a bar: the text of an error may come from outside, too.
    """
    for key, value in event.items():
        if key == "exception" and isinstance(value, str):
            event[key] = "\n".join(f"  | {_printable(line)}" for line in value.split("\n"))
        elif isinstance(value, str) and not value.isprintable():
            event[key] = _printable(value)
    return event


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
