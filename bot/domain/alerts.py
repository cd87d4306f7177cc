"""What a person should hear about: one value for the log, the status and whoever notifies."""

from collections.abc import Mapping
from typing import Literal

import msgspec

Level = Literal["info", "warning", "error"]
LEVELS: tuple[Level, ...] = ("info", "warning", "error")
"""From the least severe to the most severe."""
Fact = str | int | float | tuple[str, ...] | None
"""A value beside the words, for programs."""
Kind = Literal[
    "fill",
    "trade",
    "halt",
    "entries",
    "refusal",
    "burst",
    "exit",
    "unknown",
    "account",
    "model",
    "feed",
    "process",
    "summary",
]
"""What an alert is about; a person chooses by kind what to hear."""

KINDS: Mapping[str, Kind] = {
    "fill": "fill",
    "trade_closed": "trade",
    "halted": "halt",
    "halt_lifted": "halt",
    "entries_held_back": "entries",
    "entries_again": "entries",
    "strategy_stopped": "entries",
    "drifted": "entries",
    "drift_gone": "entries",
    "limit_refused": "refusal",
    "limits_below_equity": "refusal",
    "order_not_sent": "refusal",
    "order_refused": "refusal",
    "refusal_burst": "burst",
    "adl": "exit",
    "exit_refused": "exit",
    "liquidation": "exit",
    "stop_refused": "exit",
    "order_known": "unknown",
    "order_unknown": "unknown",
    "account_differs": "account",
    "account_not_locked": "account",
    "account_read": "account",
    "account_unread": "account",
    "leverage_changed": "account",
    "wallet_adjusted": "account",
    "model_not_taken": "model",
    "model_swapped": "model",
    "retrain_failed": "model",
    "retrain_refused": "model",
    "retrained": "model",
    "line_down": "feed",
    "line_up": "feed",
    "symbol_stopped": "feed",
    "daemon_gone": "process",
    "ended": "process",
    "journal_damaged": "process",
    "journal_lost": "process",
    "started": "process",
    "stopping": "process",
    "daily_summary": "summary",
    "test": "summary",
}
"""Name of an alert → what it is about. A test holds every alert of the program to this table."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One fact for people.

    ``error``: somebody must act; ``warning``: somebody should know; ``info``: what happens while all is well.
    ``name`` is a noun phrase (``halted``, ``order_refused``), ``words`` says for people what happened, with
    the number and its limit, and ``do`` what to do about it; empty if nothing needs to be done.
    """

    ts_ms: int
    level: Level
    name: str
    words: str
    do: str = ""
    facts: dict[str, Fact] = {}

    @property
    def kind(self) -> Kind:
        return KINDS[self.name]
