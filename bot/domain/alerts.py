"""What a person should hear about: one value for the log, the status and whoever notifies."""

from typing import Literal

import msgspec

Level = Literal["warning", "error"]
Fact = str | int | float | tuple[str, ...] | None
"""A value beside the words, for programs."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One fact that needs attention. ``error``: somebody must act; ``warning``: somebody should know.

    ``name`` is a noun phrase (``halted``, ``order_refused``), ``words`` says for people what happened, with
    the number and its limit, and ``do`` what to do about it; empty if nothing needs to be done.
    """

    ts_ms: int
    level: Level
    name: str
    words: str
    do: str = ""
    facts: dict[str, Fact] = {}
