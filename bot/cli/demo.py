"""``bot demo``: the main job, offline, on an invented market, in two minutes.

Invent candles; start a local exchange and let the daemon trade some of them on paper, over real sockets with
the shipped model; let it trade them with orders at that exchange; backtest the whole history and write
reports; then trade on with the page beside it. Each daemon is compared with a backtest of the same bars.
``--live`` uses Bybit's public stream instead of the local exchange.
"""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.numbers import counts
from bot.cli.terminal.program import command, near
from bot.domain.words import counted
from bot.service.moments import clock_words

if TYPE_CHECKING:  # completion and --help load no engine
    from bot.app.runs.demo import Demo
    from bot.domain.alerts import Alert
    from bot.service.daemon.parts import Ending

_LOOK_S, _PROVE_S = 60.0, 12.0
"""How long the page stays without --keep: for a person at a terminal, and where nobody looks."""


@click.command()
@click.option(
    "--days",
    type=click.IntRange(min=5, max=720),
    default=120,
    show_default=True,
    help="Days that are traded, after the model's warm-up.",
)
@click.option("--seed", type=int, default=7, show_default=True, help="Of the invented market.")
@click.option("--keep", is_flag=True, help="Trade on, with the page open, until Ctrl-C. Default: a minute.")
@click.option("--live", is_flag=True, help="Paper trading at Bybit's public stream instead; up to 6 minutes.")
@pass_context
def demo(context: Context, days: int, seed: int, keep: bool, live: bool) -> None:
    """Trade an invented market at a local exchange, backtest it, write reports, open the page; no keys."""
    from bot.app.runs.demo import SYMBOLS, make_demo
    from bot.cli.views.reporting import print_result

    context.log_format = context.log_format or "console"
    _title(f"1/5 inventing {days} days of {' and '.join(SYMBOLS)} (seed {seed})")
    click.echo(
        "    This market is INVENTED: random prices, and one planted pattern (they tend to go on as in the\n"
        "    last hour), so that there is something to trade. A result here says nothing about real markets."
    )
    made = make_demo(context, days, seed)
    if live:
        _stream(made)
    else:
        _live(made, "paper", "2/5 the daemon, on paper, at a local exchange")
        _live(made, "local", "3/5 the daemon, with orders at that exchange")
    _title("4/5 backtests of all days: a strategy that follows the planted pattern, and the default one")
    reports = []
    for plan, result, report in made.backtests():
        click.echo("")
        print_result(plan, result)
        reports.append(report)
    if live:
        _next(made, reports, keep=False)
    elif keep:  # the page stays until Ctrl-C, so the commands come before it
        _next(made, reports, keep)
        _page(made, keep)
    else:
        _page(made, keep)
        _next(made, reports, keep)


def _title(text: str) -> None:
    click.echo(click.style(text, bold=True))


def _live(made: "Demo", kind: Literal["paper", "local"], title: str) -> None:
    from rich.padding import Padding

    from bot.app.runs.demo import LIVE_BARS, SPEED
    from bot.app.runs.live.watcher import Watcher
    from bot.cli.terminal.console import console
    from bot.cli.views.rows import rows_table, total_words

    _title(f"{title}: {LIVE_BARS} bars over real sockets, {SPEED:,.0f} times as fast, shipped model")
    compared = made.trade_live(kind, Watcher(on_alert=_say))
    for name, story in (("daemon:", compared.live), ("backtest:", compared.backtest)):
        counts = f"{counted(len(story.forecasts), 'forecast')}, {counted(len(story.fills), 'fill')}"
        click.echo(f"    {name:9} {counts}, {story.fills_sha256[:16]}")
    click.echo("    bars, forecasts, intents and fills: the same, to the bit")
    if kind == "local":
        trades = made.trades(kind)
        stopped = sum(each == "stop_loss" for each in trades["exit_reason"])
        counts = f"{counted(len(trades['symbol']), 'trade')}, {stopped} of them ended by a stop"
        click.echo(f"    {counts}; {total_words('trades', trades)} (times in UTC)")
        terminal = console()
        table = rows_table("trades", trades, 20, terminal.width - 4)
        terminal.print(Padding(table, (0, 0, 0, 4), expand=False))


def _say(alert: "Alert") -> None:
    """Print what the daemon does: a line for a fill, a bold one for a closed trade."""
    time = clock_words(alert.ts_ms, alert.ts_ms)
    if alert.name == "fill":
        click.echo(click.style(f"    {time} {alert.words.partition(';')[0]}", dim=True))
    elif alert.name == "trade_closed":
        click.echo(click.style(f"    {time} {alert.words.rpartition(': in at')[0]}", bold=True))


def _stream(made: "Demo") -> None:
    _title("2/5 the daemon, on paper, at Bybit's public stream; 3/5 is its first decision")
    ending = made.trade_stream()
    if ending.reason == "SIGINT":
        raise KeyboardInterrupt
    click.echo(f"    {counts(ending.status, 'bar')}, equity {ending.status['equity']}")


def _page(made: "Demo", keep: bool) -> None:
    """Trade on with the page beside the daemon, and say where it is."""
    from bot.app.runs.live.watcher import Watcher
    from bot.cli.views.glance import show_on

    stderr = made.context.stderr
    look_s = None if keep else _LOOK_S if sys.stdout.isatty() else _PROVE_S
    stays = "until Ctrl-C" if look_s is None else f"for {look_s:.0f} s; --keep: until Ctrl-C"
    _title(f"\n5/5 the bot trades on, {made.page_speed:.0f} times as fast, with its page open {stays}")

    def on_page(url: str) -> None:
        if stderr is not None:
            stderr.drain()  # else the address would stand behind the live line
        click.echo(f"the page: {url}")

    try:
        ending = made.serve_page(Watcher(show_on(stderr), on_page), look_s)
    finally:
        if stderr is not None:
            stderr.drain()
    click.echo(_ended(ending))


def _ended(ending: "Ending") -> str:
    """Return what the daemon beside the page did, and that its page is gone."""
    from bot.cli.terminal.numbers import money

    told, equity = ending.status, ending.status["equity"]
    worth = money(equity if isinstance(equity, float) else None)
    return f"stopped, and the page is closed: {counts(told, 'bar', 'fill')}, equity {worth}"


def _next(made: "Demo", reports: list[Path], keep: bool) -> None:
    """Print where the reports are, and three commands that work as they stand."""
    candles = made.plan.history.candles[0].path
    click.echo("")
    for report in reports:
        click.echo(f"the report: {near(report)}")
    where = "in another terminal; " if keep else ""
    click.echo(f"\nthree next commands ({where}after `source .venv/bin/activate` just `bot …`):")
    for line in (
        f"{_state_dir(made.state_dir('local'))} {command('trades')}",
        command(
            "backtest", "--data", candles, "--strategy", "ema_cross", "--report", made.place / "ema.html"
        ),
        f"{_state_dir(made.place / 'page')} {command('status')}" if keep else command("demo", "--keep"),
    ):
        click.echo(f"  {line}")
    click.echo("and with the internet, on Bybit's real candles with paper money:")
    click.echo(f"  {command('run', '--feed', 'mainnet', '--venue', 'paper', '--symbol', 'BTCUSDT')}")


def _state_dir(folder: Path) -> str:
    return f"BOT_STATE_DIR={shlex.quote(near(folder))}"
