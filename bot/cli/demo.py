"""``bot demo``: the main job, offline, on an invented market, in about a minute.

Three acts: make candles; let the paper bot live through the last days of them at high speed with the shipped
model; backtest the same days and show that both made the same fills, then the whole history with a report.
"""

import asyncio
from dataclasses import replace
from pathlib import Path

import click
import msgspec

from bot.cli.backtest import run_plan
from bot.cli.context import Context, pass_context
from bot.cli.data import write_series
from bot.cli.reporting import conclude, print_result, write_report
from bot.cli.run import StatusLines, drive
from bot.cli.wiring import Plan, assemble, choose_instruments, choose_strategy, load_model, read_history
from bot.domain.errors import Broken
from bot.domain.market import DAY_MS, MINUTE_MS
from bot.exchange.synth import Recipe, market
from bot.service.history import History

SYMBOLS = {"BTCUSDT": 90_000.0, "ETHUSDT": 3_000.0}
INTERVAL_MS = 5 * MINUTE_MS
LIVE_DAYS = 4
LIVE_S = 12.0
"""How long the paper bot's days last on the wall."""


@click.command()
@click.option(
    "--days",
    type=click.IntRange(min=5, max=720),
    default=120,
    show_default=True,
    help="Days that are traded, after the model's warm-up.",
)
@click.option("--seed", type=int, default=7, show_default=True, help="Of the invented market.")
@pass_context
def demo(context: Context, days: int, seed: int) -> None:
    """Trade an invented market on paper, backtest it, and write a report; no network, no keys."""
    context.log_format = context.log_format or "console"
    settings = context.settings({"seed": seed})
    place = settings.state_dir / "demo"
    model = load_model(settings.model.path, ())
    warmup_ms = model.warmup_bars * INTERVAL_MS
    begin_ms = -(-model.trained_to_ms // DAY_MS) * DAY_MS + 100 * DAY_MS  # after all that the model has seen
    click.echo(f"1/3 inventing {days} days of {' and '.join(SYMBOLS)} (seed {seed})")
    history = _invent(place, begin_ms - warmup_ms, begin_ms + days * DAY_MS, seed)
    plan = Plan(
        settings=settings,
        history=history,
        instruments=choose_instruments(history.symbols, None),
        strategy=choose_strategy("vol_target"),
        strategy_name="vol_target",
        params={},
        model=model,
        start_ms=begin_ms,
    )
    live_ms = begin_ms + (days - LIVE_DAYS) * DAY_MS
    _act_two(context, replace(plan, start_ms=live_ms))
    _act_three(plan, place)


def _act_two(context: Context, plan: Plan) -> None:
    """The same days twice: as the paper bot lives through them, and as a backtest."""
    speed = LIVE_DAYS * DAY_MS / 1000.0 / LIVE_S
    click.echo(
        f"2/3 paper trading the last {LIVE_DAYS} days, {speed:,.0f} times as fast, on the shipped model"
    )
    live = assemble(plan)
    if asyncio.run(drive(live, plan, speed, StatusLines(context, live, speed))) is not None:
        raise KeyboardInterrupt
    paper, again = conclude(plan, live), run_plan(plan)
    click.echo(f"    paper:    {len(live.tape.fills)} fills, {paper.digest[:16]}")
    click.echo(f"    backtest: {len(again.run.tape.fills)} fills, {again.digest[:16]}")
    if paper.digest != again.digest:
        raise Broken("the paper run and the backtest of the same bars made different fills")
    click.echo("    the same, to the bit")


def _act_three(plan: Plan, place: Path) -> None:
    click.echo(
        "3/3 backtest of the whole history; these prices are random, so whoever trades them pays the costs"
    )
    for name in ("performer", "vol_target"):
        chosen = replace(plan, strategy=choose_strategy(name), strategy_name=name)
        result = run_plan(chosen)
        report = place / f"{name}.html"
        write_report(report, chosen, result)
        click.echo("")
        print_result(chosen, result, report)


def _invent(place: Path, from_ms: int, to_ms: int, seed: int) -> History:
    """Candles and funding of all symbols, written beside each other and read back as any user's files are."""
    recipe = Recipe(interval_ms=INTERVAL_MS, bars=(to_ms - from_ms) // INTERVAL_MS, start_ms=from_ms)
    paths = []
    for symbol, price in SYMBOLS.items():
        series = market(msgspec.structs.replace(recipe, price=price), SYMBOLS, seed)[symbol]
        paths.append(Path(str(write_series(place, series, seed)["file"])))
    return read_history(paths, None)
