"""Notes of feed and venue: which of them a person should hear, in which words."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from bot.domain.alerts import Level

_ALERTS: Mapping[str, tuple[Level, str]] = {
    "account_unread": (
        "error",
        "no entry leaves until the account is read; see that the key is valid and that the venue answers",
    ),
    "account_read": ("info", ""),
    "account_not_locked": ("warning", "see that no second bot trades this account"),
    "journal_damaged": (
        "error",
        "the bot goes on: the newest segment is whole; do not trust the history before it; "
        "`bot journal verify`, then restore a backup if you need that history",
    ),
    "leverage_changed": ("warning", "see who changed it"),
    "model_not_taken": ("warning", "see `bot model list`; the model before goes on"),
    "model_swapped": ("info", ""),
    "retrain_failed": ("warning", "see `bot status` for the next try; the model in use goes on"),
    "retrain_refused": ("info", ""),
    "retrained": ("info", ""),
    "symbol_stopped": ("warning", "close its position at the venue if there is one"),
}
"""Notes that ask for a person: their level and what to do. All others are facts for the log."""


class Hearer(Protocol):
    """Takes the notes of feed and venue; ``Alarms`` does."""

    def note(self, ts_ms: int, name: str, facts: Mapping[str, object]) -> None:
        """Take one note."""


class Notes:
    """Hands notes on to the alarms; keeps those that come before there are any.

    Args:
        log: gets what nobody has heard when the run ends.
        now_ms: the time of a note.
    """

    def __init__(self, log: Any, now_ms: Callable[[], int]) -> None:
        self._log = log
        self._now_ms = now_ms
        self._hearer: Hearer | None = None
        self._early: list[tuple[int, str, Mapping[str, object]]] = []

    def __call__(self, name: str, facts: Mapping[str, object]) -> None:
        """Take one note."""
        if self._hearer is None:
            self._early.append((self._now_ms(), name, facts))
        else:
            self._hearer.note(self._now_ms(), name, facts)

    def heard_by(self, hearer: Hearer) -> None:
        """Hand on what came so far and what comes from now on."""
        self._hearer = hearer
        early, self._early = self._early, []
        for ts_ms, name, facts in early:
            hearer.note(ts_ms, name, facts)

    def close(self) -> None:
        """Log what came before anybody heard it: the start failed."""
        for _, name, facts in self._early:
            level = _ALERTS[name][0] if name in _ALERTS else "info"
            {"info": self._log.info, "warning": self._log.warning, "error": self._log.error}[level](
                name, **facts
            )
        self._early = []


def alert_of(name: str, facts: Mapping[str, object]) -> tuple[Level, str, str] | None:
    """Return level, words and what to do of a note that asks for a person; None for any other."""
    if name not in _ALERTS:
        return None
    level, do = _ALERTS[name]
    return level, _words(name, facts), do


def _words(name: str, facts: Mapping[str, object]) -> str:
    symbol, reason, tries = facts.get("symbol", ""), facts.get("reason", ""), facts.get("tries", 1)
    match name:
        case "account_unread":
            return f"the venue's account cannot be read ({tries} failed tries so far): {reason}"
        case "account_read":
            return f"the venue's account is read again after {tries} failed tries"
        case "account_not_locked":
            return f"the account is not locked against a second bot: {reason}"
        case "journal_damaged":
            return f"older parts of the journal are damaged ({facts.get('count')}): {reason}"
        case "leverage_changed":
            return f"{symbol}: somebody changed the leverage; it is set to {facts.get('set_again')} again"
        case "model_not_taken":
            return f"a promoted model is not used: {reason}"
        case "model_swapped":
            before, now = str(facts.get("before"))[:12], str(facts.get("model"))[:12]
            return f"model {now} has taken over from {before}; orders carry its name from now on"
        case "retrain_failed":
            return f"a retraining has failed: {reason}"
        case "retrain_refused":
            return f"a retraining has put no other model in place: {reason}"
        case "retrained":
            model = str(facts.get("model"))[:12]
            return f"model {model} is promoted: {reason}"
        case _:
            return f"{symbol}: trading in this symbol has stopped: {reason}"
