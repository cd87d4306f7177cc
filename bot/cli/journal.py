"""``bot journal``: show, verify, replay or export what a bot has kept; also beside a running daemon."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.app.context import Context
from bot.app.times import show_time
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.output import emit_json
from bot.domain.errors import Broken

if TYPE_CHECKING:
    from bot.app.exports import What

_WHATS = ("trades", "fills", "orders", "equity", "funding", "events")
_account = click.option(
    "--account", metavar="NAME", help="Such as paper-1. Default: the one that was written to last."
)
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


@click.group()
def journal() -> None:
    """What the bot has kept: every input and every decision, in order, in the state directory."""


_last = click.option("--last", type=click.IntRange(min=1), default=20, show_default=True, help="Rows shown.")


@journal.command()
@_account
@click.option("--what", type=click.Choice(_WHATS), default="events", show_default=True)
@_last
@_as_json
@pass_context
def show(context: Context, account: str | None, what: "What", last: int, as_json: bool) -> None:
    """Show the latest rows of an account."""
    _show(context, account, what, last, as_json)


@click.command()
@_account
@_last
@_as_json
@pass_context
def trades(context: Context, account: str | None, last: int, as_json: bool) -> None:
    """The latest closed trades: entry, exit, costs, result."""
    _show(context, account, "trades", last, as_json)


@click.command()
@_account
@_last
@_as_json
@pass_context
def orders(context: Context, account: str | None, last: int, as_json: bool) -> None:
    """The latest orders: what was asked, why, and what became of it."""
    _show(context, account, "orders", last, as_json)


@click.command()
@_account
@_last
@_as_json
@pass_context
def equity(context: Context, account: str | None, last: int, as_json: bool) -> None:
    """The account's value at the latest closes."""
    _show(context, account, "equity", last, as_json)


def _show(context: Context, account: str | None, what: "What", last: int, as_json: bool) -> None:
    from bot.app import exports, journals

    state_dir = context.state_dir()
    chosen = journals.choose_journal(state_dir, account)
    columns = {name: values[-last:] for name, values in exports.read(chosen, what).items()}
    rows = list(zip(*columns.values(), strict=True))
    accounts = [each.account for each in journals.journals(state_dir)]
    if as_json:
        named = [dict(zip(columns, map(exports.shown, row), strict=True)) for row in rows]
        emit_json({"account": chosen.account, "accounts": accounts, what: named})
        return
    click.echo(f"{chosen.account} (accounts: {', '.join(accounts)}); the latest {len(rows)} {what}")
    if rows:
        click.echo("  ".join(columns))
    for row in rows:
        click.echo("  ".join(_cell(name, value) for name, value in zip(columns, row, strict=True)))


@journal.command()
@_account
@_as_json
@pass_context
def verify(context: Context, account: str | None, as_json: bool) -> None:
    """Check every line, every segment and every snapshot; name the first damage. Exit 1 if there is one."""
    from dataclasses import asdict

    from bot.app import journals

    chosen = journals.choose_journal(context.state_dir(), account)
    checked = journals.verify(chosen)
    if as_json:
        emit_json({"account": chosen.account, **asdict(checked)})
        return
    torn = f", {checked.torn_bytes} bytes of an unfinished write at the end" if checked.torn_bytes else ""
    ended = "ended" if checked.closed else "not ended (it runs, or crashed)"
    size = f"{checked.entries} entries in {checked.segments} segments, {checked.bytes >> 10} KiB"
    click.echo(f"{chosen.account}: {size}, all in order{torn}; {ended}")


@journal.command()
@_account
@_as_json
@pass_context
def replay(context: Context, account: str | None, as_json: bool) -> None:
    """Replay every decision from the inputs alone; print the first that comes out otherwise. Then exit 1."""
    from bot.app import journals

    chosen = journals.choose_journal(context.state_dir(), account)
    segments, inputs, differences = 0, 0, list[str]()
    for done in journals.replay(chosen):
        segments, inputs = segments + 1, inputs + done.inputs
        if done.difference is not None:
            differences.append(f"segment {done.segment}: {done.difference}")
            break
    if as_json:
        told: Mapping[str, object] = {"account": chosen.account, "segments": segments, "inputs": inputs}
        emit_json({**told, "difference": differences[0] if differences else None})
    elif not differences:
        click.echo(
            f"{chosen.account}: {inputs} inputs in {segments} segments, every decision came out the same"
        )
    if differences:
        raise Broken(f"{chosen.account}: {differences[0]}")


@journal.command()
@_account
@click.option("--what", type=click.Choice(_WHATS), required=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, metavar="FILE")
@_as_json
@pass_context
def export(context: Context, account: str | None, what: "What", out: Path, as_json: bool) -> None:
    """Write trades, fills, orders, equity, funding or events to FILE.csv or FILE.parquet."""
    from bot.app import exports, journals

    chosen = journals.choose_journal(context.state_dir(), account)
    rows = exports.write(exports.read(chosen, what), out)
    if as_json:
        emit_json({"account": chosen.account, "what": what, "out": str(out), "rows": rows})
    else:
        click.echo(f"{out}: {rows} {what} of {chosen.account}")


def _cell(name: str, value: object) -> str:
    if value is None:
        return "-"
    if name.endswith("_ms") and isinstance(value, int):
        return show_time(value)
    return str(value)
