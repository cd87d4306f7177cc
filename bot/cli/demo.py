"""``bot demo``: the main job, offline, on an invented market, in two minutes.

Four acts: make candles; start a local exchange and let the daemon trade the last of them on paper, over real
sockets with the shipped model; let it trade them with orders at that exchange; backtest the same bars and
show that all three did the same, then the whole history, with reports. ``--live`` puts Bybit's public stream
in the place of the local exchange.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import click
import msgspec

from bot.app.context import Context, pass_context
from bot.app.parity import apart, beside
from bot.app.wiring import Plan, choose_instruments, choose_strategy, load_model, read_history
from bot.cli.backtest import run_plan
from bot.cli.data import write_series
from bot.cli.reporting import print_result, write_report
from bot.domain.errors import Broken
from bot.domain.market import DAY_MS, MINUTE_MS
from bot.service.history import History
from bot.synth import Recipe, market

SYMBOLS = {"BTCUSDT": 90_000.0, "ETHUSDT": 3_000.0}
INTERVAL_MS = 5 * MINUTE_MS
LIVE_BARS = 48
"""Closes that the daemon lives through: four hours, in some fifteen seconds."""
BAR_S = 0.3
"""How long each lasts on the wall."""
STREAM_S = 330.0
"""How long ``--live`` waits for a close of Bybit's at most."""


@click.command()
@click.option(
    "--days",
    type=click.IntRange(min=5, max=720),
    default=120,
    show_default=True,
    help="Days that are traded, after the model's warm-up.",
)
@click.option("--seed", type=int, default=7, show_default=True, help="Of the invented market.")
@click.option("--live", is_flag=True, help="Paper trading at Bybit's public stream instead; up to 6 minutes.")
@pass_context
def demo(context: Context, days: int, seed: int, live: bool) -> None:
    """Trade an invented market at a local exchange, backtest it, and write a report; no network, no keys."""
    context.log_format = context.log_format or "console"
    settings = context.settings({"seed": seed})
    place = settings.state_dir / "demo"
    model = load_model(settings.model.path, ())
    warmup_ms = model.warmup_bars * INTERVAL_MS
    begin_ms = -(-model.trained_to_ms // DAY_MS) * DAY_MS + 100 * DAY_MS  # after all that the model has seen
    click.echo(f"1/4 inventing {days} days of {' and '.join(SYMBOLS)} (seed {seed})")
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
    if live:
        _stream(context, place)
    else:
        from_ms = begin_ms + days * DAY_MS - 3 * LIVE_BARS * INTERVAL_MS
        _lived(context, plan, from_ms, place, "paper", "2/4 the daemon, on paper, at a local exchange")
        _lived(context, plan, from_ms, place, "local", "3/4 the daemon, with orders at that exchange")
    _whole_history(plan, place)


def _lived(
    context: Context, plan: Plan, start_ms: int, place: Path, kind: Literal["paper", "local"], title: str
) -> None:
    """The same bars twice: as the daemon lives through them, and as a backtest."""
    speed = INTERVAL_MS / 1000.0 / BAR_S
    click.echo(f"{title}: {LIVE_BARS} bars over real sockets, {speed:,.0f} times as fast, shipped model")
    folder = place / "daemon"
    shutil.rmtree(folder, ignore_errors=True)
    told = beside(apart(context), plan, start_ms, LIVE_BARS, kind, folder, speed=speed, log_level="info")
    live, backtest = told.live, told.backtest
    click.echo(
        f"    daemon:   {len(live.forecasts)} forecasts, {len(live.fills)} fills, {live.fills_sha256[:16]}"
    )
    click.echo(
        f"    backtest: {len(backtest.forecasts)} forecasts, {len(backtest.fills)} fills, "
        f"{backtest.fills_sha256[:16]}"
    )
    if not told.equal:
        found = next(each for listed in told.differences.values() for each in listed)
        raise Broken(f"the daemon and the backtest of the same bars differ: {found}")
    click.echo("    bars, forecasts, intents and fills: the same, to the bit")


def _stream(context: Context, place: Path) -> None:
    """Bybit's own candles, on paper, until the first close has been decided on."""
    from bot.app.live import make_live_plan
    from bot.app.live import run as run_live

    click.echo("2/4 the daemon, on paper, at Bybit's public stream; 3/4 is its first decision")
    other = apart(context)
    settings = other.settings({"feed.kind": "mainnet", "venue.kind": "paper", "state_dir": place / "live"})
    ending = run_live(
        other,
        make_live_plan(settings, strategy="vol_target", params={}, duration_s=STREAM_S, bars_max=1),
    )
    if ending.reason == "SIGINT":
        raise KeyboardInterrupt
    click.echo(f"    {ending.status['bars']} bars, equity {ending.status['equity']}")


def _whole_history(plan: Plan, place: Path) -> None:
    click.echo(
        "4/4 backtest of the whole history; these prices are random, so whoever trades them pays the costs"
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
