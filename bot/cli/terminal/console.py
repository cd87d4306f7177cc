"""The terminal as rich sees it: colours where it has them, no wrapping where nobody looks."""

import sys

from rich.console import Console

_PIPE_COLUMNS = 200
"""Width of what goes to a file or another program."""


def console(*, stderr: bool = False) -> Console:
    """Return a console that prints texts as they are: no markup, no guessed colours."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_COLUMNS
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)
