"""Where the exchange misbehaves on purpose. Without a plan nothing here does anything."""

from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

if TYPE_CHECKING:
    from bot.simulator.ws.connection import Connection


class FaultAction(msgspec.Struct, frozen=True):
    """What to do instead of the ordinary: an HTTP answer as given, after ``delay_s``.

    ``status`` 0 closes the connection without an answer.
    """

    delay_s: float = 0.0
    status: int = 200
    body: bytes | None = None
    content_type: str = "application/json"


class FaultHooks:
    """The hooks. Each is called in one place; None, or what came in, means "as ever"."""

    def rest(self, request: web.Request) -> FaultAction | None:
        """Before a REST request is handled; an action with a body or another status replaces the answer."""
        return None

    def answered(self, request: web.Request, body: bytes) -> bytes | FaultAction:
        """After it was handled (the order may have been taken): the body to send, or an action."""
        return body

    def ws_connect(self, kind: str) -> FaultAction | None:
        """A websocket of ``kind`` (public, private, trade) asks to be opened."""
        return None

    def ws_out(self, connection: object, topic: str, text: str) -> list[tuple[float, str]] | None:
        """A message is about to leave: ``[(delay_s, text), …]`` instead of it; [] drops it.

        ``topic`` is that of a push, ``op:ping``, ``op:subscribe`` and so on for answers.
        """
        return None

    def ws_in(self, connection: object, text: str) -> str | None:
        """A message has come in; None loses it."""
        return text

    def leaves(self, connection: "Connection", text: str) -> None:
        """A message is about to be written to the socket."""

    def opened(self, connection: "Connection") -> None:
        """A websocket has been opened."""

    def closed(self, connection: "Connection") -> None:
        """It is gone."""

    async def run(self) -> None:
        """What goes by the clock, until cancelled."""
