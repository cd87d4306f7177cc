"""A webhook on this machine that keeps the messages that come."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web


class Receiver:
    """``async with Receiver() as hook``: takes apprise's JSON messages; ``status`` is what it answers."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        self.tries = 0
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/canary-hook-secret"

    @property
    def titles(self) -> list[str]:
        return [each["title"] for each in self.messages]

    async def __aenter__(self) -> "Receiver":
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after ``stop`` on the same port."""
        app = web.Application()
        app.router.add_post("/{path:.*}", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def until(self, true: Callable[[], object], within_s: float = 30.0) -> None:
        async with asyncio.timeout(within_s):
            while not true():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def _take(self, request: web.Request) -> web.Response:
        self.tries += 1
        if self.status == 200:
            self.messages.append(await request.json())
        return web.Response(status=self.status, text="canary-hook-secret")
