"""``bot status``, ``pause``, ``resume``, ``flatten``, ``kill``, ``unhalt``: words to the daemon.

``kill`` needs no daemon that answers: it leaves a halt that every start and every order on its way meets,
and takes the orders back at the venue itself.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import click

from bot.adapters.state.directory import HaltFile, StateDir
from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.output import emit_json
from bot.domain.errors import VenueError
from bot.service.commands import DaemonHangs, NoDaemon, ask
from bot.service.process.private import private_files

_HANGS_S = 3.0
_KILL_TIMEOUT_S = 20.0
_WATCH_S = 1.0

_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


@click.command()
@click.option("--watch", is_flag=True, help="Once a second, until Ctrl-C.")
@_as_json
@pass_context
def status(context: Context, watch: bool, as_json: bool) -> None:
    """What the daemon is doing: its state and why, the account, orders, limits, the latest alerts.

    Of a bot that is stopped or dead: which positions and orders it left, as of when. The exit code is 1 then.

    Times are UTC. `--watch --json` prints one object a second.
    """
    try:
        reply = _ask(context, "status")
    except NoDaemon as gone:
        _say_left(context, gone, as_json)
        raise
    if not watch:
        _say(reply, as_json)
        return
    try:
        if as_json or not sys.stdout.isatty():
            _repeat(context, reply, as_json)
        else:
            _watch(context, reply)
    except KeyboardInterrupt:
        return


@click.command()
@_as_json
@pass_context
def pause(context: Context, as_json: bool) -> None:
    """No entries until `bot resume`, also after a restart; positions and their stops stay."""
    _say(_ask(context, "pause"), as_json)


@click.command()
@_as_json
@pass_context
def resume(context: Context, as_json: bool) -> None:
    """Take a pause back, and a flatten that is not done yet."""
    _say(_ask(context, "resume"), as_json)


@click.command()
@_as_json
@pass_context
def flatten(context: Context, as_json: bool) -> None:
    """Cancel what rests, close every position, and stay paused."""
    _say(_ask(context, "flatten"), as_json)


@click.command()
@_as_json
@pass_context
def unhalt(context: Context, as_json: bool) -> None:
    """Lift a halt: your word that trading may go on. Works on a stopped bot, too."""
    state_dir = context.state_dir()
    try:
        _say(ask(state_dir, "unhalt"), as_json)
    except NoDaemon:
        context.check_settings()
        lifted = _unhalt_stopped(state_dir)
        if as_json:
            emit_json({"state": "stopped", "lifted": lifted})
        else:
            click.echo(f"the bot is stopped; lifted: {', '.join(lifted) or 'nothing, it was not halted'}")


@click.command()
@click.option(
    "--venue",
    type=click.Choice(["paper", "testnet", "demo", "local"]),
    help="Where orders may be. Default: where the last daemon on this state directory sent them.",
)
@_as_json
@pass_context
def kill(context: Context, venue: str | None, as_json: bool) -> None:
    """Halt at once and for good, cancel every order of ours, verify, and name what survived.

    Positions and their protective stops stay, and are named. Works when the daemon is dead or hangs.
    `bot unhalt` lifts it.
    """
    state_dir = context.state_dir()
    with private_files():
        HaltFile(state_dir).set()
    try:
        ask(state_dir, "status", timeout_s=_HANGS_S)  # a daemon that hangs is not waited for
        reply: Mapping[str, object] = ask(state_dir, "kill", timeout_s=_KILL_TIMEOUT_S)
    except NoDaemon as gone:
        from bot.app.venue.killing import kill_without_daemon

        reply = kill_without_daemon(context, state_dir, venue, str(gone))
    if as_json:
        emit_json(reply)
    else:
        from bot.cli.views.killed import killed_lines

        for line in killed_lines(reply):
            click.echo(line)
    left = reply.get("survivors")
    if left:
        raise VenueError(f"still there after a kill: {left}; cancel them at the venue yourself")


def _ask(context: Context, command: str) -> dict[str, object]:
    """Ask the daemon; if there is none, a setting that is wrong may be why, and its error comes first."""
    try:
        return ask(context.state_dir(), command)
    except NoDaemon:
        context.check_settings()
        raise


def _repeat(context: Context, reply: Mapping[str, object], as_json: bool) -> None:
    """Print the status once a second, for a program or a file.

    Raises:
        NoDaemon: the daemon is gone.
    """
    while True:
        _say(reply, as_json)
        time.sleep(_WATCH_S)
        reply = ask(context.state_dir(), "status")


def _watch(context: Context, reply: Mapping[str, object]) -> None:
    """Draw the status in place once a second; while no daemon answers, say so and since when."""
    from rich.live import Live

    from bot.cli.terminal.console import console
    from bot.cli.views.status import lost_view, status_view

    state_dir, seen_s = context.state_dir(), time.monotonic()
    with Live(status_view(reply), console=console(), auto_refresh=False) as live:
        while True:
            time.sleep(_WATCH_S)
            try:
                reply = ask(state_dir, "status", timeout_s=_HANGS_S)
            except NoDaemon as gone:
                live.update(lost_view(reply, str(gone), time.monotonic() - seen_s), refresh=True)
            else:
                seen_s = time.monotonic()
                live.update(status_view(reply), refresh=True)


@private_files()
def _unhalt_stopped(state_dir: Path) -> list[str]:
    """Lift the halts that the next start would find; returns what they were."""
    from bot.app.state.journals import lift_halts

    locked = StateDir(state_dir)  # a daemon that hangs holds it, and must not be unhalted behind its back
    try:
        halt = HaltFile(state_dir)
        lifted = {"operator"} if halt.is_set() else set()
        lifted |= set(lift_halts(state_dir))
        halt.clear()
    finally:
        locked.close()
    return sorted(lifted)


def _say_left(context: Context, gone: NoDaemon, as_json: bool) -> None:
    """Print what a bot left that does not answer."""
    from bot.app.state.left_behind import of_stopped

    state = "hangs" if isinstance(gone, DaemonHangs) else "stopped"
    left = {"state": state, "daemon": str(gone), **of_stopped(context.state_dir(), context.redactor)}
    if as_json:
        emit_json(left)
        return
    if not left.get("account"):  # no bot has run here
        return
    from bot.cli.terminal.console import console
    from bot.cli.views.left import left_view

    console().print(left_view(left))


def _say(reply: Mapping[str, object], as_json: bool) -> None:
    if as_json:
        emit_json(reply)
        return
    from bot.cli.terminal.console import console
    from bot.cli.views.status import status_view

    console().print(status_view(reply))
