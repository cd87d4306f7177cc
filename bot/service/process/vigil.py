"""Judges from outside whether a daemon lives, is dead or is frozen. Time is an argument: any steady clock.

The daemon lives as long as its sign of life changes. The clock of the file is never compared with a clock of
ours, so a machine whose time is set, or that slept, changes no verdict.
"""

from enum import Enum

from bot.adapters.state.alive import Sign

DEAD_AFTER_S = 3.0
"""A process that is gone and gave no sign for this long is dead. A supervisor in another container does not
see the process, so its absence alone proves nothing."""


class Life(Enum):
    """What is known about a daemon."""

    NONE = "none"
    """None has run here."""
    LIVES = "lives"
    UNCERTAIN = "uncertain"
    """No sign for a while, but not for long enough."""
    DEAD = "dead"
    """No sign, and no such process."""
    FROZEN = "frozen"
    """The process is there and gives no sign: it hangs, or somebody stopped it."""


class Vigil:
    """Notes when a sign of life was last seen to change.

    Args:
        after_s: without a sign for longer, the daemon is frozen.

    A daemon that has given its last sign before this watch began is judged after the same time.
    """

    def __init__(self, after_s: float) -> None:
        self.after_s = after_s
        self._sign: Sign | None = None
        self._changed_s = 0.0

    def look(self, sign: Sign | None, now_s: float, *, process_exists: bool) -> Life:
        """Judge by the sign as it is now, and by whether its process exists."""
        if sign is None and self._sign is None:
            return Life.NONE
        if sign is not None and sign != self._sign:
            is_first, self._sign, self._changed_s = self._sign is None, sign, now_s
            return Life.UNCERTAIN if is_first else Life.LIVES  # the first may be an old one
        silent_s = now_s - self._changed_s
        if not process_exists and silent_s >= min(DEAD_AFTER_S, self.after_s):
            return Life.DEAD
        return Life.FROZEN if silent_s >= self.after_s else Life.UNCERTAIN
