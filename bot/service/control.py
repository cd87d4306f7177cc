"""The daemon's side of its control socket: each command of ``commands.py`` is a route."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from bot.adapters.control.server import Answer, ControlServer, Handler, Question
from bot.domain.errors import BadInput
from bot.service.commands import COMMANDS, SOCKET


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client says beside the command: who gives it, and for ``close`` the symbol."""

    by: Literal["terminal", "page"] = "terminal"
    symbol: str = ""


Reply = Callable[[str, Asked, Mapping[str, str]], Awaitable[Answer]]
"""Answers a command, with its body and its query."""


class Control:
    """Serves the daemon's commands; ``reply`` is awaited for each."""

    def __init__(self, state_dir: Path, reply: Reply) -> None:
        self._server = ControlServer(
            state_dir / SOCKET,
            {f"{method} /{command}": _route(reply, command) for command, method in COMMANDS.items()},
        )

    async def run(self) -> None:
        """Serve until cancelled; the socket is gone afterwards.

        Raises:
            BotError: the socket cannot be made.
        """
        await self._server.start()
        try:
            await asyncio.Event().wait()
        finally:
            await self._server.stop()


def _route(reply: Reply, command: str) -> Handler:
    async def handle(question: Question) -> Answer:
        return await reply(command, _asked(question.body), question.query)

    return handle


def _asked(body: bytes) -> Asked:
    """Read a body; none means a command of the terminal.

    Raises:
        BadInput: it is no object of this form.
    """
    try:
        return msgspec.json.decode(body, type=Asked) if body else Asked()
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadInput(f"the body of the command cannot be read: {error}") from None
