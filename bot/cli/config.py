"""``bot config show`` and ``bot config init``."""

from pathlib import Path

import click

from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.output import emit_json, emit_table
from bot.domain.errors import BadUsage


@click.group()
def config() -> None:
    """Show the effective settings, or write a commented file."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@pass_context
def show(context: Context, as_json: bool) -> None:
    """Every setting, its value (secrets hidden) and where it came from."""
    settings = context.settings()
    rows = settings.effective()
    if as_json:
        listed = {key: {"value": value, "origin": origin} for key, value, origin in rows}
        emit_json({"hash": settings.hash, "settings": listed})
        return
    emit_table(("key", "value", "from"), [(key, _text(value), origin) for key, value, origin in rows])
    click.echo(f"hash {settings.hash}")


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str("unset" if value is None else value)


@config.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("bot.toml"))
def init(file: Path) -> None:
    """Write every setting with its default and meaning to FILE (default bot.toml); use it with -c FILE."""
    from bot.app.places import write_text
    from bot.settings import to_toml

    if file.exists():
        raise BadUsage(f"{file}: is already there; name another file or remove it")
    if not file.parent.is_dir():
        raise BadUsage(f"{file}: cannot be written (no folder {file.parent}); make it or name another place")
    write_text(file, to_toml())
    click.echo(f"wrote {file}; use it with `bot -c {file} …`")
