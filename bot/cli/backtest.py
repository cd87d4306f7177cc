"""``bot backtest``: a history through the same engine that trades live."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from bot.app.context import Context, pass_context
from bot.app.wiring import Plan, assemble
from bot.cli.options import make_plan, outputs, run_options
from bot.cli.output import emit_json
from bot.cli.progress import progress_bar
from bot.cli.reporting import conclude, identity, print_result, write_report
from bot.service.backtest import Result, replay

_BAR_FROM = 20_000
"""Bars from which on a progress bar is worth its screen."""


@click.command()
@run_options
@outputs
@pass_context
def backtest(context: Context, /, report: Path | None, as_json: bool, **options: object) -> None:
    """Replay candle files through the engine that trades live, and say what came of it.

    Decisions at a bar's close are filled from the next bar's open on, after fees, spread and impact.
    """
    plan = make_plan(context, **options)  # type: ignore[arg-type]  # click's options are make_plan's arguments
    result = run_plan(plan, progress=True)
    numbers = {**result.numbers(), **identity(plan)}
    if plan.model is not None and plan.form != "step":
        numbers["against_step"] = against(run_plan(replace(plan, form="step")), result)
    if as_json:
        emit_json(numbers)
    else:
        print_result(plan, result, report)
        if "against_step" in numbers:
            click.echo(f"against the streamed form: {numbers['against_step']}")
    if report is not None:
        write_report(report, plan, result)


def run_plan(plan: Plan, *, progress: bool = False) -> Result:
    """Replay a plan's history to its end and measure it."""
    run = assemble(plan)
    total = sum(len(each.between(plan.start_ms, plan.end_ms)) for each in plan.history.candles)
    shown = progress and total > _BAR_FROM
    with progress_bar("backtest", total, "bars") if shown else nullcontext() as update:
        replay(
            run,
            plan.history,
            from_ms=plan.read_from_ms,
            trade_from_ms=plan.start_ms or 0,
            to_ms=plan.end_ms,
            progress=update,
        )
    return conclude(plan, run)


def against(streamed: Result, other: Result) -> dict[str, object]:
    """How often another form of the model decided differently from the streaming kernel.

    Forms agree to float rounding, so only a forecast within rounding of a decision can tell them apart.
    """
    one, two = streamed.run.tape.notional, other.run.tape.notional
    return {
        "fills": len(streamed.run.tape.fills),
        "same_fills": streamed.digest == other.digest,
        "closes": len(one),
        "closes_with_another_position": int(np.count_nonzero(one != two)),
    }
