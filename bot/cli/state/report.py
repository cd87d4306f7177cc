"""``bot report``: a live run, alone or over a backtest of the same bars; or finished results side by side."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.output import emit_json, emit_table
from bot.domain.errors import BadUsage
from bot.domain.words import counted
from bot.service.moments import in_zone, minute_cell, minute_words

if TYPE_CHECKING:  # completion and --help load no engine
    from bot.app.overlay.differences import Overlay
    from bot.app.overlay.kept import Journaled

_SHOWN = 10


@click.command()
@click.argument("run", required=False)
@click.argument("backtest", nargs=-1)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Where the page goes. Default: RUN.html; none with --json, and none of a comparison.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@pass_context
def report(
    context: Context, run: str | None, backtest: tuple[str, ...], out: Path | None, as_json: bool
) -> None:
    """A page of RUN, an account of the journal such as paper-1 (default: the one written to last).

    With BACKTEST the run lies over a backtest of the same bars, with its own strategy and settings: equity of
    both, and each fill that differs, with the reason. BACKTEST is one candle file for each symbol, or the
    word `journal`: the bars that the run itself has kept. Works beside a running daemon.

    Two or more results instead are compared side by side: .json files that `bot backtest`, `sweep` and
    `walkforward` write with --json, and accounts of the journal. --out writes the comparison as a page with
    the curves.
    """
    sources = [each for each in (run, *backtest) if each is not None]
    if any(each.endswith(".json") for each in sources) or any(_is_account(each) for each in backtest):
        _compare(sources, context, out, as_json=as_json)
        return
    from bot.app.overlay import pages
    from bot.app.overlay.kept import read_run
    from bot.app.state import journals

    if run is not None and Path(run).is_file():
        raise BadUsage(
            f"RUN {run}: is a file, not an account such as paper-1; results that are compared are files of "
            "--json and end in .json"
        )
    journal = journals.choose_journal(context.state_dir(), run)
    kept = read_run(journal)
    laid = _laid_over(kept, backtest) if backtest else None
    if out is None and not as_json:
        out = Path(f"{journal.account}.html")
    if out is not None:
        _write(out, kept, laid)
    if as_json:
        emit_json(pages.numbers(kept) if laid is None else pages.overlay_numbers(kept, laid))
        return
    _say(kept, laid)
    click.echo(f"report: {out}")


def _is_account(source: str) -> bool:
    """Return True for the name of an account such as ``paper-1``: no file, and not the word `journal`."""
    return re.fullmatch(r"[a-z]+-[0-9]+", source) is not None


def _compare(sources: list[str], context: Context, out: Path | None, *, as_json: bool) -> None:
    from bot.app.overlay import side_by_side
    from bot.app.overlay.finished import kind_of, read_results

    found = read_results(sources, context.state_dir())
    if out is not None:
        _written(out, lambda: side_by_side.write_page(out, sources, found))
    if as_json:
        emit_json(side_by_side.numbers(sources, found))
        return
    for i, (source, each) in enumerate(zip(sources, found, strict=True), 1):
        click.echo(f"{i}  {kind_of(each)} of {each.strategy}: {source}")
    for note in side_by_side.notes_of(found):
        click.echo(f"note: {note}")
    heads = [str(i) for i in range(1, len(found) + 1)]
    rows = side_by_side.rows_of(found)
    emit_table(("figure", *heads), [(name, *map(_figure, values)) for name, values in rows])
    differing = side_by_side.settings_of(found)
    if differing:
        emit_table(
            ("settings that differ", *heads),
            [(name, *map(_setting, values)) for name, values in differing.items()],
        )
    if out is not None:
        click.echo(f"report: {out}")


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.4g}"


def _setting(value: object) -> str:
    return "-" if value is None else str(value)[:16]


def _laid_over(kept: "Journaled", backtest: tuple[str, ...]) -> "Overlay":
    from bot.app.overlay.differences import lay_over
    from bot.app.overlay.same_bars import KEPT, run_backtest

    if KEPT in backtest and len(backtest) > 1:
        raise BadUsage(f"BACKTEST: give candle files or the word {KEPT}, not both")
    files = [] if backtest == (KEPT,) else [Path(each) for each in backtest]
    return lay_over(kept.run, run_backtest(kept, files))


def _write(out: Path, kept: "Journaled", laid: "Overlay | None") -> None:
    from bot.app.overlay import pages

    _written(
        out, lambda: pages.write_run(out, kept) if laid is None else pages.write_overlay(out, kept, laid)
    )


def _written(out: Path, write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        raise BadUsage(f"--out {out}: cannot be written ({error.strerror}); name another place") from error


def _say(kept: "Journaled", laid: "Overlay | None") -> None:
    from bot.app.overlay import pages

    run = kept.run
    click.echo(
        f"{run.name}: {kept.arguments.strategy}, {minute_cell(run.first_ms)} to {minute_words(run.last_ms)}, "
        f"{counted(len(run.ts_ms), 'close')}, {counted(len(run.fills), 'fill')}, equity {run.equity[-1]:,.2f}"
    )
    for note in pages.notes(kept, laid):
        click.echo(f"note: {note}")
    if laid is None:
        return
    odd = {"missed": laid.bars.missed, "late": laid.bars.late, "different": laid.bars.other}
    told = ", ".join(f"{len(found):,} {name}" for name, found in odd.items() if found)
    if laid.bars.pruned:
        told = ", ".join(filter(None, (told, f"{laid.bars.pruned:,} gone from the journal")))
    click.echo(f"bars: {laid.bars.same:,} the same{', ' + told if told else ''}")
    click.echo(
        f"fills: {laid.same_fills:,} the same, {len(laid.differences):,} different; "
        f"equity of the backtest {laid.backtest.equity[-1]:,.2f}, at most {pages.equity_gap(laid):,.2f} apart"
    )
    for cause, count in laid.by_cause().items():
        click.echo(f"  {count:,} {cause}")
    if laid.differences:
        emit_table(
            (in_zone("bar opens"), "symbol", "side", "cause", "why"),
            [
                (minute_cell(each.opened_ms), each.symbol, each.side, each.cause.value, each.words)
                for each in laid.differences[:_SHOWN]
            ],
        )
    if len(laid.differences) > _SHOWN:
        click.echo(f"and {len(laid.differences) - _SHOWN:,} more; the page and --json have all")
