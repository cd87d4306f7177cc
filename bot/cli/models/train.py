"""``bot train``: candle files to a model directory."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.files import data_option
from bot.cli.terminal.output import emit_json, emit_table
from bot.cli.terminal.times import TIME
from bot.domain.market import INTERVALS_MS

if TYPE_CHECKING:
    from bot.app.models.training import TrainingProgress

_PLAIN_EVERY_STEPS = 50


@click.command()
@data_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Model directory to write.")
@click.option(
    "--interval",
    type=click.Choice(list(INTERVALS_MS)),
    help="Join shorter bars to bars of this length. Default: the bars as they are.",
)
@click.option(
    "--cut",
    type=TIME,
    help="UTC date: fit and choose on bars before, validate after. Default: the last 15 %.",
)
@click.option(
    "--valid-until", type=TIME, help="UTC date: no bar after it is used. Default: the end of the data."
)
@click.option("--stop-days", type=click.IntRange(1), help="Days before the cut to choose the epoch on.")
@click.option("--epochs", type=click.IntRange(1), default=12, show_default=True, help="Passes over the data.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same weights.")
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="cpu, cuda, cuda:1, or auto: cuda if it is there.",
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of torch on the CPU.")
@click.option(
    "--lr", type=click.FloatRange(0, min_open=True), default=3e-3, show_default=True, help="Peak rate."
)
@click.option(
    "--lanes", type=click.IntRange(1), default=8, show_default=True, help="Streams read in parallel."
)
@click.option(
    "--window", type=click.IntRange(2), default=512, show_default=True, help="Bars between updates."
)
@click.option("--d-model", type=click.IntRange(1), default=64, show_default=True, help="Width.")
@click.option("--layers", type=click.IntRange(1), default=2, show_default=True, help="Depth.")
@click.option(
    "--features", type=click.IntRange(1), default=16, show_default=True, help="Random features a head."
)
@click.option("--half-lives", default="16,64,256,1024", show_default=True, help="Of each head, in bars.")
@click.option(
    "--horizons",
    metavar="MINUTES",
    help="Shorter and longer, such as 240,1440. Default: the definition's, else 15,60.",
)
@click.option(
    "--definition",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML file: targets and features of your own, half-lives.",
)
@click.option(
    "--patience",
    type=click.IntRange(0),
    default=4,
    show_default=True,
    help="Epochs without a better one, then stop; 0: take the last epoch.",
)
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.1, show_default=True)
@click.option(
    "--teacher",
    type=click.Choice(["none", "lightgbm"]),
    default="none",
    show_default=True,
    help="Learn its forecasts too; needs LightGBM.",
)
@click.option(
    "--lesson-weight",
    type=click.FloatRange(0),
    default=5.0,
    show_default=True,
    help="Of the teacher's forecast, against 1 for what came.",
)
@click.option(
    "--return-share",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="Of the network in forecasts of returns; the rest is the linear model.",
)
@click.option(
    "--trials", type=click.IntRange(1), default=1, help="Configurations tried so far, for the record."
)
@click.option(
    "--refit",
    "refitted",
    is_flag=True,
    help="Then fit again on every bar; the model that was judged goes to OUT-judged.",
)
@click.option("--force", is_flag=True, help="Replace the model that is in --out.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@pass_context
def train(
    context: Context,
    /,
    data: tuple[Path, ...],
    out: Path,
    interval: str | None,
    horizons: str | None,
    cut: int | None,
    valid_until: int | None,
    stop_days: int | None,
    half_lives: str,
    trials: int,
    refitted: bool,
    force: bool,
    definition: Path | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train on candle files of one interval and write a model directory.

    The split is by time alone: the epoch is chosen on days before the cut, skill is reported after it.
    With --refit the model in --out has seen every bar, so no bar is left to judge it on: its figures are
    those of the model in OUT-judged, which was trained in the same way on the bars before the cut.
    A run that diverges or learns nothing writes nothing and exits 1. A model that is there already is kept,
    unless --force is given.

    Several processes share out the lanes of each update, and give the weights of one up to rounding:
    `torchrun --nproc-per-node 2 -m bot train --data FILE --out DIR`.
    """
    from bot.app.models.training import TrainingJob

    job = TrainingJob(
        data,
        out,
        cut=cut,
        valid_until=valid_until,
        stop_days=stop_days,
        half_lives=half_lives,
        trials=trials,
        refitted=refitted,
        force=force,
        definition=definition,
        horizons=horizons,
        interval_ms=None if interval is None else INTERVALS_MS[interval],
        **settings,
    )
    if not job.speaks:  # another of several processes does
        job.fit(lambda progress: None)
        job.save()
        return
    for line in job.plan_lines():
        click.echo(line, err=True)
    with show_progress() as report:
        epoch = job.fit(report)
    click.echo("measuring skill and warm-up ...", err=True)
    saved = job.save()
    if as_json:
        emit_json(
            {"out": str(out), "hash": saved.hash, "warmup_bars": saved.warmup_bars, "skill": saved.skill}
        )
        return
    _print_skill(saved.skill, job.horizons.targets[0])
    click.echo(f"warm-up {saved.warmup_bars} bars, {saved.parameters} parameters, epoch {epoch}")
    if not epoch:
        click.echo(
            "note: no epoch was better, on the rows for choosing, than the linear model that training begins "
            "with: this model is the linear one, and its network adds nothing; try more --epochs"
        )
    click.echo(f"{out}: model {saved.hash[:12]}")


@contextmanager
def show_progress() -> Iterator[Callable[["TrainingProgress"], None]]:
    """Show a progress bar on a terminal, else a line from time to time."""
    if not sys.stderr.isatty():
        yield _plain
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("train", total=None, speed="")

        def update(progress: "TrainingProgress") -> None:
            if progress.chosen_qlike is not None:
                bars.console.print(_epoch_line(progress))
                return
            bars.update(
                task,
                description=f"epoch {progress.epoch}/{progress.epochs}",
                total=progress.epochs * progress.steps,
                completed=(progress.epoch - 1) * progress.steps + progress.step,
                speed=f"loss {progress.loss:.3f}  {progress.tokens_per_s:,.0f} tokens/s",
            )

        yield update


def _plain(progress: "TrainingProgress") -> None:
    if progress.chosen_qlike is not None:
        click.echo(_epoch_line(progress), err=True)
    elif progress.step % _PLAIN_EVERY_STEPS == 0 or progress.step == progress.steps:
        click.echo(
            f"epoch {progress.epoch}/{progress.epochs} step {progress.step}/{progress.steps} "
            f"loss {progress.loss:.4f} {progress.tokens_per_s:,.0f} tokens/s",
            err=True,
        )


def _epoch_line(progress: "TrainingProgress") -> str:
    return (
        f"epoch {progress.epoch}/{progress.epochs} QLIKE {progress.chosen_qlike:.4f} on the rows for choosing"
    )


def _print_skill(skill: dict[str, Any], variance: str) -> None:
    rows = []
    for name, figure in skill["qlike"].items():
        against = skill["qlike_minus"].get(name)
        rows.append((name, interval_text(figure), "" if against is None else interval_text(against)))
    emit_table((f"QLIKE of {variance}, validation", "figure [95 %]", "model minus it [95 %]"), rows)
    for name, figure in skill["qlike_by_position"].items():
        memory = "all bars" if name == "longest" else f"at most {name} bars"
        click.echo(f"QLIKE with {memory} of memory: {interval_text(figure)}")


def interval_text(figure: dict[str, float | None] | None, digits: int = 4) -> str:
    """``0.3312 [0.3101, 0.3523]``; a dash where there is no figure."""
    if figure is None:
        return "-"
    value, low, high = figure["value"], figure["low"], figure["high"]
    bounds = "" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{value:.{digits}f}{bounds}"
