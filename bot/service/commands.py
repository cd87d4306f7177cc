"""What an operator may ask the daemon, and how: ``ask`` talks to the socket in the state directory.

Imports neither asyncio nor aiohttp: ``bot status`` must start fast.
"""

from pathlib import Path

from bot.adapters.control.client import NoAnswer, NobodyThere
from bot.adapters.control.client import ask as ask_socket
from bot.domain.errors import BotError

SOCKET = "control.sock"
COMMANDS = {
    "status": "GET",
    "pause": "POST",
    "resume": "POST",
    "flatten": "POST",
    "kill": "POST",
    "unhalt": "POST",
}
"""Command → its HTTP method; its path is ``/`` and the command."""


class NoDaemon(BotError):
    """Nobody answers on the state directory: no daemon runs there, or it hangs."""


def ask(state_dir: Path, command: str, *, timeout_s: float = 15.0) -> dict[str, object]:
    """Ask the daemon that runs on ``state_dir``; returns its answer.

    Raises:
        NoDaemon: nobody answers.
        BotError: it answered that it could not.
    """
    try:
        return ask_socket(state_dir / SOCKET, COMMANDS[command], f"/{command}", timeout_s=timeout_s)
    except NobodyThere:
        raise NoDaemon(f"no daemon runs on {state_dir}; start one with `bot run`, or set state_dir") from None
    except NoAnswer as error:
        raise NoDaemon(f"the daemon on {state_dir} {error}") from None
