"""``bot run``: the daemon. Candles arrive, decisions are made at each close, orders leave.

A live feed runs until it is stopped. The paced replay (``--feed replay``) follows the time of candle files,
``--speed`` times as fast. Both use the loop of a backtest, so on the same bars they decide the same, and with
fills from bars they fill the same to the bit.
"""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.numbers import counts
from bot.cli.terminal.options import live_options, make_live, outputs, run_options
from bot.cli.terminal.output import emit_json
from bot.cli.views.glance import show_on
from bot.domain.errors import BadUsage, Halted
from bot.service.process.private import private_files

if TYPE_CHECKING:  # completion and --help load no engine
    from bot.service.daemon.parts import Ending

_LIVE = frozenset(
    {"symbol", "interval", "exchange", "fills", "duration", "bars", "warm_from", "fresh", "yes", "retrain"}
    | {"web_port", "web_host", "web_insecure"}
)
"""Options that only a live feed has."""
_BOTH = frozenset({"strategy", "model", "param", "fee_bps", "slippage_bps", "limit_fills", "equity", "seed"})
"""Options that a live feed shares with a replay."""


@click.command()
@click.option(
    "--feed",
    type=click.Choice(["mainnet", "testnet", "local", "replay"]),
    help="Where candles come from. Default: the settings' feed.kind.",
)
@click.option(
    "--venue",
    type=click.Choice(["paper", "testnet", "demo", "local"]),
    help="Where orders go. Default: the settings' venue.kind.",
)
@live_options
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True, max=1e12),
    default=1.0,
    show_default=True,
    help="replay: times as fast as the candles' own time.",
)
@partial(run_options, data_required=False)
@outputs
@pass_context
def run(context: Context, /, feed: str | None, venue: str | None, as_json: bool, **options: object) -> None:
    """Run the bot until you stop it (Ctrl-C, SIGTERM), or until the candles of a replay end.

    Bars before the present (replay: before --start) warm the model up at once; then each comes at its time.
    """
    if feed == "replay":
        _refuse(_LIVE, "a live feed")
        if venue not in (None, "paper"):
            raise BadUsage(f"--feed replay goes with --venue paper, not with {venue}")
        if not options["data"]:
            raise BadUsage("--feed replay needs --data FILE")
        _replay(context, as_json, **{k: v for k, v in options.items() if k not in _LIVE})  # type: ignore[arg-type]
        return
    _refuse(frozenset(options) - _LIVE - _BOTH, "--feed replay")
    chosen = {name: options[name] for name in (_LIVE | _BOTH) - {"yes"}}
    if options["fresh"] and not options["yes"]:
        if not sys.stdin.isatty():
            raise BadUsage("--fresh asks first, and nobody can answer here; add --yes")
        click.confirm("Begin a new account? The old one's journal stays, and is not traded on.", abort=True)
    from bot.app.runs.live.daemon import run as run_live
    from bot.app.runs.live.watcher import Watcher

    live = make_live(context, feed=feed, venue=venue, **chosen)  # type: ignore[arg-type]
    show = None if context.log_format == "json" else show_on(context.stderr)
    try:
        with private_files():
            ending = run_live(context, live, watcher=Watcher(show))
    finally:
        if show is not None and context.stderr is not None:
            context.stderr.drain()  # the live line goes before the last words come
    _finish(ending, as_json)


def _refuse(names: frozenset[str], of: str) -> None:
    """Refuse an option that would be ignored."""
    click_context = click.get_current_context()
    for name in sorted(names):
        if click_context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise BadUsage(f"--{name.replace('_', '-')}: belongs to {of}")


def _finish(ending: "Ending", as_json: bool) -> None:
    """Say how a live run ended, and with which code."""
    told = {**ending.status, "ended": ending.reason}
    if as_json:
        emit_json(told)
    elif "equity" in told:
        equity = told["equity"]
        click.echo(
            f"ended ({ending.reason}): {counts(told, 'bar', 'order', 'fill')}, "
            f"fees {told['fees']:,.2f}, equity {'unread' if equity is None else f'{equity:,.2f}'}; "
            f"fills {str(told['fills_sha256'])[:16]}"
        )
    if ending.reason == "SIGINT":
        raise KeyboardInterrupt
    if told["state"] == "halted" and ending.reason != "SIGTERM":
        raise Halted(f"risk has halted the bot ({told['halt_reason']}); find out why, then `bot unhalt`")


def _replay(context: Context, as_json: bool, *, speed: float, report: Path | None, **options: object) -> None:
    import asyncio

    from bot.app.runs.backtest import make_plan
    from bot.app.runs.replay import drive
    from bot.app.runs.results import conclude, identity, write_report
    from bot.app.wiring import assemble
    from bot.cli.views.reporting import print_result

    plan = make_plan(context, **options)  # type: ignore[arg-type]  # click's options are make_plan's arguments
    assembled = assemble(plan)
    log = context.log
    log.info("run_started", feed="replay", venue="paper", symbols=list(plan.history.symbols), speed=speed)
    stopped = asyncio.run(drive(assembled, plan, speed, log))
    log.info("run_ended", reason=stopped or "end_of_data", equity_quote=assembled.engine.state.equity)
    result = conclude(plan, assembled)
    if as_json:
        emit_json({**result.numbers(), **identity(plan)})
    else:
        print_result(plan, result)
    if report is not None:
        write_report(report, plan, result, mode="paper")
        click.echo(f"report: {report}", err=as_json)
    if stopped == "SIGINT":
        raise KeyboardInterrupt
    breaker = assembled.engine.state.breaker
    if stopped is None and breaker.state == "halted":
        raise Halted(f"risk halted the run ({breaker.reason}); find out why before you start it again")
