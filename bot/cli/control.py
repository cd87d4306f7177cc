"""``bot status``, ``pause``, ``resume``, ``flatten``, ``kill``, ``unhalt``: words to the daemon.

``kill`` needs no daemon that answers: it leaves a halt that every start and every order on its way meets,
and takes the orders back at the venue itself.
"""

from collections.abc import Mapping
from pathlib import Path

import click

from bot.adapters.state.directory import HaltFile, StateDir
from bot.app.context import Context
from bot.cli.terminal.context import pass_context
from bot.cli.terminal.output import emit_json
from bot.domain.errors import VenueError
from bot.service.commands import NoDaemon, ask
from bot.service.process.private import private_files

_HANGS_S = 3.0
_KILL_TIMEOUT_S = 20.0

_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


@click.command()
@_as_json
@pass_context
def status(context: Context, as_json: bool) -> None:
    """What the daemon is doing: its state, equity, positions and orders."""
    _say(_ask(context, "status"), as_json)


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

    Protective stops of open positions stay. Works when the daemon is dead or hangs. `bot unhalt` lifts it.
    """
    state_dir = context.state_dir()
    with private_files():
        HaltFile(state_dir).set()
    try:
        ask(state_dir, "status", timeout_s=_HANGS_S)  # a daemon that hangs is not waited for
        reply: Mapping[str, object] = ask(state_dir, "kill", timeout_s=_KILL_TIMEOUT_S)
    except NoDaemon as gone:
        from bot.app.killing import kill_without_daemon

        reply = kill_without_daemon(context, state_dir, venue, str(gone))
    if as_json:
        emit_json(reply)
    else:
        click.echo(_killed(reply))
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


def _killed(reply: Mapping[str, object]) -> str:
    who = f" ({reply['daemon']})" if "daemon" in reply else ""
    return (
        f"halted{who}; orders left at {reply.get('venue', 'the venue')}: {reply.get('survivors') or 'none'}"
    )


@private_files()
def _unhalt_stopped(state_dir: Path) -> list[str]:
    """Lift the halts that the next start would find; returns what they were."""
    from bot.app.journals import lift_halts

    locked = StateDir(state_dir)  # a daemon that hangs holds it, and must not be unhalted behind its back
    try:
        halt = HaltFile(state_dir)
        lifted = {"operator"} if halt.is_set() else set()
        lifted |= set(lift_halts(state_dir))
        halt.clear()
    finally:
        locked.close()
    return sorted(lifted)


def _say(reply: Mapping[str, object], as_json: bool) -> None:
    if as_json:
        emit_json(reply)
        return
    why = reply.get("halt_reason") or ", ".join(map(str, _listed(reply.get("held_back_by"))))
    click.echo(f"{reply.get('feed')} → {reply.get('venue')}: {reply['state']}" + (f" ({why})" if why else ""))
    if why and reply.get("state_words"):
        click.echo(f"  {reply['state_words']}")
    equity = "unread" if reply["equity"] is None else reply["equity"]
    click.echo(f"equity {equity}, bars {reply['bars']}, fills {reply['fills']}, fees {reply['fees']}")
    for each in _listed(reply.get("foreign_positions")):
        assert isinstance(each, dict)
        click.echo(f"  {each['symbol']} {each['qty']} is not ours: no entries there while it is held")
    for each in _listed(reply["positions"]):
        assert isinstance(each, dict)
        at = f"at {each['entry_price']}, mark {each['mark']}, stop {each['stop_loss']}"
        click.echo(f"  {each['symbol']} {each['qty']} {at}")
    for each in _listed(reply["open_orders"]):
        assert isinstance(each, dict)
        what = f"{each['side']} {each['qty']} {each['symbol']}"
        click.echo(f"  {each['order_id']} {what}: {each['state']}")
    if reply.get("unknown_orders"):
        click.echo(f"  orders of unknown fate: {reply['unknown_orders']}")


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []
