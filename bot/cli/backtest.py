"""``bot backtest``: a history through the same engine that trades live."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.options import EQUITY_OR_FILE, outputs, risk_option, run_options, tables
from bot.cli.terminal.output import emit_json
from bot.cli.terminal.progress import progress_bar

if TYPE_CHECKING:  # completion and --help load no engine
    from bot.app.runs.stress import Stress
    from bot.app.state.tables import Kept
    from bot.app.wiring import RunPlan
    from bot.service.backtest.run import Result

_BAR_FROM = 20_000
"""A progress bar is shown for more bars than this."""


@click.command()
@partial(run_options, equity=EQUITY_OR_FILE)
@risk_option
@click.option(
    "--stress",
    is_flag=True,
    help="Three more runs (no costs, double costs, one bar later), and tests of signal and trades.",
)
@outputs
@tables
@pass_context
def backtest(
    context: Context,
    /,
    report: Path | None,
    as_json: bool,
    trades: Path | None,
    equity_file: Path | None,
    include: "tuple[Kept, ...]",
    stress: bool,
    **options: object,
) -> None:
    """Replay candle files through the engine that trades live, and say what came of it.

    Decisions at a bar's close are filled from the next bar's open on, after fees, spread and impact.
    """
    from bot.app.runs.backtest import compare_forms, make_plan, run_plan
    from bot.app.runs.results import record, write_report
    from bot.app.state.tables import of_backtest, write
    from bot.app.state.tables import rows as table_rows
    from bot.cli.views.reporting import print_result

    if include and not as_json:
        raise click.UsageError("--include: belongs to --json; --trades FILE and --equity FILE write files")
    plan = make_plan(context, **options)  # type: ignore[arg-type]  # click's options are make_plan's arguments
    result = _with_progress(plan)
    stressed = _stressed(plan, result) if stress else None
    numbers = {**result.numbers(), **record("backtest", plan)}
    if stressed is not None:
        numbers["stress"] = stressed.told()
    if plan.model is not None and plan.form != "step":
        numbers["against_step"] = compare_forms(run_plan(replace(plan, form="step")), result)
    if as_json:
        told = {what: table_rows(of_backtest(result, what)) for what in include}
        emit_json(numbers | ({"tables": told} if told else {}))
    else:
        print_result(plan, result, stressed)
        if "against_step" in numbers:
            click.echo(f"against the streamed form: {numbers['against_step']}")
    files: tuple[tuple[Kept, Path | None], ...] = (("trades", trades), ("equity", equity_file))
    for what, file in files:
        if file is not None:
            rows = write(of_backtest(result, what), file, f"--{what}")
            click.echo(f"{what}: {rows:,} rows in {file}", err=as_json)
    if report is not None:
        write_report(report, plan, result, stressed=stressed)
        click.echo(f"report: {report}", err=as_json)


def _stressed(plan: "RunPlan", result: "Result") -> "Stress":
    from bot.app.runs.stress import stress

    return stress(plan, result, lambda words, other: _with_progress(other, words))


def _with_progress(plan: "RunPlan", words: str = "backtest") -> "Result":
    from bot.app.runs.backtest import bars_to_trade, run_plan

    total = bars_to_trade(plan)
    with progress_bar(words, total, "bars") if total > _BAR_FROM else nullcontext() as update:
        return run_plan(plan, update)
