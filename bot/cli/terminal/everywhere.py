"""The global options: understood before a command's name and behind it, by every command.

``bot -c FILE run`` and ``bot run -c FILE`` are the same.
"""

from inspect import cleandoc
from pathlib import Path

import click

from bot.app.context import Context
from bot.domain.errors import BadUsage


def add_global_options(command: click.Command) -> None:
    """Give the global options to a command, and to the commands of a group. Once is enough."""
    if any(option.name == "config" and option.callback is _on_config for option in command.params):
        return
    command.params += global_options()
    if isinstance(command, click.Group):
        for each in command.commands.values():
            each.short_help = each.short_help or _first_paragraph(each)  # click would cut it after 66 letters
            add_global_options(each)


def _first_paragraph(command: click.Command) -> str:
    return " ".join(cleandoc(command.help or "").partition("\n\n")[0].split())


def global_options() -> list[click.Option]:
    """Return new options that write what is given into the ``Context``."""
    return [
        click.Option(
            ["-c", "--config"],
            type=click.Path(path_type=Path),
            expose_value=False,
            callback=_on_config,
            help="Settings file (TOML).",
        ),
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            callback=_on_verbose,
            help="More log; -vv also shows tracebacks.",
        ),
        click.Option(
            ["--log-format"],
            type=click.Choice(["console", "json"]),
            expose_value=False,
            callback=_on_log_format,
            help="Default: console on a terminal.",
        ),
    ]


def _on_config(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    context = ctx.find_object(Context)
    if value is None or context is None:  # None: completion of a line that is still being typed
        return
    if context.config not in (None, value):
        raise BadUsage(f"--config is given twice: {context.config} and {value}; name one settings file")
    context.config = value


def _on_verbose(ctx: click.Context, _: click.Parameter, value: int) -> None:
    if context := ctx.find_object(Context):
        context.verbose += value


def _on_log_format(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    context = ctx.find_object(Context)
    if context is not None and value is not None:
        context.log_format = "json" if value == "json" else "console"
