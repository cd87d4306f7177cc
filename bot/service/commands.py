"""What an operator may ask the daemon, and how: ``ask`` talks to the socket in the state directory.

Imports neither asyncio nor aiohttp: ``bot status`` must start fast.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from bot.adapters.control.client import NoAnswer, NobodyThere
from bot.adapters.control.client import ask as ask_socket
from bot.domain.errors import BotError

SOCKET = "control.sock"
COMMANDS = {
    "status": "GET",
    "live": "GET",
    "forecasts": "GET",
    "pause": "POST",
    "resume": "POST",
    "flatten": "POST",
    "kill": "POST",
    "unhalt": "POST",
    "close": "POST",
}
"""Command → its HTTP method; its path is ``/`` and the command."""


class NoDaemon(BotError):
    """Nobody answers on the state directory: no daemon runs there, or it hangs."""


class DaemonHangs(NoDaemon):
    """A daemon holds the socket and gives no answer."""


def ask(
    state_dir: Path,
    command: str,
    *,
    timeout_s: float = 15.0,
    query: str = "",
    body: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Ask the daemon that runs on ``state_dir``; returns its answer.

    ``query`` is the part of the address behind ``?``. ``body`` says more of a command, such as
    ``{"by": "page", "symbol": "BTCUSDT"}``; without one the terminal gave it.

    Raises:
        NoDaemon: nobody answers.
        BotError: it answered that it could not.
    """
    target = f"/{command}?{query}" if query else f"/{command}"
    said = b"" if body is None else json.dumps(body).encode()
    try:
        return ask_socket(state_dir / SOCKET, COMMANDS[command], target, timeout_s=timeout_s, body=said)
    except NobodyThere:
        raise NoDaemon(f"no daemon runs on {state_dir}; start one with `bot run`, or set state_dir") from None
    except NoAnswer as error:
        raise DaemonHangs(f"the daemon on {state_dir} {error}") from None
