"""The line to the daemon: one question at a time over its private socket, and whether it answers."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from bot.domain.errors import BotError
from bot.service.commands import DaemonHangs, NoDaemon, ask

Daemon = Literal["up", "hangs", "down"]
ASK_S = 1.5
"""A daemon that is silent for longer hangs; a page must show it within three seconds."""
COMMAND_S = 20.0


class DaemonLine:
    """Asks the daemon on ``state_dir``.

    Attributes:
        daemon: what it was at the last question; ``down`` before the first.
        seen_ms: when it last answered, by this machine's clock; None if it never has.
    """

    def __init__(self, state_dir: Path, wall_ms: Callable[[], int]) -> None:
        self.daemon: Daemon = "down"
        self.seen_ms: int | None = None
        self._state_dir = state_dir
        self._wall_ms = wall_ms

    async def ask(self, what: str, query: str = "") -> dict[str, object] | None:
        """Return its answer to a question that changes nothing; None if there is none."""
        try:
            return await self._asked(what, ASK_S, query=query)
        except NoDaemon:
            return None

    async def command(self, what: str, body: Mapping[str, object]) -> dict[str, object]:
        """Give a command.

        Raises:
            NoDaemon: nobody answers.
            BotError: the daemon's words why it could not.
        """
        return await self._asked(what, COMMAND_S, body=body)

    async def _asked(
        self, what: str, timeout_s: float, query: str = "", body: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        try:
            answer = await asyncio.to_thread(
                ask, self._state_dir, what, timeout_s=timeout_s, query=query, body=body
            )
        except NoDaemon as error:
            self.daemon = "hangs" if isinstance(error, DaemonHangs) else "down"
            raise
        except BotError:
            self._seen()
            raise
        self._seen()
        return answer

    def _seen(self) -> None:
        self.daemon, self.seen_ms = "up", self._wall_ms()
