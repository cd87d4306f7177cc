"""One address of the settings as a service of apprise: sends a message, says what became of it.

apprise answers with True or False and writes the reason to its log, some of it with the address. So its log
is read here, while a message is sent, and everything secret is taken out of what it said.
"""

import importlib.util
import logging
import re
import threading
import warnings
from dataclasses import dataclass
from typing import Any, Literal

from bot.domain.addresses import Address
from bot.domain.errors import BadSettings
from bot.logs import MIN_SECRET_CHARS, REDACTED, Redactor

_WORDS_MAX = 300
_SHORT_CHARS = 4
"""Shortest part of an address that is taken out of a text; a shorter one is no secret."""
_TYPES = {"info": "info", "warning": "warning", "error": "failure"}
"""apprise's word for each level; services show it as a colour or a sign."""
_MISSING = "needs the package apprise: `.venv/bin/pip install 'apprise>=2.3,<3'`, or install bot[notify]"


def check_installed() -> None:
    """Say in one line how to install apprise if it is not there; imports nothing.

    Raises:
        BadSettings: it is not installed.
    """
    if importlib.util.find_spec("apprise") is None:
        raise BadSettings(f"notify.urls: {_MISSING}")


@dataclass(frozen=True)
class Picture:
    """A PNG that goes with a message where the service takes one."""

    png: bytes
    name: str


class Service:
    """Sends to one address.

    Attributes:
        name: apprise's name of the service, such as ``Telegram``; says nothing of the address.

    Raises:
        BadSettings: apprise does not know the address, or is not installed.
    """

    def __init__(self, address: Address) -> None:
        check_installed()
        self._hide = Hider(address)
        with _listening() as heard, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of modules that apprise's plugins import
            import apprise

            service = apprise.Apprise.instantiate(address.url)
        if service is None:
            why = self._why(heard) or "apprise does not know such an address"
            raise BadSettings(f"{address.schema}://…: {why}; see https://appriseit.com/services/")
        self._service = service
        self.name = str(service.service_name)

    def send(
        self,
        title: str,
        body: str,
        level: Literal["info", "warning", "error"],
        picture: Picture | None = None,
    ) -> str | None:
        """Send one message and wait for the answer; return None if it arrived, else why not, without secrets.

        A message may have arrived although this says that it did not: its answer was lost.
        """
        from apprise import AppriseAttachment, NotifyFormat, NotifyType
        from apprise.attachment.memory import AttachMemory

        attached: Any = None
        if picture is not None:
            memory: Any = AttachMemory  # its constructor has no types
            attached = AppriseAttachment(memory(content=picture.png, name=picture.name, mimetype="image/png"))
        with _listening() as heard:
            try:
                told = self._service.notify(  # in this thread: ``Apprise.notify`` would send from another one
                    body=body,
                    title=title,
                    notify_type=NotifyType(_TYPES[level]),
                    body_format=NotifyFormat.TEXT,
                    attach=attached,
                )
            except Exception as error:  # a service of apprise may raise what it likes
                return self._hide(f"{type(error).__name__}: {error}")[:_WORDS_MAX]
        return None if told else self._why(heard) or "the service refused it without a reason"

    def _why(self, heard: list[tuple[int, str]]) -> str:
        """Return apprise's own words: its warnings, and what its network library raised."""
        loud = [text for level, text in heard if level >= logging.WARNING]
        raised = [text for level, text in heard if level < logging.WARNING and " Exception: " in text]
        causes = [text.rpartition(" Exception: ")[2].rpartition("): ")[2] for text in raised]
        causes = [text.rstrip(")").rstrip("\"'") for text in causes]
        words = "; ".join(dict.fromkeys([*loud, *causes]))
        return " ".join(self._hide(words).split())[:_WORDS_MAX]


class Hider:
    """Takes every part of an address that may be a secret out of a text."""

    def __init__(self, address: Address) -> None:
        secrets = address.secrets()
        self._redact = Redactor(each for each in secrets if len(each) >= MIN_SECRET_CHARS)
        short = [re.escape(each) for each in secrets if _SHORT_CHARS <= len(each) < MIN_SECRET_CHARS]
        self._short = re.compile("|".join(rf"(?<!\w){each}(?!\w)" for each in short)) if short else None

    def __call__(self, text: str) -> str:
        """Return ``text`` without them."""
        text = self._redact(text)
        return self._short.sub(REDACTED, text) if self._short is not None else text


class _listening:  # noqa: N801 (reads as a verb where it is used)
    """Collects what apprise logs while this thread sends; nothing of it goes anywhere else."""

    def __enter__(self) -> list[tuple[int, str]]:
        self._logger = logging.getLogger("apprise")
        self._logger.propagate = False
        self._logger.setLevel(logging.DEBUG)
        self.heard: list[tuple[int, str]] = []
        self._handler = _Collect(self.heard)
        self._logger.addHandler(self._handler)
        return self.heard

    def __exit__(self, *error: object) -> None:
        self._logger.removeHandler(self._handler)


class _Collect(logging.Handler):
    def __init__(self, heard: list[tuple[int, str]]) -> None:
        super().__init__(logging.DEBUG)
        self._heard = heard
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread and len(self._heard) < 100:
            self._heard.append((record.levelno, record.getMessage()))
