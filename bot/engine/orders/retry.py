"""When an exit that the venue did not take is sent again: after a second, then after twice as long. Pure.

A position that should be left must not wait for the next close, which is an hour away on hourly bars. The
wait has an upper bound and the number of tries has none: giving up would leave the position open.
"""

import msgspec

from bot.domain.orders import Intent

RETRY_MS = 1_000
"""Wait before the second try of an exit."""
RETRY_MAX_MS = 30_000
"""Longest wait between two tries."""


class ExitRetry(msgspec.Struct, frozen=True):
    """An exit to send again at ``due_ms``: the order that failed, and how many tries failed in a row."""

    intent: Intent
    tries: int
    due_ms: int


def after_failure(intent: Intent, before: ExitRetry | None, now_ms: int) -> ExitRetry:
    """Return when to send ``intent`` again, after ``before`` if earlier tries failed too."""
    tries = 1 if before is None else before.tries + 1
    wait_ms = min(RETRY_MS << min(tries - 1, 16), RETRY_MAX_MS)
    return ExitRetry(intent, tries, now_ms + wait_ms)
