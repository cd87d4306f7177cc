"""The routes of the page. Every answer is JSON, a file that ships with the program, or a table as CSV."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from bot.adapters.net.server_log import server_log
from bot.domain.errors import BadInput, BotError
from bot.web.server import history as read
from bot.web.server.access import COOKIE_AGE_S, Access
from bot.web.server.history import History
from bot.web.server.line import DaemonLine
from bot.web.server.steering import ACTIONS, Kill, give
from bot.web.server.watch import TooMany, Watch

MAX_BODY_BYTES = 4096
_STOP_S = 0.5
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".txt": "text/plain",
    ".woff2": "font/woff2",
    ".png": "image/png",
    ".ico": "image/x-icon",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_OPEN = ("/healthz", "/readyz")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class WebConfig:
    """Where the page listens. ``tls`` is None for plain HTTP."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    @property
    def is_local(self) -> bool:
        """True if only this machine can reach it."""
        return self.host in ("127.0.0.1", "localhost", "::1")


class WebServer:
    """Serves the page. Call ``start``, then ``run`` as a task, then ``stop``."""

    def __init__(
        self, config: WebConfig, access: Access, line: DaemonLine, watch: Watch, history: History, kill: Kill
    ) -> None:
        self.port = config.port
        self._config = config
        self._access = access
        self._line = line
        self._watch = watch
        self._history = history
        self._kill = kill
        self._page = Path(str(files("bot.web") / "page"))
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The address of the page, without a token."""
        scheme = "https" if self._config.tls is not None else "http"
        host = self._config.host
        host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 (what it listens on is asked for)
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def link(self) -> str:
        """Return an address that opens the page once."""
        return f"{self.url}?token={self._access.make_link()}"

    async def start(self) -> None:
        """Listen.

        Raises:
            BotError: the port is taken, or the host is none of this machine.
        """
        self._runner = web.AppRunner(
            self._application(), access_log=None, logger=server_log("bot.web"), shutdown_timeout=_STOP_S
        )
        await self._runner.setup()
        config = self._config
        site = web.TCPSite(self._runner, config.host, config.port, ssl_context=config.tls, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise BotError(
                f"the page cannot listen on {config.host}:{config.port} ({error.strerror or error}); "
                "set web.port or web.host"
            ) from error
        self.port = site.port

    async def run(self) -> None:
        """Follow the daemon while somebody looks, until cancelled."""
        await self._watch.run()

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_BODY_BYTES)
        get, post = app.router.add_get, app.router.add_post
        get("/", self._index)
        get("/static/{path:.+}", self._static)
        get("/healthz", self._healthz)
        get("/readyz", self._readyz)
        get("/api/status", self._status)
        get("/api/stream", self._stream)
        get("/api/symbols", self._symbols)
        get("/api/candles", self._candles)
        get("/api/limits", self._limits)
        get("/api/model", self._model)
        get("/api/equity", self._equity)
        for name, rows in (
            ("trades", read.trades),
            ("fills", read.fills),
            ("orders", read.orders),
            ("events", read.events),
        ):
            get(f"/api/{name}", self._table(rows))
        for action in ACTIONS:
            post(f"/api/{action}", self._steer(action))
        return app

    # Around every request

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Refuse other pages and strangers; turn our errors into JSON; add the headers."""
        response = await self._guarded(request, handler)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    async def _guarded(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if (why := self._access.refusal(request.headers)) is not None:
            return problem(403, why)
        if not self._is_known(request):
            many = self._access.too_many_tries
            return problem(429, "too many wrong tokens; wait a minute") if many else problem(401, _WHO)
        try:
            return await handler(request)
        except web.HTTPException as error:
            return problem(error.status, error.reason)
        except BadInput as error:
            return problem(400, str(error))
        except TooMany as error:
            return problem(503, str(error))
        except BotError as error:
            return problem(409, str(error))

    def _is_known(self, request: web.Request) -> bool:
        if request.path in _OPEN or request.path.startswith("/static/"):
            return True
        if request.path == "/" and "token" in request.query:
            return True  # the handler judges the code
        access = self._access
        return access.knows_cookie(request.cookies.get(access.cookie_name)) or access.knows_token(
            request.headers
        )

    # Files

    async def _index(self, request: web.Request) -> web.StreamResponse:
        """Serve the page; a link from the terminal becomes a cookie, and leaves the address."""
        code = request.query.get("token")
        if code is None:
            return self._file("index.html")
        access = self._access
        if not access.takes_link(code):
            if access.knows_cookie(request.cookies.get(access.cookie_name)):
                return web.Response(status=303, headers={"Location": "/"})
            many = access.too_many_tries
            return problem(429, "too many wrong tokens; wait a minute") if many else problem(401, _USED)
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            access.cookie_name,
            access.cookie,
            max_age=COOKIE_AGE_S,
            httponly=True,
            samesite="Strict",
            secure=self._config.tls is not None,
        )
        return response

    async def _static(self, request: web.Request) -> web.StreamResponse:
        return self._file(request.match_info["path"])

    def _file(self, name: str) -> web.StreamResponse:
        path = (self._page / name).resolve()
        kind = _TYPES.get(path.suffix)
        if kind is None or not path.is_relative_to(self._page.resolve()) or not path.is_file():
            raise web.HTTPNotFound
        return web.Response(
            body=path.read_bytes(),
            content_type=kind,
            charset="utf-8" if kind.startswith("text/") else None,
            headers={"Cache-Control": "no-cache"},
        )

    # What happens now

    async def _healthz(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.StreamResponse:
        await self._watch.fresh(1.0)
        word = self._watch.status.get("readiness") if self._line.daemon == "up" else self._line.daemon
        return web.Response(status=200 if word == "trading" else 503, text=f"{word}\n")

    async def _status(self, request: web.Request) -> web.StreamResponse:
        await self._watch.fresh()
        return answer(self._watch.whole_status())

    async def _symbols(self, request: web.Request) -> web.StreamResponse:
        await self._watch.fresh()
        return answer(list(self._watch.symbols.values()))

    async def _limits(self, request: web.Request) -> web.StreamResponse:
        await self._watch.fresh()
        return answer(self._watch.status.get("limits", []))

    async def _model(self, request: web.Request) -> web.StreamResponse:
        await self._watch.fresh()
        status = self._watch.status
        return answer({"hash": status.get("model_hash"), "step_us": status.get("step_us")})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the whole picture first, then what changes."""
        with self._watch.looking() as queue:
            await self._watch.fresh()
            response = web.StreamResponse(
                headers={**HEADERS, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            )
            response.content_type = "text/event-stream"
            await response.prepare(request)
            for said in self._watch.beginning():
                await response.write(said)
            while (news := await queue.get()) is not None:
                await response.write(news)
            return response

    # What happened

    def _table(self, rows: Callable[..., read.Page]) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            limit = number(request, "limit", 100, 1, 1000)
            return answer(await self._read(lambda index: rows(index, limit)))

        return handle

    async def _equity(self, request: web.Request) -> web.StreamResponse:
        points = number(request, "points", 1000, 10, 5000)
        return answer(await self._read(lambda index: read.equity(index, points)))

    async def _candles(self, request: web.Request) -> web.StreamResponse:
        symbol = request.query.get("symbol", "")
        await self._watch.fresh()
        row = self._watch.symbols.get(symbol)
        opened = row["open"] if row else None
        return answer({"interval_ms": None, "bars": [], "open": opened, "band": [], "fills": [], "stops": []})

    async def _read(self, do: Callable[[Any], Any]) -> Any:
        account = self._watch.status.get("account")
        return await self._history.do(do, account)

    # Commands

    def _steer(self, action: str) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            if request.content_type != "application/json":
                return problem(415, "send JSON")
            return answer(await give(self._line, action, await request.read(), self._kill))

        return handle


_WHO = "open the link that the bot has printed, or make a new one with `bot web --link`"
_USED = "this link is wrong or was used already; make a new one with `bot web --link`"


def answer(value: object, status: int = 200) -> web.Response:
    """Return JSON that no cache keeps."""
    return web.Response(
        body=msgspec.json.encode(value),
        content_type="application/json",
        status=status,
        headers={"Cache-Control": "no-store"},
    )


def problem(status: int, words: str) -> web.Response:
    """Return why a request was not answered."""
    return answer({"error": " ".join(words.split())}, status)


def number(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    """Return a number of the query within its bounds.

    Raises:
        BadInput: it is none, or outside.
    """
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 16 and low <= int(text) <= high):
        raise BadInput(f"{name} must be a number from {low} to {high}, was {text[:20]!r}")
    return int(text)
