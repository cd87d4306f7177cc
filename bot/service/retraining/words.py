"""One line about the schedule of retrainings, for the terminal and the page."""

from collections.abc import Mapping
from typing import Any

from bot.service.moments import clock_words


def retraining_words(told: Mapping[str, Any], now_ms: int) -> str:
    """Return what runs or comes next, and how the last one ended; ``told`` is ``retrain`` of the status."""
    if told["running_since_ms"] is not None:
        now = f"runs since {clock_words(told['running_since_ms'], now_ms)}"
    else:
        now = f"next {clock_words(told['next_ms'], now_ms)}"
    words = f"{told['schedule']}, {now}"
    if told["last_ended_ms"] is None:
        return words
    ended = clock_words(told["last_ended_ms"], now_ms)
    return f"{words}; last {told['last_verdict']} {ended}: {told['last_reason']}"
