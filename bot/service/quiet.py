"""Python's garbage collector at quiet moments: between closes, not between a bar and its order.

What the program and its warm-up have made stays for good: it is taken out of the collector's sight once
(a full collection over it stops everything for a tenth of a second), and what comes later is looked
through right after a close was dealt with. Only a flood of objects still sets it off by itself.
"""

import gc

_FLOOD = (50_000, 20, 100)
"""Objects made and not freed that start a collection at once; its generations as ever."""
_FULL_EVERY_S = 60.0


class Collector:
    """Use ``begin`` once, when nothing is urgent; ``rest`` after each close; ``end`` at the end."""

    def __init__(self) -> None:
        self._before: tuple[int, int, int] | None = None
        self._full_due_s = 0.0

    def begin(self, now_s: float) -> None:
        """Collect all there is, and spare the collector what remains; a second call does nothing."""
        if self._before is None:
            self._before = gc.get_threshold()
            self._full_due_s = now_s + _FULL_EVERY_S
            gc.collect()
            gc.freeze()
            gc.set_threshold(*_FLOOD)

    def rest(self, now_s: float) -> None:
        """Nothing is urgent: collect what is young, now and then everything since ``begin``."""
        if self._before is None:
            return
        full = now_s >= self._full_due_s
        if full:
            self._full_due_s = now_s + _FULL_EVERY_S
        gc.collect(2 if full else 1)

    def end(self) -> None:
        """As it was before ``begin``."""
        if self._before is not None:
            gc.set_threshold(*self._before)
            gc.unfreeze()
            self._before = None
