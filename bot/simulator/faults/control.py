"""The control socket: a private unix socket that speaks HTTP and JSON, for tests and for people with curl.

::

    GET    /faults     faults in force and how often each kind has happened
    POST   /faults     put one in force now, e.g. {"kind": "stall", "on": "public", "for_s": 60}
    DELETE /faults     end all, put right what they changed
    GET    /stats      the exchange's clock and how many clients it has
    GET    /orders     microseconds from a confirmed candle to the next order, since the last such question

    curl --unix-socket .data/exchange.sock -d '{"kind": "reset"}' http://exchange/faults
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
from aiohttp import web

from bot.domain.errors import BadInput, BotError
from bot.simulator.faults.order_timer import OrderTimer
from bot.simulator.faults.plan import parse_fault
from bot.simulator.faults.planned import PlannedFaults
from bot.simulator.faults.world import ExchangeWorld

_MAX_BODY_BYTES = 64 << 10
_PATH_MAX = 100
"""A unix socket's path has at most 107 bytes, on some systems 103."""


class Control:
    """Serves the control socket. Call ``start`` before use, ``stop`` after it; ``stop`` removes the file."""

    def __init__(
        self, path: Path, faults: PlannedFaults, world: ExchangeWorld, stats: Callable[[], dict[str, object]]
    ) -> None:
        self.path = path
        self._faults = faults
        self._world = world
        self._stats = stats
        self._runner: web.AppRunner | None = None
        faults.timer = self._timer = OrderTimer()

    async def start(self) -> None:
        """Listen; only the owner of the file may connect.

        Raises:
            BotError: the place cannot be used, or another exchange listens there.
        """
        if len(os.fsencode(self.path)) > _PATH_MAX:
            raise BotError(f"{self.path}: too long for a socket, choose a path of at most {_PATH_MAX} bytes")
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_get("/faults", self._list)
        app.router.add_post("/faults", self._post)
        app.router.add_delete("/faults", self._clear)
        app.router.add_get("/stats", self._tell)
        app.router.add_get("/orders", self._spans)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        before = os.umask(0o077)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)
            await web.UnixSite(self._runner, str(self.path)).start()
        except OSError as error:
            await self._runner.cleanup()
            raise BotError(f"{self.path}: cannot be used as a socket ({error.strerror})") from error
        finally:
            os.umask(before)

    async def stop(self) -> None:
        """Close it."""
        if self._runner is not None:
            await self._runner.cleanup()
            self.path.unlink(missing_ok=True)

    async def _list(self, request: web.Request) -> web.Response:
        running = [
            {"name": each.name, "happened": each.happened, **msgspec.to_builtins(each.fault)}
            for each in self._faults.faults
        ]
        return _answer({"faults": running, "counts": dict(self._faults.counts)})

    async def _post(self, request: web.Request) -> web.Response:
        try:
            fault = parse_fault(json.loads(await request.read()))
            self._world.check(fault)
        except (BadInput, ValueError, RecursionError) as error:
            return _answer({"error": " ".join(str(error).split())}, status=400)
        name = self._faults.post(fault)
        self._faults.step()
        return _answer({"name": name})

    async def _clear(self, request: web.Request) -> web.Response:
        self._faults.clear()
        return _answer({"faults": []})

    async def _tell(self, request: web.Request) -> web.Response:
        return _answer(self._stats())

    async def _spans(self, request: web.Request) -> web.Response:
        return _answer({"confirm_to_order_us": self._timer.take()})


def _answer(value: dict[str, object], status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json", status=status)
