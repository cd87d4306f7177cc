"""``bot sweep``: many parameters of one strategy, the best of them, and what that is worth."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.app.context import Context
from bot.app.search.words import halt_words, number_text, sampler_words, words
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.options import report_option, risk_option, run_options
from bot.cli.terminal.output import emit_json, emit_table
from bot.cli.terminal.progress import progress_bar
from bot.domain.errors import NoResult

if TYPE_CHECKING:
    from bot.app.search.cost import Cost
    from bot.app.search.processes.workers import Crew
    from bot.app.search.samplers import Sampler
    from bot.app.search.sweep import Progress, Sweep
    from bot.app.search.trial import Outcome


def search_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say what a search tries and how, shared by ``sweep`` and ``walkforward``."""
    options = [
        click.option(
            "--grid",
            multiple=True,
            metavar="K=V1,V2",
            help="Values of a parameter, or FROM..TO:STEP; with --trials also a range, 0.5..5 or "
            "12..288:log; repeat.",
        ),
        click.option(
            "--trials", type=click.IntRange(min=1), help="How many points to draw. Default: all of the grid."
        ),
        click.option(
            "--sampler",
            type=click.Choice(["grid", "random", "tpe"]),
            help="grid: every point. random: --trials points. tpe: --trials points, near good ones (Optuna). "
            "Default: random if --trials is given, else grid.",
        ),
        click.option(
            "--objective",
            default="sharpe",
            show_default=True,
            help="The figure to be large; -NAME: to be small.",
        ),
        click.option(
            "--search-seed", type=int, default=0, show_default=True, help="Of the draws and of the judgement."
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            help="Processes of this machine. Default: one for each core.",
        ),
        click.option(
            "--cluster",
            metavar="tcp://HOST:PORT",
            help="Run the trials on this Dask cluster, which must be trusted: bot help search.",
        ),
        click.option("--resume", is_flag=True, help="Go on with the same search where it was cut off."),
        click.option("--fresh", is_flag=True, help="Forget the trials of the same search that was cut off."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


plan_option = click.option(
    "--plan",
    is_flag=False,
    flag_value="",
    metavar="[SYMBOLSxDAYS]",
    help="Say what it will cost, measured on a slice; for other data by their size, such as 1000x1826.",
)


def check_search(trials: int | None, sampler: str | None, *, resume: bool, fresh: bool) -> "Sampler":
    """Refuse options that contradict each other; return who names the points."""
    from bot.app.search.samplers import choose_sampler

    if resume and fresh:
        raise click.UsageError("--resume and --fresh: give one of them")
    return choose_sampler(trials, sampler)


def teller(context: Context) -> Callable[[str], None]:
    """Return what tells people of the cluster."""
    return lambda words: context.log.warning("cluster", words=words)


@click.command()
@run_options
@risk_option
@search_options
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, help="Rows to print.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="All trials as a table: .csv or .parquet."
)
@report_option
@plan_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@pass_context
def sweep(
    context: Context,
    /,
    grid: tuple[str, ...],
    trials: int | None,
    sampler: str | None,
    objective: str,
    search_seed: int,
    workers: int | None,
    cluster: str | None,
    resume: bool,
    fresh: bool,
    top: int,
    out: Path | None,
    report: Path | None,
    plan: str | None,
    as_json: bool,
    **options: object,
) -> None:
    """Backtest a strategy with many parameters, and say which were best and how much of that is luck.

    Each trial is written down as it ends: a search that is cut off goes on with --resume. All trials of a
    strategy on the same symbols count in the judgement, those of earlier searches too.
    """
    from bot.app.search.processes.workers import crew_for

    chosen = check_search(trials, sampler, resume=resume, fresh=fresh)
    crew = crew_for(grid, workers, trials, cluster=cluster, say=teller(context), is_plan=plan is not None)
    with crew:  # workers have begun, while this process imports and reads
        from bot.app.search.search import plan_search
        from bot.app.search.sweep import run_search
        from bot.app.search.table import check_table, write_table

        if out is not None:
            check_table(out)
        search = plan_search(
            context,
            options,
            grid,
            trials=trials,
            sampler=chosen,
            objective=objective,
            search_seed=search_seed,
            crew=crew,
        )
        if plan is not None:
            from bot.app.search.cost import cost_of, load_of_sweep, parse_size

            size = parse_size(plan)
            print_plan(cost_of(search, planned(crew, workers, cluster), load_of_sweep(search), size), as_json)
            return
        with search_progress("sweep", search.count) as update:
            found = run_search(
                search, context.state_dir(), crew=crew, resume=resume, fresh=fresh, progress=update
            )
    if out is not None:
        write_table(out, found)
    if report is not None:
        from bot.app.search.pages import write_page

        write_page(report, found)
    if as_json:
        emit_json(found.numbers())
    else:
        _print(found, top, out, report)
    if found.best is None:
        raise NoResult(f"none of {len(found.outcomes)} trials has a {objective}: {_why_none(found)}")


@contextmanager
def search_progress(what: str, total: int) -> "Iterator[Progress]":
    """Show how far a search is, and how to go on with it if it is interrupted."""
    so_far = 0
    try:
        with progress_bar(what, total, "trials") as bar:

            def update(done: int, words: str) -> None:
                nonlocal so_far
                so_far = done
                if bar is not None:
                    bar(done, words)

            yield update
    except KeyboardInterrupt:
        click.echo(f"cut off after {so_far} of {total} trials; --resume goes on with them", err=True)
        raise


def planned(crew: "Crew", workers: int | None, cluster: str | None) -> int:
    """Return how many trials would run at the same time."""
    from bot.app.search.processes.workers import usable_cores

    return workers or usable_cores() if cluster is None else crew.count()


def print_plan(cost: "Cost", as_json: bool) -> None:
    """Print what a search will cost."""
    from bot.app.search.cost import cost_lines

    if as_json:
        emit_json(cost.numbers())
        return
    for line in cost_lines(cost):
        click.echo(line)


def _print(found: "Sweep", top: int, out: Path | None, report: Path | None) -> None:
    search, judged = found.search, found.selection
    names = [axis.name for axis in search.axes]
    shown = [search.objective.removeprefix("-"), "total_return", "max_drawdown", "trades"]
    columns = list(dict.fromkeys(shown))
    rows = [
        (*(each.params[name] for name in names), *(_text(each, name) for name in columns), each.halted or "")
        for each in found.ranked[:top]
    ]
    numbers = found.numbers()
    click.echo(
        f"{search.plan.strategy_name} on {', '.join(search.plan.history.symbols)}: {numbers['trials']} "
        f"trials, {numbers['halted']} halted by risk, {numbers['failed']} without a result"
    )
    emit_table((*names, *columns, "halted"), rows)
    hold = search.hold.unseen.buy_and_hold
    click.echo(
        f"buy and hold: total_return {number_text(hold['total_return'])}, "
        f"sharpe {number_text(hold['sharpe'])}"
    )
    for note in (halt_words(found.outcomes), sampler_words(search)):
        if note is not None:
            click.echo(note)
    for line in [] if judged is None else words(judged):
        click.echo(line)
    click.echo(f"log of the trials: {found.log}")
    if out is not None:
        click.echo(f"table of all trials: {out}")
    if report is not None:
        click.echo(f"report: {report}")


def _why_none(found: "Sweep") -> str:
    idle = sum(each.error is None and not each.figures["trades"] for each in found.outcomes)
    errors = [each.error for each in found.outcomes if each.error is not None]
    told = [f"{idle} made no trade"] if idle else []
    if errors:
        told.append(f"{len(errors)} had no result, the first: {errors[0]}")
    return "; ".join(told) or "the figure is not defined for any of them"


def _text(outcome: "Outcome", name: str) -> str:
    return number_text(outcome.figures.get(name.removeprefix("-")))
