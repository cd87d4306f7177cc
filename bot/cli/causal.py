"""``bot check lookahead`` and ``bot check warmup``: the future, and the beginning, of your own history."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.files import data_option
from bot.cli.terminal.output import emit_json, emit_table
from bot.cli.terminal.progress import progress_bar
from bot.domain.errors import BotError
from bot.domain.words import counted
from bot.service.moments import ZONE, in_zone, minute_cell

if TYPE_CHECKING:
    from bot.app.checks.copies import Original
    from bot.app.checks.lookahead import Lookahead
    from bot.app.checks.subjects import Subject
    from bot.app.checks.tables import ChangedValue
    from bot.app.checks.warmup import Warmup

_Command = Callable[..., None]


class Leaks(BotError):
    """Something said at a close depends on what it must not depend on."""


@dataclass(frozen=True)
class _Asked:
    """What both checks are told: the subject, its candle files, how many bars to read, and how to answer."""

    subject: "Subject"
    data: tuple[Path, ...]
    bars: int | None
    as_json: bool

    def sources(self, default_bars: int) -> "list[Original]":
        """Read the last bars of the files."""
        from bot.app.checks.running import bars_for, read_sources

        return read_sources(self.data, bars_for(self.subject, self.bars, default_bars))


def _check_option(command: _Command) -> _Command:
    """Add the options that say what is checked, and on which candles; pass them to the command as one."""

    @wraps(command)
    @pass_context
    def called(
        context: Context,
        /,
        data: tuple[Path, ...],
        strategy: str | None,
        param: tuple[str, ...],
        model: Path | None,
        features: str | None,
        instrument: str | None,
        bars: int | None,
        as_json: bool,
        **own: object,
    ) -> None:
        from bot.app.checks.running import choose

        subject = choose(
            context,
            strategy=strategy,
            params=param,
            model=context.model_dir(model),
            features=features,
            instrument=instrument,
        )
        command(_Asked(subject, data, bars, as_json), **own)

    options: list[Callable[[_Command], _Command]] = [
        data_option,
        click.option("--strategy", help="Name, or file.py:Class of your own. Default: the settings'."),
        click.option("--param", multiple=True, metavar="K=V", help="Strategy parameter; repeat."),
        click.option(
            "--model",
            type=click.Path(path_type=Path),
            help="Model name or directory: checked alone, or used by --strategy.",
        ),
        click.option(
            "--features",
            metavar="FILE.py:FUNCTION",
            help="Your function of candles: one row a bar; checked alone.",
        ),
        click.option("--instrument", help="FILE of rules, or exact for none. Default: the shipped rules."),
        click.option("--bars", type=click.IntRange(min=60), help="Last bars to read. Default: enough."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout."),
    ]
    with_options: _Command = called
    for option in reversed(options):
        with_options = option(with_options)
    return with_options


@click.command()
@_check_option
@click.option(
    "--cuts",
    type=click.IntRange(1, 500),
    help="Closes to change the future at. Default: 16; of features 40, with a model 6.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the other futures.")
def lookahead(asked: _Asked, *, cuts: int | None, seed: int) -> None:
    """Change the future at several closes; list what changed before them.

    A strategy (its targets, orders and forecasts), a model (features and forecasts), or a function of candles
    is run on copies of the files whose later bars are gone, three times as high, or a third. Two equal runs
    come first: chance without a seed, and variables that outlive a run, are told as such.

    Exit: 0 nothing was found, which is no proof; 1 something was.
    """
    from bot.app.checks.lookahead import NO_PROOF, check_lookahead, runs
    from bot.app.checks.running import LOOKAHEAD_BARS, cuts_for

    sources = asked.sources(LOOKAHEAD_BARS)
    cuts = cuts_for(asked.subject) if cuts is None else cuts
    with progress_bar("lookahead", runs(cuts), "runs") if not asked.as_json else nullcontext() as update:
        found = check_lookahead(asked.subject, sources, cuts=cuts, seed=seed, progress=update)
    if asked.as_json:
        emit_json({**found.told(), "words": NO_PROOF if found.clean else ""})
    else:
        _print_lookahead(found)
    if not found.clean:
        raise Leaks(f"{found.subject}: its results cannot be believed; what was found is listed above")
    if not asked.as_json:
        click.echo(NO_PROOF)


@click.command()
@_check_option
@click.option(
    "--starts",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    help="Bars at which the history is begun.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0.0, 1.0, min_open=True),
    help="Relative difference that counts as none. Default: 1e-6; with a model's forecasts 0.01.",
)
def warmup(asked: _Asked, *, starts: int, tolerance: float | None) -> None:
    """Cut the beginning of the history; say after how many bars results no longer depend on it.

    Compares this with the bars that a run reads before --start. A run that trades from the first bar of its
    files has none of them.

    Exit: 0 a run reads enough, 1 it does not.
    """
    from bot.app.checks.running import WARMUP_CHECK_BARS
    from bot.app.checks.warmup import NO_PROOF, check_warmup

    sources, total = asked.sources(WARMUP_CHECK_BARS), starts * _RUNS_A_START
    with progress_bar("warmup", total, "runs") if not asked.as_json else nullcontext() as update:
        found = check_warmup(asked.subject, sources, starts=starts, tolerance=tolerance, progress=update)
    if asked.as_json:
        emit_json({**found.told(), "proof": NO_PROOF if found.clean else ""})
    else:
        _print_warmup(found)
    if not found.clean:
        raise Leaks(f"{found.subject}: {found.advice}")
    if not asked.as_json:
        click.echo(NO_PROOF)


_RUNS_A_START = 10
"""About; for the progress bar."""


def _print_lookahead(found: "Lookahead") -> None:
    click.echo(
        f"{found.subject}: {counted(found.bars, 'bar')}, {counted(found.values, 'value')}, "
        "the future changed at "
        f"{counted(len(found.cuts_ms), 'close')}"
    )
    for each in found.findings[:_FINDINGS]:
        click.echo(f"{each.kind}: {each.words}")
        shown = each.differences[-_SHOWN:] if each.kind == "future" else each.differences[:_SHOWN]
        _print_differences(shown, each.count)
        if len(each.counts) > 1:
            click.echo("by field: " + ", ".join(f"{name} {count:,}" for name, count in each.counts.items()))
    if len(found.findings) > _FINDINGS:
        click.echo(
            f"… {counted(len(found.findings) - _FINDINGS, 'more finding')} of this kind; --json has all"
        )
    for note in found.notes:
        click.echo(f"note: {note}")
    if found.clean:
        click.echo("nothing said at a close changed with later bars")


def _print_warmup(found: "Warmup") -> None:
    starts = ", ".join(minute_cell(each) for each in found.starts_ms)
    click.echo(f"{found.subject}: {counted(found.bars, 'bar')}, begun at {starts} ({ZONE})")
    if found.columns:
        rows = [
            (name, f"more than {found.tried:,}" if bars is None else f"{bars:,}")
            for name, bars in sorted(
                found.columns.items(), key=lambda item: (item[1] is not None, -(item[1] or 0))
            )
        ]
        emit_table(("column", "bars"), rows[:_ROWS])
        if len(rows) > _ROWS:
            click.echo(f"… {len(rows) - _ROWS} columns that need fewer")
    click.echo(f"{found.words}; a run reads {found.given:,} before --start")
    if found.differences:
        click.echo("with as many, this differs:")
        _print_differences(found.differences, len(found.differences))
    for note in found.notes:
        click.echo(f"note: {note}")


_ROWS = 20
_FINDINGS = 4
_SHOWN = 8


def _print_differences(differences: "Sequence[ChangedValue]", count: int) -> None:
    if not differences:
        return
    rows = [
        (minute_cell(each.ts_ms), each.symbol, each.field, _cell(each.before), _cell(each.after))
        for each in differences
    ]
    emit_table((in_zone("close"), "symbol", "field", "before", "after"), rows)
    if count > len(rows):
        click.echo(f"… {count - len(rows):,} more")


def _cell(value: float | str | None) -> str:
    return "–" if value is None else value if isinstance(value, str) else f"{value:.10g}"
