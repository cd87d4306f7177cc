"""``bot journal``: show, verify, replay or export what a bot has kept; also beside a running daemon."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.output import emit_json
from bot.domain.errors import BadUsage, Broken
from bot.domain.words import counted

if TYPE_CHECKING:
    from bot.app.state.exports import What

_ROWS = 20
_WHATS = ("trades", "fills", "orders", "equity", "funding", "events")
_account = click.option(
    "--account", metavar="NAME", help="Such as paper-1. Default: the one that was written to last."
)
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


@click.group()
def journal() -> None:
    """What the bot has kept: every input and every decision, in order, in the state directory."""


_last = click.option(
    "--last", type=click.IntRange(min=1), help="Rows shown. Default: 20; with --csv all of them."
)
_as_csv = click.option("--csv", "as_csv", is_flag=True, help="CSV on stdout: times in ms, money exact.")


def _shows_rows(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a command that shows the latest rows of one kind."""
    return _account(_last(_as_json(_as_csv(pass_context(command)))))


@journal.command()
@_account
@click.option("--what", type=click.Choice(_WHATS), default="events", show_default=True)
@_last
@_as_json
@_as_csv
@pass_context
def show(
    context: Context, account: str | None, what: "What", last: int | None, as_json: bool, as_csv: bool
) -> None:
    """Show the latest rows of an account."""
    _show(context, account, what, last, as_json, as_csv)


@click.command()
@_shows_rows
def trades(context: Context, account: str | None, last: int | None, as_json: bool, as_csv: bool) -> None:
    """The latest closed trades: entry, exit, costs, result, why they ended. Needs no running bot."""
    _show(context, account, "trades", last, as_json, as_csv)


@click.command()
@_shows_rows
def orders(context: Context, account: str | None, last: int | None, as_json: bool, as_csv: bool) -> None:
    """The latest orders: what was asked, why, and what became of it. Needs no running bot."""
    _show(context, account, "orders", last, as_json, as_csv)


@click.command()
@_shows_rows
def equity(context: Context, account: str | None, last: int | None, as_json: bool, as_csv: bool) -> None:
    """The account's value at the latest closes. Needs no running bot."""
    _show(context, account, "equity", last, as_json, as_csv)


def _show(
    context: Context, account: str | None, what: "What", last: int | None, as_json: bool, as_csv: bool
) -> None:
    from bot.app.state import exports, journals

    if as_json and as_csv:
        raise BadUsage("--json and --csv contradict each other")
    state_dir = context.state_dir()
    chosen = journals.choose_journal(state_dir, account)
    columns = exports.read(chosen, what)
    if as_csv:
        from bot.cli.views.rows import print_csv

        print_csv(columns, last)
        return
    accounts = [each.account for each in journals.journals(state_dir)]
    shown = last or _ROWS
    if as_json:
        rows = zip(*(values[-shown:] for values in columns.values()), strict=True)
        named = [dict(zip(columns, map(exports.shown, row), strict=True)) for row in rows]
        emit_json({"account": chosen.account, "accounts": accounts, what: named})
        return
    from bot.cli.terminal.console import console
    from bot.cli.views.rows import rows_table, total_words

    count = len(next(iter(columns.values()), ()))
    title = [
        f"{chosen.account}: {_counted(count, what)}"
        + (f", the latest {shown}" if count > shown else "")
        + " (UTC)"
    ]
    title += [total_words(what, columns)]
    title += [f"other accounts: {', '.join(each for each in accounts if each != chosen.account)}"] * (
        len(accounts) > 1
    )
    click.echo("; ".join(filter(None, title)))
    if count:
        terminal = console()
        terminal.print(rows_table(what, columns, shown, terminal.width))


def _counted(count: int, what: "What") -> str:
    """Return a number of rows with their noun."""
    if what == "funding":
        return f"{count:,} funding {'payment' if count == 1 else 'payments'}"
    nouns = "closes" if what == "equity" else what
    return f"{count:,} {nouns.removesuffix('s') if count == 1 else nouns}"


@journal.command()
@_account
@_as_json
@pass_context
def verify(context: Context, account: str | None, as_json: bool) -> None:
    """Check every line, every segment and every snapshot; name the first damage. Exit 1 if there is one."""
    from dataclasses import asdict

    from bot.app.state import journals

    chosen = journals.choose_journal(context.state_dir(), account)
    checked = journals.verify(chosen)
    if as_json:
        emit_json({"account": chosen.account, **asdict(checked)})
        return
    torn = f", {checked.torn_bytes} bytes of an unfinished write at the end" if checked.torn_bytes else ""
    ended = "ended" if checked.closed else "not ended (it runs, or crashed)"
    size = f"{checked.entries} entries in {counted(checked.segments, 'segment')}, {checked.bytes >> 10} KiB"
    click.echo(f"{chosen.account}: {size}, all in order{torn}; {ended}")


@journal.command()
@_account
@_as_json
@pass_context
def replay(context: Context, account: str | None, as_json: bool) -> None:
    """Replay every decision from the inputs alone; print the first that comes out otherwise. Then exit 1."""
    from bot.app.state import journals

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
            f"{chosen.account}: {counted(inputs, 'input')} in {counted(segments, 'segment')}, "
            "every decision came out the same"
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
    from bot.app.state import exports, journals

    chosen = journals.choose_journal(context.state_dir(), account)
    rows = exports.write(exports.read(chosen, what), out)
    if as_json:
        emit_json({"account": chosen.account, "what": what, "out": str(out), "rows": rows})
    else:
        click.echo(f"{out}: {_counted(rows, what)} of {chosen.account}")
