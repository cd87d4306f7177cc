"""The log: one fact per line, as JSON for machines or columns for people, on stderr, without secrets.

One event is one noun phrase and keys with units: ``log.info("order_refused", reason="drawdown")``. Logging
never stops the program: if the disk is full or the pipe is closed, the line is lost and the run continues.
"""

import base64
import json
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any, Literal, TextIO
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
MIN_SECRET_CHARS = 8
"""Shortest secret that can be hidden. A shorter one would hide ordinary words; settings refuse it."""


class Redactor:
    """Replaces known secrets in text, also in their JSON-escaped, url-encoded and base64 forms."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: tuple[str, ...] = ()
        for secret in secrets:
            self.hide(secret)

    def hide(self, secret: str) -> None:
        """Hide ``secret`` in every text that passes through this redactor from now on."""
        assert len(secret) >= MIN_SECRET_CHARS, "settings refuse a secret this short"
        forms = {*self._forms, *_forms_of(secret)}
        self._forms = tuple(sorted(forms, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """Return ``text`` with the secrets replaced."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, REDACTED)
        return text


def _forms_of(secret: str) -> set[str]:
    raw = secret.encode()
    written = {secret, repr(secret)[1:-1], repr(raw)[2:-1]}
    forms = written | {json.dumps(text)[1:-1] for text in written}
    forms |= {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    for shift in range(3):
        # In the base64 of a longer text ("key:secret") the secret starts at one of three bit offsets. The
        # characters that also hold bits of the neighbouring bytes are cut off.
        cut = slice(-(-8 * shift // 6), 8 * (shift + len(raw)) // 6)
        padded = bytes(shift) + raw
        forms |= {base64.b64encode(padded).decode()[cut], base64.urlsafe_b64encode(padded).decode()[cut]}
    return forms | {form.replace("/", "\\/") for form in forms}  # a slash of JSON may be escaped


def make_logger(
    redactor: Redactor,
    *,
    level: str = "info",
    form: Literal["auto", "console", "json"] = "auto",
    stream: TextIO | None = None,
) -> Any:  # structlog's loggers are typed as Any
    """Return a structlog logger on ``stream`` (default stderr).

    ``form`` ``auto`` writes columns on a terminal and JSON elsewhere.
    """
    import structlog

    stream = stream or sys.stderr
    console = form == "console" or (form == "auto" and stream.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty())
        if console
        else structlog.processors.JSONRenderer(default=str)
    )
    return structlog.wrap_logger(
        _Lines(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *([_escape] if console else []),
            renderer,
            lambda _logger, _method, line: redactor(str(line)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )


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


def _escape(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape control characters in values from outside, so that such a value cannot forge a log line."""
    for key, value in event.items():
        if isinstance(value, str) and key != "exception" and not value.isprintable():
            event[key] = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
    return event
