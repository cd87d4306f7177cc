"""What goes over the pipe between the daemon and a retraining: one JSON object a line, both ways."""

from typing import Any, Literal

import msgspec

from bot.service.retraining.timetable import Outcome


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """The first and only line to the retraining.

    Args:
        settings: the daemon's, without secrets, in nested tables; those that a retraining reads.
        base: hash of the model that the settings named when the daemon began.
        now_ms: the exchange's time. It also names the retraining in the record of the models.
    """

    settings: dict[str, Any]
    base: str
    now_ms: int


class Said(msgspec.Struct, frozen=True, tag=True):
    """A line for the daemon's log."""

    text: str


class Ended(msgspec.Struct, frozen=True, tag=True):
    """How it ended; the last line."""

    outcome: Outcome


Up = Said | Ended
LINE_MAX = 1 << 16
"""Longest line that the daemon takes."""
PLACE: Literal["bot.app.runs.live.retrainer"] = "bot.app.runs.live.retrainer"
"""The module that the process runs."""
SECTIONS = ("model", "retrain", "feed", "fetch", "local")
"""Tables of the settings that a retraining reads, beside ``state_dir``, ``data_dir`` and ``seed``."""

_encoder = msgspec.json.Encoder()
_task = msgspec.json.Decoder(Task)
_up: "msgspec.json.Decoder[Up]" = msgspec.json.Decoder(Up)


def line_of(value: Task | Up) -> bytes:
    """Return a value as a line."""
    return _encoder.encode(value) + b"\n"


def read_task(line: bytes) -> Task:
    """Return what the daemon asks for. Raises ``msgspec.MsgspecError`` for anything else."""
    return _task.decode(line)


def read_up(line: bytes) -> Up:
    """Return what the retraining said. Raises ``msgspec.MsgspecError`` for anything else."""
    return _up.decode(line)
