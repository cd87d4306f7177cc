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


def actions(status: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """Return for each command the word that confirms it, and what it will do now."""
    held = [f"{row['symbol']} {row['qty']}" for row in _rows(status, "positions")]
    resting = len(_rows(status, "open_orders"))
    many = "positions" if len(held) > 1 else "position"
    positions = f"{len(held)} {many} ({', '.join(held[:8])})" if held else "no position"
    orders = f"{resting} live order{'s' * (resting != 1)}"
    halt = status.get("halt_reason") or "there is none"
    wills = {
        "pause": "No entries until you resume, also after a restart. Positions and their stops stay.",
        "resume": "Entries may leave again. Takes back a pause, and a flatten that is not done yet.",
        "flatten": f"Cancels {orders}, closes {positions} at the market, and stays paused.",
        "kill": f"Halts at once and for good, and cancels {orders} but exits. Stays as it is: {positions}.",
        "unhalt": f"Lifts the halt ({halt}). Losses count from the present equity. Entries may leave again.",
        "close": f"Cancels the symbol's orders and closes its position at the market. {_GOES_ON}",
    }
    return {name: {"confirm": name, "will": wills[name]} for name in ACTIONS}


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


def _rows(status: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    rows = status.get(name)
    return rows if isinstance(rows, list) else []
