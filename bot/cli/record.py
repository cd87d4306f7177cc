"""``bot record``: the exchange's public frames into files, as they come; and the check of such files."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.output import emit_json, emit_table
from bot.cli.terminal.progress import live_line
from bot.cli.terminal.times import DURATION
from bot.cli.terminal.words import SYMBOL
from bot.domain.errors import BadFile
from bot.domain.market import INTERVALS_MS
from bot.service.moments import in_zone, second_cell, second_words

if TYPE_CHECKING:
    from bot.app.recording import RecordingFacts, Span

_SAY_EVERY_S = 60.0
_SHOWN_GAPS = 20


@click.command()
@click.option(
    "--feed",
    type=click.Choice(["mainnet", "testnet", "local"]),
    help="Where the frames come from. Default: the settings' feed.kind.",
)
@click.option("--symbol", type=SYMBOL, multiple=True, help="BTCUSDT; repeat for more. Default: feed.symbols.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the recording."
)
@click.option(
    "--topics",
    default="kline,trades,book,tickers",
    show_default=True,
    help="Some of these, with commas between.",
)
@click.option("--interval", type=click.Choice(list(INTERVALS_MS)), default="1m", show_default=True)
@click.option(
    "--depth",
    type=click.Choice(["1", "50", "200", "1000"]),
    default="50",
    show_default=True,
    help="Levels of the book on each side.",
)
@click.option(
    "--max-gb",
    type=click.FloatRange(min=0.001, max=1e6),
    default=20.0,
    show_default=True,
    help="Size of the folder; beyond it the oldest files are removed.",
)
@click.option(
    "--rotate-minutes",
    type=click.FloatRange(min=0.01, max=1440),
    default=60.0,
    show_default=True,
    help="A file is closed after this time; one that is large sooner.",
)
@click.option("--duration", type=DURATION, help="Stop after 60s, 30m, 2h.")
@click.option("--exchange", help="URL of the local exchange. Default: local.url.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout at the end.")
@pass_context
def record(
    context: Context,
    feed: str | None,
    symbol: tuple[str, ...],
    out: Path,
    topics: str,
    interval: str,
    depth: str,
    max_gb: float,
    rotate_minutes: float,
    duration: float | None,
    exchange: str | None,
    as_json: bool,
) -> None:
    """Record candles, trades, order book and tickers as they come, until you stop it (Ctrl-C, SIGTERM).

    `bot data verify DIR` names the gaps; `bot exchange --data DIR` replays it.
    """
    from bot.app.recording import record as run
    from bot.app.recording import topics_of

    settings = context.settings({"feed.kind": feed, "feed.symbols": symbol or None, "local.url": exchange})
    kinds = [kind.strip() for kind in topics.split(",") if kind.strip()]
    chosen = topics_of(settings.feed.symbols, kinds, interval, int(depth))
    with _progress(context.log) as show:
        told = run(
            context,
            settings,
            out=out,
            topics=chosen,
            max_bytes=round(max_gb * 1e9),
            rotate_ms=round(rotate_minutes * 60_000),
            duration_s=duration,
            show=show,
        )
    if as_json:
        emit_json(told)
    else:
        click.echo(f"{out}: {_words(told)}")


@contextmanager
def _progress(log: Any) -> Iterator[Any]:
    """Yield what shows the counts: a line that changes on a terminal, else one in the log each minute."""
    said_s = 0.0

    def say(told: Mapping[str, object]) -> None:
        nonlocal said_s
        seconds = float(str(told["seconds"]))
        if seconds - said_s >= _SAY_EVERY_S:
            said_s = seconds
            log.info("recording", **told)

    if not sys.stderr.isatty():
        yield say
        return
    with live_line() as change:
        yield lambda told: change(f"recording: {_words(told)}" + ("" if told["up"] else "; not connected"))


def _words(told: Mapping[str, object]) -> str:
    seconds, frames = float(str(told["seconds"])), int(str(told["frames"]))
    megabytes = int(str(told["written_bytes"])) / 1e6
    return (
        f"{frames:,} frames in {int(seconds // 3600)}:{int(seconds // 60 % 60):02}:{int(seconds % 60):02}, "
        f"{megabytes:,.1f} MB in {told['files']} file(s), {told['gaps']} gap(s)"
    )


# `bot data verify DIR`


def verify_recordings(folders: Sequence[Path], as_json: bool) -> None:
    """Print the facts of each recording. A gap is a fact; damage is a problem.

    Raises:
        BadFile: no recording in a folder, or a damaged file.
    """
    from bot.app.recording import recording_facts

    found = [recording_facts(folder) for folder in folders]
    problems = [problem for facts in found for problem in facts.problems]
    if as_json:
        emit_json({"recordings": [_row(facts) for facts in found], "problems": len(problems)})
    else:
        header = (
            "folder",
            "files",
            "MB",
            "frames",
            *map(in_zone, ("first", "last")),
            "gaps",
            "missing s",
            "problems",
        )
        emit_table(header, [_cells(facts) for facts in found])
        for facts in found:
            _print(facts)
    if problems:
        raise BadFile(f"{len(problems)} problem(s): {problems[0]}")


def _missing_s(facts: "RecordingFacts") -> float:
    from bot.app.recording import missing_s

    return round(missing_s(facts.gaps, facts.last_us), 1)


def _row(facts: "RecordingFacts") -> dict[str, object]:
    return {**asdict(facts), "missing_s": _missing_s(facts)}


def _cells(facts: "RecordingFacts") -> tuple[object, ...]:
    return (
        facts.folder,
        facts.files,
        round(facts.bytes / 1e6, 1),
        facts.frames,
        None if facts.first_us is None else second_cell(facts.first_us // 1000),
        None if facts.last_us is None else second_cell(facts.last_us // 1000),
        len(facts.gaps),
        _missing_s(facts),
        len(facts.problems),
    )


def _print(facts: "RecordingFacts") -> None:
    for topic, frames in facts.topics.items():
        click.echo(f"  {topic}: {frames:,} frames")
    for gap in facts.gaps[:_SHOWN_GAPS]:
        click.echo(f"  gap {_span(gap)}: {_names(gap.topics)}: {gap.reason}")
    if len(facts.gaps) > _SHOWN_GAPS:
        click.echo(f"  {len(facts.gaps) - _SHOWN_GAPS} more gaps; --json lists all")
    if facts.torn_bytes:
        click.echo(
            f"  {facts.torn_bytes:,} bytes at the end of files were cut off by a kill; the rows before stand"
        )
    if facts.clock_steps:
        click.echo(f"  this machine's clock went back {facts.clock_steps} time(s)")


def _span(gap: "Span") -> str:
    began = second_words(gap.from_us // 1000)
    if gap.to_us is None:
        return f"{began} to the end"
    return f"{began} for {(gap.to_us - gap.from_us) / 1e6:.1f} s"


def _names(topics: Sequence[str]) -> str:
    return topics[0] if len(topics) == 1 else f"{len(topics)} topics"
