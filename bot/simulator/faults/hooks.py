"""The hooks at which faults act. Without a fault plan they do nothing."""

from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

if TYPE_CHECKING:
    from bot.simulator.ws.connection import Connection


class FaultAction(msgspec.Struct, frozen=True):
    """The answer that a fault gives instead: this HTTP answer, after ``delay_s``.

    ``status`` 0 closes the connection without an answer.
    """

    delay_s: float = 0.0
    status: int = 200
    body: bytes | None = None
    content_type: str = "application/json"


class FaultHooks:
    """All hooks. Each is called in one place; None, or the unchanged argument, means that nothing happens."""

    def rest(self, request: web.Request) -> FaultAction | None:
        """Called before a REST request is handled; an action with a body or a status replaces the answer."""
        return None

    def answered(self, request: web.Request, body: bytes) -> bytes | FaultAction:
        """Called after it was handled (an order may have been taken); return the body, or an action."""
        return body

    def order_action(self, op: str) -> tuple[int, str] | None:
        """Called before an action such as ``order.create``; return the code and words of a refusal."""
        return None

    def ws_connect(self, kind: str) -> FaultAction | None:
        """Called when a websocket of ``kind`` (public, private, trade) asks to be opened."""
        return None

    def ws_out(self, connection: object, topic: str, text: str) -> list[tuple[float, str]] | None:
        """Called before a message leaves; return ``[(delay_s, text), …]`` to send instead, [] to drop it.

        ``topic`` is that of a push, ``op:ping``, ``op:subscribe`` and so on for answers.
        """
        return None

    def ws_in(self, connection: object, text: str) -> str | None:
        """Called when a message has come in; return None to lose it."""
        return text

    def leaves(self, connection: "Connection", text: str) -> None:
        """A message is about to be written to the socket."""

    def opened(self, connection: "Connection") -> None:
        """A websocket has been opened."""

    def closed(self, connection: "Connection") -> None:
        """It is gone."""

    async def run(self) -> None:
        """Begin and end faults by the clock until cancelled."""
