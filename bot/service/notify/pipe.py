"""What goes over the pipe between the daemon and the sender: one JSON object a line, both ways."""

from typing import Any, Literal

import msgspec

from bot.domain.alerts import Alert, Kind, Level


class Task(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The first line to the sender: where to send and how. It holds secrets; the pipe is private.

    ``folder`` is the journal of the account, for the summary of a day; empty for none.
    """

    urls: tuple[str, ...]
    level: Level
    events: tuple[Kind, ...]
    bot_name: str
    rate: int
    waiting_max: int
    retry_s: float
    max_retry_s: float
    folder: str = ""
    pid: int = 0


class Sound(msgspec.Struct, frozen=True, tag=True):
    """An alert to send."""

    alert: Alert


class Bye(msgspec.Struct, frozen=True, tag=True):
    """The daemon ends in order: send what waits within ``within_s``, then end."""

    within_s: float


class Told(msgspec.Struct, frozen=True, tag=True):
    """From the sender: a fact for the daemon's log."""

    level: Level
    name: str
    facts: dict[str, Any]


class Counts(msgspec.Struct, frozen=True, tag=True):
    """From the sender: what the status says about each address."""

    targets: tuple[dict[str, Any], ...]


Down = Task | Sound | Bye
Up = Told | Counts
LINE_MAX = 1 << 16
"""Longest line that either side sends."""
PLACE: Literal["bot.service.notify.sender"] = "bot.service.notify.sender"
"""The module that the sender runs."""

_encoder = msgspec.json.Encoder()
_down: "msgspec.json.Decoder[Down]" = msgspec.json.Decoder(Down)
_up: "msgspec.json.Decoder[Up]" = msgspec.json.Decoder(Up)


def line_of(value: Down | Up) -> bytes:
    """Return a value as a line."""
    return _encoder.encode(value) + b"\n"


def read_down(line: bytes) -> Down:
    """Return what the daemon said. Raises ``msgspec.MsgspecError`` for anything else."""
    return _down.decode(line)


def read_up(line: bytes) -> Up:
    """Return what the sender said. Raises ``msgspec.MsgspecError`` for anything else."""
    return _up.decode(line)
