"""A progress bar and a line that changes, shown only on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Update(Protocol):
    """Moves a progress bar: how much is done, and words to show beside it."""

    def __call__(self, done: int, words: str = "") -> None:
        """Show it."""


@contextmanager
def progress_bar(what: str, total: int, unit: str) -> Iterator[Update | None]:
    """Yield ``update(done)``; None when stderr is no terminal.

    Args: ``what`` is the label, ``total`` the count at the end, ``unit`` its name.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} " + unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, rate="")

        def update(done: int, words: str = "") -> None:
            speed = bar.tasks[0].speed
            rate = f"{speed:,.0f} {unit}/s" if speed and speed >= 1.0 else ""
            bar.update(task, completed=done, rate=f"{rate} {words}".strip())

        yield update


@contextmanager
def live_line() -> Iterator[Callable[[str], None]]:
    """Yield ``change(text)``: one line on stderr, which must be a terminal; it goes when the block ends."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(Text(""), console=Console(stderr=True), transient=True, refresh_per_second=2) as live:
        yield lambda text: live.update(Text(text, no_wrap=True, overflow="ellipsis"))
