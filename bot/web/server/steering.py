"""The commands of the page: what each will do, the word that confirms it, and how it is given."""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from bot.domain.errors import BadInput
from bot.service.commands import NoDaemon
from bot.web.server.line import DaemonLine

Kill = Callable[[], Mapping[str, object]]
"""Halts and takes the orders back where no daemon answers; blocks."""
ACTIONS = ("pause", "resume", "flatten", "kill", "unhalt", "close")


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a command: ``confirm`` is the word that ``actions`` asks for."""

    confirm: str
    symbol: str = ""


def actions(status: Mapping[str, object]) -> dict[str, dict[str, str]]:
    """Return for each command the word that confirms it, and what it will do now."""
    held = [f"{row['symbol']} {row['qty']}" for row in _rows(status, "positions")]
    resting = len(_rows(status, "open_orders"))
    positions = (
        f"{len(held)} open position{'s' * (len(held) != 1)} ({', '.join(held)})" if held else "no position"
    )
    orders = f"{resting} live order{'s' * (resting != 1)}"
    halted = status.get("halt_reason") or "nothing, it is not halted"
    wills = {
        "pause": "No entries until you resume, also after a restart. Positions and their stops stay.",
        "resume": "Entries may leave again. Takes back a pause and a flatten that is not done yet.",
        "flatten": f"Cancels {orders}, closes {positions} at the market, and stays paused.",
        "kill": f"Halts at once and for good; cancels {orders}. Protective stops stay. So does {positions}.",
        "unhalt": f"Lifts the halt ({halted}). Losses count from the present equity. Entries may leave.",
        "close": "Closes this position at the market and cancels the symbol's orders. The strategy goes on "
        "and may enter again at the next close.",
    }
    return {name: {"confirm": name, "will": wills[name]} for name in ACTIONS}


async def give(line: DaemonLine, action: str, body: bytes, kill: Kill) -> Mapping[str, object]:
    """Give a command to the daemon, as the page.

    Raises:
        BadInput: the confirmation is missing or wrong.
        BotError: it could not be carried out; the words say why.
    """
    given = _checked(action, body)
    said = {"by": "page", **({"symbol": given.symbol} if action == "close" else {})}
    try:
        return await line.command(action, said)
    except NoDaemon:
        if action != "kill":
            raise
        return await asyncio.to_thread(kill)


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
