"""``--data FILE...``: several candle files in one option, or the option repeated."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path

import click

_FILE = click.Path(path_type=Path, dir_okay=False)
_Command = Callable[..., None]


def data_option(command: _Command, *, required: bool = True) -> _Command:
    """Pass ``data: tuple[Path, ...]`` to a command, so that ``--data *.parquet`` takes all files."""

    @wraps(command)
    def called(*args: object, data: tuple[Path, ...], more: tuple[Path, ...], **options: object) -> None:
        command(*args, data=data + more, **options)

    option = click.option(
        "--data", type=_FILE, multiple=True, required=required, metavar="FILE...", help="Candle files."
    )
    return option(click.argument("more", type=_FILE, nargs=-1, metavar="")(called))
