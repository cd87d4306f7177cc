"""The commands of the page: what each will do, the word that confirms it, and how it is given."""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from bot.domain.errors import BadInput
from bot.service.commands import NoDaemon
from bot.web.server.line import DaemonLine

Kill = Callable[[str], Mapping[str, object]]
"""Takes the orders back where no daemon answers; is given why, and blocks."""
ACTIONS = ("pause", "resume", "flatten", "kill", "unhalt", "close")
_GOES_ON = "The strategy goes on, and may enter again at the next close."


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a command: ``confirm`` is the word that ``actions`` asks for."""

    confirm: str
    symbol: str = ""


def actions(status: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Return for each command the word that confirms it, what it will do now, and whether it is offered.

    A command that would change nothing is not offered.
    """
    held = [f"{row['symbol']} {row['qty']}" for row in _rows(status, "positions")]
    resting = len(_rows(status, "open_orders"))
    many = "positions" if len(held) > 1 else "position"
    positions = f"{len(held)} {many} ({', '.join(held[:8])})" if held else "no position"
    orders = f"{resting} live order{'s' * (resting != 1)}"
    wills = {
        "pause": "No entries until you resume, also after a restart. Positions and their stops stay.",
        "resume": "Entries may leave again. Takes back a pause, and a flatten that is not done yet.",
        "flatten": f"Cancels {orders}, closes {positions} at the market, and stays paused.",
        "kill": f"Halts at once and for good, and cancels {orders} but exits. Stays as it is: {positions}.",
        "unhalt": _unhalt_will(status),
        "close": f"Cancels the symbol's orders and closes its position at the market. {_GOES_ON}",
    }
    return {
        name: {"confirm": name, "will": wills[name], "offered": _is_offered(name, status)} for name in ACTIONS
    }


def _is_offered(name: str, status: Mapping[str, object]) -> bool:
    state = status.get("state")
    match name:
        case "pause":
            return state not in ("paused", "halted")
        case "resume":
            return state == "paused"
        case "unhalt":
            return bool(state == "halted" or status.get("strategies_stopped"))
        case _:
            return True


def _unhalt_will(status: Mapping[str, object]) -> str:
    """Say what lifting would change: the halt, and strategies that raised and were stopped."""
    said = []
    halt = status.get("halt_reason")
    if halt is not None:
        said.append(f"Lifts the halt ({halt}). Losses count from the present equity.")
    if stopped := [str(row["symbol"]) for row in _rows(status, "strategies_stopped")]:
        said.append(f"Asks the stopped {_strategies(stopped)} again from the next close on.")
        if halt is None:
            said.append("Loss limits stay as they are.")
    if not said:
        return "Lifts nothing: there is no halt, and no strategy is stopped."
    held = "paused" in _texts(status, "held_back_by")
    return " ".join([*said, "Entries wait until you resume." if held else "Entries may leave again."])


def _strategies(symbols: list[str]) -> str:
    named = ", ".join(symbols[:8]) + (f" and {len(symbols) - 8} more" if len(symbols) > 8 else "")
    return f"strategies of {named}" if len(symbols) > 1 else f"strategy of {named}"


class Steering:
    """Gives commands.

    Args:
        line: to the daemon.
        halt: halts every order on its way, also of a daemon that hangs; blocks.
        kill: takes the orders back where no daemon answers; blocks.
    """

    def __init__(self, line: DaemonLine, halt: Callable[[], None], kill: Kill) -> None:
        self._line = line
        self._halt = halt
        self._kill = kill

    async def give(self, action: str, body: bytes) -> dict[str, object]:
        """Give a command, as the page; return the daemon's status and what was ``done`` in words.

        Raises:
            BadInput: the confirmation is missing or wrong.
            BotError: it could not be carried out; the words say why.
        """
        given = _checked(action, body)
        about = {"symbol": given.symbol} if action == "close" else {}
        if action == "kill":
            await asyncio.to_thread(self._halt)
        try:
            reply = await self._line.command(action, {"by": "page", **about})
        except NoDaemon as gone:
            if action != "kill":
                raise
            reply = dict(await asyncio.to_thread(self._kill, str(gone)))
        return {**reply, "done": _done(action, given.symbol, reply)}


def _done(action: str, symbol: str, reply: Mapping[str, object]) -> str:
    match action:
        case "kill":
            survivors = reply.get("survivors") or "none"
            gone = f" {reply['daemon']}." if isinstance(reply.get("daemon"), str) else ""
            return f"Halted.{gone} Entries left at the venue: {survivors}."
        case "close":
            return f"The exit of {symbol} is on its way."
        case "flatten":
            return f"Paused. Positions left to close: {len(_rows(reply, 'positions'))}."
        case _:
            return f"The bot is {reply.get('state')}."


def _checked(action: str, body: bytes) -> Given:
    try:
        given = msgspec.json.decode(body, type=Given)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadInput(f'the body must be {{"confirm": "{action}"}}: {error}') from None
    if given.confirm != action:
        raise BadInput(f"not confirmed: confirm must be {action!r}")
    if action == "close" and not given.symbol:
        raise BadInput("close needs a symbol")
    return given


def _texts(status: Mapping[str, object], name: str) -> list[str]:
    values = status.get(name)
    return [each for each in values if isinstance(each, str)] if isinstance(values, list) else []


def _rows(status: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    rows = status.get(name)
    return rows if isinstance(rows, list) else []
