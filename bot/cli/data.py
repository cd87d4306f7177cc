"""``bot data``: candle files, fetched, imported, listed, verified, made up."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.app.context import Context
from bot.cli.fetch import fetch
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.numbers import counts
from bot.cli.terminal.output import emit_json, emit_table
from bot.cli.terminal.times import TIME
from bot.cli.terminal.words import SYMBOL
from bot.domain.errors import BadFile, BadUsage
from bot.domain.market import DAY_MS, INTERVALS_MS
from bot.domain.words import counted
from bot.service.moments import in_zone, minute_cell, minute_words

if TYPE_CHECKING:
    from bot.app.candles.files import FileFacts, Prefer

_PATH = click.Path(path_type=Path)
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
_INTERVAL = click.Choice(list(INTERVALS_MS))
SHOWN_PROBLEMS = 20


@click.group()
def data() -> None:
    """Candle files: VENUE_MARKET_SYMBOL_INTERVAL.parquet, and funding beside them."""


data.add_command(fetch)


@data.command(name="import")
@click.argument("files", metavar="FILE...", type=_PATH, nargs=-1, required=True)
@click.option("--symbol", type=SYMBOL, help="Where FILE's name does not say it: BTCUSDT.")
@click.option("--interval", type=_INTERVAL, help="Where FILE's name does not say it.")
@click.option("--venue", help="First word of the new name. Default: FILE's, else import.")
@click.option("--market", help="Second word of the new name. Default: FILE's, else linear.")
@click.option("--column", "columns", multiple=True, metavar="OURS=THEIRS", help="volume=Volume; repeat.")
@click.option("--utc", is_flag=True, help="Written times without an offset are UTC.")
@click.option("--decimal", type=click.Choice([".", ","]), help="Before the fraction. Default: as shown.")
@click.option(
    "--repair", is_flag=True, help="Sort a file's rows, and drop those that repeat another exactly."
)
@click.option("--prefer", type=click.Choice(["first", "last"]), help="Of two different rows of one time.")
@click.option(
    "--out",
    type=_PATH,
    help="File to write: VENUE_MARKET_SYMBOL_INTERVAL with .parquet or .csv. Default: in data_dir.",
)
@click.option("--force", is_flag=True, help="Replace a file that is already there.")
@_JSON
@pass_context
def import_(
    context: Context,
    files: tuple[Path, ...],
    symbol: str | None,
    interval: str | None,
    venue: str | None,
    market: str | None,
    columns: tuple[str, ...],
    utc: bool,
    decimal: str | None,
    repair: bool,
    prefer: "Prefer | None",
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Join foreign files of candles into one candle file: CSV, Parquet, Feather, JSON, .gz and .zip of them.

    Files of single trades (such as public.bybit.com/trading) become bars of --interval; a bar without a trade
    is flat at the close before, with volume 0, where the files cover it.

    Other column names, separators and time units are recognised and said; names like BTCUSDT-1m-2020-12.zip
    say symbol and interval. Quoted patterns ('BTCUSDT-1m-*.zip') work too.
    """
    from bot.app.candles.files import Reading, column_pairs, import_files

    settings = context.settings()
    done: dict[str, Any] = import_files(
        files,
        out,
        settings.data_dir,
        Reading(column_pairs(columns), utc, decimal, repair, prefer),
        symbol=symbol,
        interval=interval,
        venue=venue,
        market=market,
        force=force,
    )
    if as_json:
        emit_json(done)
        return
    click.echo(imported_words(done))
    for note in done["notes"]:
        click.echo(f"note: {note}", err=True)


def imported_words(done: dict[str, Any]) -> str:
    """Return one line about an import: what was recognised, what was joined, what was left out."""
    dialects = ", ".join(
        f"{name} ({count})" if count > 1 else name for name, count in done["dialects"].items()
    )
    columns = ", ".join(f"{ours}={theirs}" for ours, theirs in done["columns"].items())
    units = " and ".join(f"{unit} ({rows:,} rows)" for unit, rows in done["time_units"].items())
    counts = {
        "trades": done["trades"],
        "bars without a trade": done["flat_bars"],
        "rows moved": done["reordered"],
        "repeats dropped": done["dropped_repeats"],
        "other rows dropped": done["dropped_other"],
        "headers skipped": done["dropped_headers"],
        "unclosed left out": done["dropped_unclosed"],
    }
    changes = "".join(f"; {count:,} {word}" for word, count in counts.items() if count)
    holes = (
        f"{counted(done['gaps'], 'gap')} ({counted(done['missing_bars'], 'bar')})"
        if done["gaps"]
        else "no gaps"
    )
    return (
        f"{done['file']}: {counted(done['rows'], 'bar')} from {minute_words(done['first_ms'])} to "
        f"{minute_words(done['last_ms'])}, {holes}, out of {counted(done['tables'], 'table')}: "
        f"{dialects}; {columns}; times in {units}{changes}"
    )


@data.command()
@click.argument("files", metavar="FILE...", type=_PATH, nargs=-1, required=True)
@click.option("--interval", type=_INTERVAL, required=True, help="Length of the bars to make.")
@click.option("--out", type=_PATH, help="Folder. Default: beside each FILE.")
@click.option("--force", is_flag=True, help="Replace files that are already there.")
@_JSON
@pass_context
def resample(
    context: Context, files: tuple[Path, ...], interval: str, out: Path | None, force: bool, as_json: bool
) -> None:
    """Join the bars of candle files to longer ones: 5m to 1h, for example.

    Each longer bar is made of all its parts. Where one is missing, the longer bar is missing too. Funding
    rates are looked for beside the new file: copy FILE's funding file there if --out is another folder.
    """
    from bot.app.candles.files import resample_files

    made = resample_files(files, interval, out, force=force)
    if as_json:
        emit_json({"files": made})
        return
    for each in made:
        click.echo(
            f"{each['file']}: {counted(int(str(each['rows'])), 'bar')}, {counts(each, 'gap')}, "
            f"of {each['from']}"
        )


@data.command()
@click.option(
    "--symbol",
    "symbols",
    type=SYMBOL,
    multiple=True,
    default=("BTCUSDT",),
    show_default=True,
    help="Repeat for more.",
)
@click.option("--interval", type=_INTERVAL, default="5m", show_default=True)
@click.option("--days", type=click.IntRange(1, 3650), default=120, show_default=True)
@click.option("--start", type=TIME, default="2025-01-01", show_default=True, help="First bar, UTC.")
@click.option("--price", type=click.FloatRange(min=0, min_open=True), default=100.0, show_default=True)
@click.option("--daily-vol", type=float, default=0.03, show_default=True, help="Of a day's log return.")
@click.option("--predictability", type=float, default=0.0, show_default=True, help="Planted signal, -1 to 1.")
@click.option("--seed", type=click.IntRange(min=0), help="Default: the settings' seed.")
@click.option("--out", type=_PATH, help="Folder. Default: data_dir.")
@_JSON
@pass_context
def synth(
    context: Context,
    symbols: tuple[str, ...],
    interval: str,
    days: int,
    start: int,
    price: float,
    daily_vol: float,
    predictability: float,
    seed: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Invent candles and funding (synth_linear_…): the same options and seed give the same bytes."""
    from bot.app.candles.invented import MarketRecipe, invented_files

    settings = context.settings({"seed": seed})
    interval_ms = INTERVALS_MS[interval]
    recipe = MarketRecipe(
        interval_ms=interval_ms,
        bars=days * DAY_MS // interval_ms,
        start_ms=start,
        price=price,
        daily_vol=daily_vol,
        predictability=predictability,
    )
    folder = out or settings.data_dir
    files = invented_files(folder, recipe, symbols, settings.seed)
    if as_json:
        emit_json({"seed": settings.seed, "files": files})
        return
    for file in files:
        click.echo(
            f"{file['file']}: {counted(int(str(file['rows'])), 'bar')}, sha256 {str(file['sha256'])[:16]}"
        )


@data.command(name="list")
@click.argument("folder", type=_PATH, required=False)
@_JSON
@pass_context
def list_(context: Context, folder: Path | None, as_json: bool) -> None:
    """What is in FOLDER (default: data_dir)."""
    from bot.app.candles.files import candle_files, facts_of

    folder = folder or context.settings().data_dir
    facts = facts_of(candle_files(folder))
    if as_json:
        emit_json({"folder": str(folder), "files": [_row(one) for one in facts]})
    elif facts:
        _print_facts(facts)
    else:
        click.echo(f"{folder}: no candle files; `bot data fetch` or `bot data synth` makes some")


@data.command()
@click.argument("files", type=_PATH, nargs=-1)
@_JSON
@pass_context
def verify(context: Context, files: tuple[Path, ...], as_json: bool) -> None:
    """Check FILES (default: all in data_dir): facts, and every problem with its row; exit 5 if any.

    Columns: bars missing between others (gaps, the longest in bars), bars without volume or turnover, and
    stress: bars whose close is more than 20 % (log return) from the close before, or whose high or low is as
    far from open and close (a wick).

    A folder that `bot record` has filled may be given too: what it holds, and where something is missing.
    """
    from bot.app.candles.files import candle_files, facts_of
    from bot.cli.record import verify_recordings

    folders = [path for path in files if path.is_dir()]
    if folders:
        if len(folders) < len(files):
            raise BadUsage("check recordings (folders) and candle files one after the other, not together")
        verify_recordings(folders, as_json)
        return
    facts = facts_of(files or candle_files(context.settings().data_dir))
    if not facts:
        raise BadFile(f"{context.settings().data_dir}: no candle files to check")
    wrong = [one for one in facts if one.problems]
    if as_json:
        emit_json(
            {"files": [_row(one) for one in facts], "problems": sum(len(one.problems) for one in facts)}
        )
    else:
        _print_facts(facts)
        for one in wrong:
            _print_problems(one)
    if wrong:
        raise BadFile(
            f"{sum(len(one.problems) for one in wrong)} problem(s) in {len(wrong)} of {len(facts)} file(s), "
            f"the first in {wrong[0].path}"
        )


def _row(one: "FileFacts") -> dict[str, object]:
    row = asdict(one)
    row["stress_bars"] = [{"start_ms": ms, "log_return": value} for ms, value in one.stress_bars]
    row["wick_bars"] = [{"start_ms": ms, "log_distance": value} for ms, value in one.wick_bars]
    return row


def _print_facts(facts: "list[FileFacts]") -> None:
    header = (
        "file",
        "rows",
        in_zone("first"),
        in_zone("last"),
        "gaps",
        "longest",
        "zero vol",
        "no turnover",
        "stress",
        "problems",
    )
    rows = [
        (
            Path(one.path).name,
            one.rows,
            None if one.first_ms is None else minute_cell(one.first_ms),
            None if one.last_ms is None else minute_cell(one.last_ms),
            one.gaps,
            one.longest_gap_bars,
            one.zero_volume_bars,
            one.missing_turnover_bars,
            len({ms for ms, _ in (*one.stress_bars, *one.wick_bars)}),
            len(one.problems),
        )
        for one in facts
    ]
    emit_table(header, rows)
    for one in facts:
        for start_ms, log_return in one.stress_bars:
            click.echo(f"{one.path}: stress bar {minute_words(start_ms)}, log return {log_return:+.3f}")
        for start_ms, distance in one.wick_bars:
            click.echo(f"{one.path}: stress bar {minute_words(start_ms)}, a wick of {distance:+.3f} (log)")
        if one.unclosed_bars:
            click.echo(f"{one.path}: {one.unclosed_bars} bar(s) at the end have not closed yet")


def _print_problems(one: "FileFacts") -> None:
    from bot.app.candles.files import location

    for problem in one.problems[:SHOWN_PROBLEMS]:
        where = location(one.path, problem.row) if problem.row else one.path
        click.echo(f"{where}: {problem.what}")
    if len(one.problems) > SHOWN_PROBLEMS:
        click.echo(f"{one.path}: {len(one.problems) - SHOWN_PROBLEMS} more; --json lists all")
