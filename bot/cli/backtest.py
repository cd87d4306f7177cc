"""``bot backtest``: a history through the same engine that trades live."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Literal

import click

from bot.cli.context import Context, pass_context
from bot.cli.output import emit_json
from bot.cli.progress import progress_bar
from bot.cli.reporting import conclude, identity, print_result, write_report
from bot.cli.wiring import (
    Form,
    Plan,
    assemble,
    choose_instruments,
    choose_strategy,
    finer,
    load_model,
    mark_bars,
    parse_params,
    parse_time,
    read_history,
)
from bot.service.backtest import Progress, replay

_FILE = click.Path(path_type=Path, dir_okay=False)
_Command = Callable[..., None]


def run_options(command: _Command) -> _Command:
    """Options that say what a run is made of, shared by ``backtest`` and the paced replay of ``run``."""
    for option in reversed(
        [
            click.option(
                "--data", type=_FILE, multiple=True, required=True, help="Candle file, one a symbol; repeat."
            ),
            click.option("--strategy", help="Name, or package.module:Class of your own. Default: performer."),
            click.option(
                "--model", type=click.Path(path_type=Path), help="Model directory. Default: the shipped one."
            ),
            click.option("--param", multiple=True, metavar="K=V", help="Strategy parameter; repeat."),
            click.option(
                "--start", help="First bar, UTC: 2025-12-01 or 2025-12-01T08:00. Earlier bars warm up."
            ),
            click.option("--end", help="Bars before this time."),
            click.option("--fee-bps", help="Taker fee, bps. Default 5.5."),
            click.option(
                "--slippage-bps",
                help="Half-spread, bps; 0 = no slippage. Default: the symbol's measured one.",
            ),
            click.option("--equity", help="USDT at the start. Default 10000."),
            click.option(
                "--instrument", help="FILE of rules, or exact for none. Default: the symbol's shipped rules."
            ),
            click.option(
                "--liquidity", type=click.Choice(["volume", "full"]), help="full: fills ignore volume."
            ),
            click.option(
                "--funding", help="FILE of settled rates, or none. Default: the file beside the candles."
            ),
            click.option(
                "--form",
                type=click.Choice(["step", "bulk", "torch"]),
                default="step",
                show_default=True,
                help="How forecasts are made: streamed on the kernel, in bulk, or streamed on torch.",
            ),
            click.option(
                "--intrabar",
                type=click.Choice(["path", "worst"]),
                default="path",
                show_default=True,
                help="worst: a stress in which prices go against us first inside each bar.",
            ),
            click.option(
                "--detail", type=_FILE, multiple=True, help="Finer candles that resolve the bars; repeat."
            ),
            click.option(
                "--mark", type=_FILE, multiple=True, help="Mark-price candles for liquidation; repeat."
            ),
            click.option("--seed", type=int, help="Of the paths inside bars. Default 0."),
        ]
    ):
        command = option(command)
    return command


def make_plan(
    context: Context,
    data: tuple[Path, ...],
    strategy: str | None,
    model: Path | None,
    param: tuple[str, ...],
    start: str | None,
    end: str | None,
    fee_bps: str | None,
    slippage_bps: str | None,
    equity: str | None,
    instrument: str | None,
    liquidity: Literal["volume", "full"] | None,
    funding: str | None,
    form: Form,
    intrabar: Literal["path", "worst"],
    detail: tuple[Path, ...],
    mark: tuple[Path, ...],
    seed: int | None,
) -> Plan:
    """Options, settings and files to a checked plan."""
    settings = context.settings(
        {
            "strategy.name": strategy,
            "model.path": model,
            "costs.taker_bps": fee_bps,
            "costs.slippage_bps": slippage_bps,
            "costs.liquidity": liquidity,
            "account.equity_quote": equity,
            "seed": seed,
        }
    )
    history = read_history(data, funding)
    cls = choose_strategy(settings.strategy.name)
    own = settings.strategy.params if strategy in (None, settings.strategy.name) else {}
    needs_model = bool(getattr(cls, "needs_forecast", False))
    plan = Plan(
        settings=settings,
        history=history,
        instruments=choose_instruments(history.symbols, instrument),
        strategy=cls,
        strategy_name=settings.strategy.name,
        params={**own, **parse_params(param)},
        model=load_model(settings.model.path, history.candles) if needs_model else None,
        form=form,
        start_ms=parse_time(start),
        end_ms=parse_time(end),
        intrabar="worst" if intrabar == "worst" else "random",
        detail=finer(detail, history.candles),
        marks=mark_bars(mark, history.candles),
    )
    for each in history.candles:
        each.between(plan.start_ms, plan.end_ms)  # refuses a range without bars
    return plan


@click.command()
@run_options
@click.option("--report", type=_FILE, metavar="OUT.html", help="Write a self-contained HTML report.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@pass_context
def backtest(context: Context, /, report: Path | None, as_json: bool, **options: object) -> None:
    """Replay candle files through the engine that trades live, and say what came of it.

    Decisions at a bar's close are filled from the next bar's open on, after fees, spread and impact.
    """
    plan = make_plan(context, **options)  # type: ignore[arg-type]  # click's options are make_plan's arguments
    run = assemble(plan)
    total = sum(len(each.between(plan.start_ms, plan.end_ms)) for each in plan.history.candles)
    with _bar(total) as progress:
        replay(
            run,
            plan.history,
            from_ms=plan.read_from_ms,
            trade_from_ms=plan.start_ms or 0,
            to_ms=plan.end_ms,
            progress=progress,
        )
    result = conclude(plan, run)
    if report is not None:
        write_report(report, plan, result)
    if as_json:
        emit_json({**result.numbers(), **identity(plan)})
    else:
        print_result(plan, result, report)


def _bar(total: int) -> AbstractContextManager[Progress | None]:
    return progress_bar("backtest", total, "bars") if total > 20_000 else nullcontext()
