"""``bot walkforward``: parameters chosen on the past and traded on what follows."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.app.context import Context
from bot.app.search.words import number_text
from bot.cli.sweep import (
    check_search,
    plan_option,
    planned,
    print_plan,
    search_options,
    search_progress,
    teller,
)
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.options import report_option, risk_option, run_options
from bot.cli.terminal.output import emit_json, emit_table
from bot.cli.terminal.times import DURATION
from bot.domain.words import counted

if TYPE_CHECKING:
    from bot.app.search.walk import WalkForward


@click.command()
@run_options
@risk_option
@search_options
@click.option("--train", type=DURATION, required=True, help="Days that choose, such as 90d.")
@click.option("--test", type=DURATION, required=True, help="Days that follow and are traded, such as 30d.")
@click.option(
    "--growing", is_flag=True, help="Each training span begins with the first bar, not --train before."
)
@click.option("--purge", type=DURATION, help="Time left out before each test, as long as a position is held.")
@click.option("--embargo", type=DURATION, help="More time left out there: bars that are near are alike.")
@report_option
@plan_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@pass_context
def walkforward(
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
    train: float,
    test: float,
    growing: bool,
    purge: float | None,
    embargo: float | None,
    report: Path | None,
    plan: str | None,
    as_json: bool,
    **options: object,
) -> None:
    """Choose parameters on the past, trade them on the days that follow, move on, and join these days.

    Only days that no choice has seen are in the result. It is the nearest to what the search would have
    earned; a walk-forward that is repeated until it looks good is a search again, so earlier ones count.
    """
    from bot.app.search.processes.workers import crew_for

    chosen = check_search(trials, sampler, resume=resume, fresh=fresh)
    crew = crew_for(grid, workers, trials, cluster=cluster, say=teller(context), is_plan=plan is not None)
    with crew:  # workers have begun, while this process imports and reads
        from bot.app.search.search import plan_search
        from bot.app.search.walk import load_of_walk, run_walk, spans, trials_of

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
        steps = partial(
            spans,
            search,
            train_s=train,
            test_s=test,
            gap_s=(purge or 0.0) + (embargo or 0.0),
            is_growing=growing,
        )
        if plan is not None:
            from bot.app.search.cost import cost_of, parse_size

            cost = cost_of(
                search,
                planned(crew, workers, cluster),
                lambda days: load_of_walk(search, steps(days=days)),
                parse_size(plan),
            )
            print_plan(cost, as_json)
            return
        folds = steps()
        with search_progress("walkforward", trials_of(search, folds)) as update:
            found = run_walk(
                search, folds, context.state_dir(), crew=crew, resume=resume, fresh=fresh, progress=update
            )
    if report is not None:
        from bot.app.search.pages import write_page

        write_page(report, found)
    emit_json(found.numbers()) if as_json else _print(found, report)


def _print(found: "WalkForward", report: Path | None) -> None:
    from bot.app.search.words import walk_words
    from bot.service.moments import minute_words

    search, numbers = found.search, found.numbers()
    click.echo(
        f"{search.plan.strategy_name} on {', '.join(search.plan.history.symbols)}: "
        f"{counted(len(found.steps), 'step')} of {counted(search.count, 'trial')}, "
        f"{numbers['failed']} without a result"
    )
    name = search.objective.removeprefix("-")
    names = [axis.name for axis in search.axes]
    rows = []
    for step in found.steps:
        days = f"{minute_words(step.fold.test_from_ms)[:10]} to {minute_words(step.fold.test_to_ms)[:10]}"
        params = ["-"] * len(names) if step.chosen is None else [step.chosen.params[each] for each in names]
        figures = [None if each is None else each.figures.get(name) for each in (step.chosen, step.test)]
        earned = None if step.test is None else step.test.figures.get("total_return")
        ended = "" if step.test is None else step.test.error or step.test.halted or ""
        rows.append((days, *params, *map(number_text, figures), number_text(earned), ended))
    emit_table(("tested on", *names, f"{name} trained", "tested", "return", "ended by"), rows)
    metrics, hold = found.metrics, numbers["buy_and_hold"]
    assert isinstance(hold, dict)
    shown = ("total_return", "sharpe", "max_drawdown")
    emit_table(
        ("all tests", "walk-forward", "buy and hold"),
        [(each, number_text(metrics[each]), number_text(hold[each])) for each in shown],
    )
    for line in walk_words(found):
        click.echo(line)
    click.echo(f"log of the trials: {found.log}")
    if report is not None:
        click.echo(f"report: {report}")
