"""Python's garbage collector at quiet moments: between closes, not between a bar and its order.

What the program consists of, and later what the warm-up has made, stays for good: it is taken out of the
collector's sight (a full collection over it stops everything for a tenth of a second), and what comes later
is looked through right after a close was dealt with. Only a flood of objects still sets it off by itself.
"""

import gc

_FLOOD = (50_000, 20, 100)
"""Objects made and not freed that start a collection at once; its generations as ever."""
_FULL_EVERY_S = 60.0


class Collector:
    """``settle`` at the start and after the warm-up; ``rest`` after each close; ``end`` at the end."""

    def __init__(self) -> None:
        self._before: tuple[int, int, int] | None = None
        self._full_due_s = 0.0

    def settle(self, now_s: float) -> None:
        """Spare the collector all there is; the first time, when nobody waits yet, it has a last look."""
        if self._before is None:
            self._before = gc.get_threshold()
            gc.set_threshold(*_FLOOD)
            gc.collect()
        self._full_due_s = now_s + _FULL_EVERY_S
        gc.freeze()

    def rest(self, now_s: float) -> None:
        """Nothing is urgent: collect what is young, now and then everything since ``settle``."""
        if self._before is None:
            return
        full = now_s >= self._full_due_s
        if full:
            self._full_due_s = now_s + _FULL_EVERY_S
        gc.collect(2 if full else 1)

    def end(self) -> None:
        """As it was before the first ``settle``."""
        if self._before is not None:
            gc.set_threshold(*self._before)
            gc.unfreeze()
            self._before = None
