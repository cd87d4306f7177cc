"""Serve a control socket: a table of routes, each with a handler that returns one JSON object."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestPayloadError

from bot.adapters.control.address import reachable
from bot.adapters.net.browsers import LOOPBACK, refusal
from bot.adapters.net.server_log import server_log
from bot.domain.errors import BadInput, BotError


class Question(NamedTuple):
    """What a client asked: the body of its request, and the query of its address (``?since=7``)."""

    body: bytes = b""
    query: Mapping[str, str] = {}


Answer = Mapping[str, object] | msgspec.Struct
"""One JSON object."""
Handler = Callable[[Question], Awaitable[Answer]]
"""Answers a question. ``BadInput`` becomes status 400, any other ``BotError`` status 409."""

_NAMES = LOOPBACK | {"bot", "exchange"}
"""A unix socket has no host, but a client of HTTP writes one: ``curl --unix-socket … http://bot/status``."""
_MAX_BODY_BYTES = 64 << 10
_CONNECTIONS = 16
_STOP_S = 0.2


class ControlServer:
    """Serves ``routes`` (``"GET /status"`` → handler). ``start`` before use, ``stop`` after."""

    def __init__(self, path: Path, routes: Mapping[str, Handler]) -> None:
        self.path = path
        self._routes = routes
        self._runner: web.ServerRunner | None = None
        self._listening: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; a socket that a killed process left is replaced.

        Raises:
            BotError: the socket cannot be made.
        """
        server = _Server(
            self._handle, request_factory=_request, access_log=None, logger=server_log("bot.control")
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=_STOP_S)
        await self._runner.setup()
        try:
            self._listening = await asyncio.get_running_loop().create_unix_server(
                server, sock=_bind(self.path)
            )
        except OSError as error:
            await self._runner.cleanup()
            raise BotError(f"{self.path}: cannot be used as a socket ({error.strerror or error})") from error

    async def stop(self) -> None:
        """Remove the socket and cut every connection."""
        if self._listening is None or self._runner is None:
            return
        self.path.unlink(missing_ok=True)
        self._listening.close()
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if (why := refusal(request.headers, _NAMES)) is not None:
            return _answer({"error": why}, status=403)
        handler = self._routes.get(f"{request.method} {request.path}")
        if handler is None:
            there = ", ".join(self._routes)
            return _answer({"error": f"no such command; there are {there}"}, status=404)
        try:
            body = await request.read()
        except (ConnectionError, RequestPayloadError):
            return _answer({"error": "the body cannot be read"}, status=400)
        try:
            return _answer(await handler(Question(body, request.query)))
        except BadInput as error:
            return _answer({"error": " ".join(str(error).split())}, status=400)
        except BotError as error:
            return _answer({"error": " ".join(str(error).split())}, status=409)


class _Server(web.Server):
    """aiohttp's server with a bound on connections: one too many cuts the oldest."""

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        for oldest in self.connections[:-_CONNECTIONS]:
            oldest.force_close()


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_MAX_BODY_BYTES)


def _answer(value: Answer, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json", status=status)


def _bind(path: Path) -> socket.socket:
    """Make the socket file so that only its owner may connect (0600)."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        with reachable(path) as name:
            listening.bind(name)
        path.chmod(0o600)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening
