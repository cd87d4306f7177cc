"""Run Python's garbage collector at quiet moments: after a close was handled, never between bar and order.

The program's own objects, and later those of the warm-up, are frozen: a full collection over them would
stop everything for a tenth of a second. Younger objects are collected right after a close. Only a flood of
new objects still starts a collection at any other time.
"""

import gc

_FLOOD = (50_000, 20, 100)
"""Thresholds of the three generations; so many new objects start a collection at once."""
_FULL_EVERY_S = 60.0
_FREEZES = 2
"""The program itself, and the warm-up. What lives later, such as a connection, ends one day: nothing that is
frozen is ever collected, so a freeze at every reconnect would keep every connection."""


class Collector:
    """Call ``settle`` at the start and when the feed is up, ``rest`` after each close, ``end`` at the end."""

    def __init__(self) -> None:
        self._before: tuple[int, int, int] | None = None
        self._full_due_s = 0.0
        self._freezes = 0

    def settle(self, now_s: float) -> None:
        """Collect, then freeze what is left: at the start, and the first time the feed is up."""
        if self._before is None:
            self._before = gc.get_threshold()
            gc.set_threshold(*_FLOOD)
        self._full_due_s = now_s + _FULL_EVERY_S
        gc.collect()
        if self._freezes < _FREEZES:
            self._freezes += 1
            gc.freeze()

    def rest(self, now_s: float) -> None:
        """Collect young objects; now and then all objects made since ``settle``."""
        if self._before is None:
            return
        full = now_s >= self._full_due_s
        if full:
            self._full_due_s = now_s + _FULL_EVERY_S
        gc.collect(2 if full else 1)

    def end(self) -> None:
        """Restore the collector as it was before the first ``settle``."""
        if self._before is not None:
            gc.set_threshold(*self._before)
            gc.unfreeze()
            self._before = None
            self._freezes = 0
