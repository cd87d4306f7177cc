"""How far a search is, while it runs: one line on a terminal or in a notebook, nothing anywhere else."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bot.app.search.sweep import Progress

FIRST_S = 1.0
"""A search that ends sooner says nothing."""
EVERY_S = 0.5
"""The line changes no more often."""

Show = Callable[[str], None]


@contextmanager
def search_line(
    total: int, *, is_on: bool, clock: Callable[[], float] = time.monotonic
) -> Iterator[Progress]:
    """Yield what a search tells its progress: trials that are done, and the best so far.

    The line is wiped at the end; after an interrupt it says how to go on.

    Args:
        total: how many trials the search has.
        is_on: False shows nothing.
        clock: seconds that never go back.
    """
    show = (_in_notebook() or _on_terminal()) if is_on else None
    if show is None:
        yield lambda done, words: None
        return
    line = _Line(total, show, clock)
    try:
        yield line.told
    except KeyboardInterrupt:
        line.leave(f"cut off after {line.done:,} of {total:,} trials; resume=True goes on with them")
        raise
    finally:
        line.end()


class _Line:
    """Words that change as trials end."""

    def __init__(self, total: int, show: Show, clock: Callable[[], float]) -> None:
        self._total, self._show, self._clock = total, show, clock
        self._began_s = self._next_s = clock()
        self._next_s += FIRST_S
        self._known: int | None = None
        self._shown = ""
        self.done = 0

    def told(self, done: int, words: str) -> None:
        """Take the number of trials that are done; the first one counts those of an earlier process."""
        if self._known is None:
            self._known = done
        self.done, now_s = done, self._clock()
        if now_s < self._next_s:
            return
        self._next_s = now_s + EVERY_S
        parts = [f"{done:,} of {self._total:,} trials"]
        if words:
            parts.append(words)
        if done > self._known:
            left_s = (now_s - self._began_s) / (done - self._known) * (self._total - done)
            parts.append(f"{_span(left_s)} left")
        self._shown = ", ".join(parts)
        self._show(self._shown)

    def leave(self, words: str) -> None:
        """Show words that stay."""
        self._show(words)
        self._shown = ""

    def end(self) -> None:
        """Wipe what does not stay."""
        if self._shown:
            self._show("")


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


def _on_terminal() -> Show | None:
    """Return what rewrites one line of the terminal; None if standard output is none."""
    out = sys.stdout
    if out is None or not out.isatty():
        return None

    def show(words: str) -> None:
        width = shutil.get_terminal_size().columns
        out.write(f"\r\x1b[K{words[: width - 1]}")
        out.flush()

    return show


def _in_notebook() -> Show | None:
    """Return what rewrites one output of the cell that runs; None outside a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if getattr(shell, "kernel", None) is None:
        return None
    display = sys.modules["IPython.display"].display  # a kernel has it loaded
    handle: Any = None

    def show(words: str) -> None:
        nonlocal handle  # of the output, once there is one
        told = {"text/plain": words}
        if handle is not None:
            handle.update(told, raw=True)
        elif words:
            handle = display(told, raw=True, display_id=True)

    return show
