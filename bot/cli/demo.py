"""``bot demo``: the main job, offline, on an invented market, in two minutes.

Four steps: invent candles; start a local exchange and let the daemon trade the last of them on paper, over
real sockets with the shipped model; let it trade them with orders at that exchange; backtest the whole
history and write reports. Each daemon is compared with a backtest of the same bars. ``--live`` uses Bybit's
public stream instead of the local exchange.
"""

from typing import TYPE_CHECKING, Literal

import click

from bot.app.context import Context
from bot.cli.terminal.context import pass_context

if TYPE_CHECKING:  # completion and --help load no engine
    from bot.app.runs.demo import Demo


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
    from bot.app.runs.demo import SYMBOLS, make_demo
    from bot.cli.terminal.reporting import print_result

    context.log_format = context.log_format or "console"
    click.echo(f"1/4 inventing {days} days of {' and '.join(SYMBOLS)} (seed {seed})")
    made = make_demo(context, days, seed)
    if live:
        _stream(made)
    else:
        _live(made, "paper", "2/4 the daemon, on paper, at a local exchange")
        _live(made, "local", "3/4 the daemon, with orders at that exchange")
    click.echo(
        "4/4 backtest of the whole history; these prices are random, so whoever trades them pays the costs"
    )
    for plan, result, report in made.backtests():
        click.echo("")
        print_result(plan, result, report)


def _live(made: "Demo", kind: Literal["paper", "local"], title: str) -> None:
    from bot.app.runs.demo import LIVE_BARS, SPEED

    click.echo(f"{title}: {LIVE_BARS} bars over real sockets, {SPEED:,.0f} times as fast, shipped model")
    compared = made.trade_live(kind)
    for name, story in (("daemon:", compared.live), ("backtest:", compared.backtest)):
        counts = f"{len(story.forecasts)} forecasts, {len(story.fills)} fills"
        click.echo(f"    {name:9} {counts}, {story.fills_sha256[:16]}")
    click.echo("    bars, forecasts, intents and fills: the same, to the bit")


def _stream(made: "Demo") -> None:
    click.echo("2/4 the daemon, on paper, at Bybit's public stream; 3/4 is its first decision")
    ending = made.trade_stream()
    if ending.reason == "SIGINT":
        raise KeyboardInterrupt
    click.echo(f"    {ending.status['bars']} bars, equity {ending.status['equity']}")
