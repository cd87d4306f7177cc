"""One line about the schedule of retrainings, for the terminal and the page."""

from collections.abc import Mapping
from typing import Any

from bot.service.moments import clock_words

_HASH_CHARS = 12


def retraining_words(told: Mapping[str, Any], now_ms: int) -> str:
    """Return what runs or comes next, and how the last one ended; ``told`` is ``retrain`` of the status."""
    if told["running_since_ms"] is not None:
        now = f"runs since {clock_words(told['running_since_ms'], now_ms)}"
    else:
        what = "next try" if told["last_verdict"] == "failed" else "next"
        now = f"{what} {clock_words(told['next_ms'], now_ms)}"
    words = f"{told['schedule']}, {now}"
    if told["last_ended_ms"] is None:
        return words
    ended = clock_words(told["last_ended_ms"], now_ms)
    return f"{words}; the last one {_how(told, ended)}: {told['last_reason']}"


def _how(told: Mapping[str, Any], ended: str) -> str:
    match told["last_verdict"]:
        case "promoted":
            since = ", rolled back since then" if told.get("last_rolled_back") else ""
            return f"promoted {told['last_model'][:_HASH_CHARS]} {ended}{since}"
        case "refused":
            return f"promoted none {ended}"
        case _:
            return f"failed {ended}"
