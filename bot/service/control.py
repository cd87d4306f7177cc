"""The daemon's side of its control socket: each command of ``commands.py`` is a route."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from bot.adapters.control.server import ControlServer, Handler
from bot.service.commands import COMMANDS, SOCKET

Answer = Callable[[str], Awaitable[Mapping[str, object]]]


class Control:
    """Serves the daemon's commands; ``answer`` is awaited for each."""

    def __init__(self, state_dir: Path, answer: Answer) -> None:
        self._server = ControlServer(
            state_dir / SOCKET,
            {f"{method} /{command}": _route(answer, command) for command, method in COMMANDS.items()},
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


def _route(answer: Answer, command: str) -> Handler:
    async def handle(body: bytes) -> Mapping[str, object]:
        return await answer(command)

    return handle
