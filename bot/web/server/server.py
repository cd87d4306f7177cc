"""The routes of the page. An answer is JSON, a file that ships with the program, or a table as CSV.

A person in a browser who is refused reads a page instead of JSON: ``stranger.py``.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import msgspec
from aiohttp import web

from bot.adapters.net.browsers import is_loopback
from bot.adapters.net.server_log import server_log
from bot.domain.errors import BadInput, BotError
from bot.service.retraining.words import retraining_words
from bot.web.server import metrics, reports, tables
from bot.web.server.access import COOKIE_AGE_S, Access
from bot.web.server.candles import candles
from bot.web.server.export import WHATS, What, as_csv
from bot.web.server.history import Books, JournalHistory
from bot.web.server.line import DaemonLine
from bot.web.server.skill import Skill
from bot.web.server.steering import ACTIONS, Steering
from bot.web.server.stranger import document, is_for_a_person
from bot.web.server.tables import Page, Query
from bot.web.server.watch import TooMany, Watch

MAX_BODY_BYTES = 4096
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
"""In every answer."""
_NO_STORE = {"Cache-Control": "no-store"}
_STREAM = {**HEADERS, **_NO_STORE, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
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
_READY = frozenset({"trading", "cold"})
"""Words of the daemon's readiness with which it does its work."""
_STOP_S = 0.5
_WHO = "open the link that the bot has printed, or make a new one with `bot web --link`"
_USED = "this link is wrong or was used already; make a new one with `bot web --link`"
_MANY = "too many wrong tokens; wait a minute"

T = TypeVar("T")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class WebConfig:
    """Where the page listens, and of which state directory. ``tls`` is None for plain HTTP."""

    host: str
    port: int
    state_dir: Path
    tls: ssl.SSLContext | None = None

    @property
    def is_local(self) -> bool:
        """True if only this machine can reach it."""
        return is_loopback(self.host)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where the page's answers come from."""

    line: DaemonLine
    watch: Watch
    history: JournalHistory
    skill: Skill
    steering: Steering


class WebServer:
    """Serves the page. Call ``start``, then ``run`` as a task, then ``stop``."""

    def __init__(self, config: WebConfig, access: Access, sources: Sources) -> None:
        self.port = config.port
        self._config = config
        self._access = access
        self._line = sources.line
        self._watch = sources.watch
        self._history = sources.history
        self._skill = sources.skill
        self._steering = sources.steering
        self._page = Path(str(files("bot.web") / "page")).resolve()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The address of the page, without a token."""
        scheme = "https" if self._config.tls is not None else "http"
        host = self._config.host
        host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 (the user asked for all of them)
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
        self._history.close()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._around], client_max_size=MAX_BODY_BYTES)
        get, post = app.router.add_get, app.router.add_post
        get("/", self._index)
        get("/static/{path:.+}", self._static)
        get("/healthz", self._healthz)
        get("/readyz", self._readyz)
        get("/metrics", self._metrics)
        get("/api/status", self._status)
        get("/api/stream", self._stream)
        get("/api/symbols", self._symbols)
        get("/api/limits", self._limits)
        get("/api/model", self._model)
        get("/api/candles", self._candles)
        get("/api/equity", self._equity)
        get("/api/trades", self._table(lambda books, query: books.trades.page(query)))
        get("/api/fills", self._table(lambda books, query: tables.fills(books.index, query)))
        get("/api/orders", self._table(lambda books, query: tables.orders(books.index, query)))
        get("/api/events", self._table(lambda books, query: tables.events(books.index, query)))
        get("/api/reports", self._reports)
        get("/reports/{folder}/{name}", self._report)
        for what in WHATS:
            get(f"/api/export/{what}.csv", self._export(what))
        for action in ACTIONS:
            post(f"/api/{action}", self._steer(action))
        return app

    # Around every request

    @web.middleware
    async def _around(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Refuse other pages and strangers; say our errors in the reader's form; add the headers."""
        response = await self._guarded(request, handler)
        if not response.prepared:
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    async def _guarded(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if (why := self._access.refusal(request.headers)) is not None:
            return problem(request, 403, why)
        if not self._may_pass(request):
            return self._stranger(request, _WHO)
        try:
            return await handler(request)
        except web.HTTPException as error:
            return problem(request, error.status, error.reason)
        except BadInput as error:
            return problem(request, 400, str(error))
        except TooMany as error:
            return problem(request, 503, str(error))
        except BotError as error:
            return problem(request, 409, str(error))

    def _may_pass(self, request: web.Request) -> bool:
        path, access = request.path, self._access
        if path in ("/healthz", "/readyz") or path.startswith("/static/"):
            return True
        if path == "/metrics" and self._config.is_local:
            return True
        if path == "/" and "token" in request.query:
            return True  # the handler judges the code
        cookie = request.cookies.get(access.cookie_name)
        return access.knows_cookie(cookie) or access.knows_token(request.headers)

    def _stranger(self, request: web.Request, words: str) -> web.Response:
        slow_down = self._access.too_many_tries
        return problem(request, 429, _MANY) if slow_down else problem(request, 401, words)

    # Files

    async def _index(self, request: web.Request) -> web.StreamResponse:
        """Serve the page; a link from the terminal becomes a cookie, and leaves the address."""
        code, access = request.query.get("token"), self._access
        if code is None:
            return self._file("index.html")
        response = web.Response(status=303, headers={"Location": "/", **_NO_STORE})
        if access.knows_cookie(request.cookies.get(access.cookie_name)):
            return response
        if not access.takes_link(code):
            return self._stranger(request, _USED)
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
        if kind is None or not path.is_relative_to(self._page) or not path.is_file():
            raise web.HTTPNotFound
        charset = "utf-8" if kind.startswith("text/") else None
        headers = {"Cache-Control": "no-cache"}
        return web.Response(body=path.read_bytes(), content_type=kind, charset=charset, headers=headers)

    # What happens now

    async def _healthz(self, request: web.Request) -> web.StreamResponse:
        """Say that this process lives, whatever the daemon does."""
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.StreamResponse:
        """Say whether the daemon answers, has started and has its data; a halt or a pause is no fault."""
        await self._watch.fresh_status()
        word = self._watch.status.get("readiness") if self._line.daemon == "up" else self._line.daemon
        return web.Response(status=200 if word in _READY else 503, text=f"{word}\n")

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        await self._watch.fresh_status()
        status = self._watch.status if self._line.daemon == "up" else None
        text = metrics.text(status, self._line.seen_ms, self._watch.lookers)
        return web.Response(body=text, headers={"Content-Type": metrics.CONTENT_TYPE, **_NO_STORE})

    async def _status(self, request: web.Request) -> web.StreamResponse:
        await self._watch.fresh_status()
        return answer(self._watch.whole_status())

    async def _symbols(self, request: web.Request) -> web.StreamResponse:
        await self._watch.fresh()
        return answer(list(self._watch.symbols.values()))

    async def _limits(self, request: web.Request) -> web.StreamResponse:
        await self._watch.fresh_status()
        return answer(self._watch.status.get("limits", []))

    async def _model(self, request: web.Request) -> web.StreamResponse:
        """Return the model, how long a close takes, and its forecasts of the last days, null until judged."""
        await self._watch.fresh_status()
        status = self._watch.status
        if status.get("model_hash"):
            self._skill.look(self._watch.account)
        step = status.get("step_us") or {"n": 0}
        retrain = status.get("retrain")
        return answer(
            {
                "hash": status.get("model_hash"),
                "trained_to_ms": status.get("model_trained_to_ms"),
                "step_p50_us": step["p50"] if step["n"] else None,
                "step_p99_us": step["p99"] if step["n"] else None,
                "drift": (status.get("drift") or {}).get("words"),
                "retraining": retraining_words(retrain, status["now_ms"]) if retrain else None,
                "days": self._skill.days,
            }
        )

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Send the whole picture, then what changes, as server-sent events."""
        with self._watch.looking() as waiting:
            await self._watch.fresh()
            response = web.StreamResponse(headers=_STREAM)
            with suppress(ConnectionError):  # the page was closed
                await response.prepare(request)
                for said in self._watch.beginning():
                    await response.write(said)
                while (news := await waiting.get()) is not None:
                    await response.write(news)
            return response

    # What happened

    def _table(self, rows: Callable[[Books, Query], Page]) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            query = _query(request)
            return answer(await self._read(lambda books: rows(books, query)))

        return handle

    async def _equity(self, request: web.Request) -> web.StreamResponse:
        points = number(request, "points", 1000, 10, 10_000)
        return answer(await self._read(lambda books: books.equity.curve(books.index, points)))

    async def _candles(self, request: web.Request) -> web.StreamResponse:
        symbol, limit = request.query.get("symbol", ""), number(request, "limit", 500, 1, 10_000)
        await self._watch.fresh()
        row = self._watch.symbols.get(symbol)
        told = await self._read(lambda books: candles(books.index, books.chart, symbol, limit))
        told.open = row["open"] if row else None
        if (from_ms := told.unknown_from_ms) is not None:
            told.take(await self._remembered(symbol, from_ms) if row else None)
        return answer(told)

    async def _remembered(self, symbol: str, from_ms: int) -> Mapping[str, object] | None:
        """Return the forecasts of a symbol of the daemon that it remembers; None if it does not say."""
        try:
            return await self._line.ask("forecasts", f"symbol={symbol}&since={from_ms}")
        except BotError:  # a daemon of an older version has none
            return None

    def _export(self, what: What) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            body = await self._read(lambda books: as_csv(books, what))
            name = f"{self._watch.account or 'bot'}-{what}.csv"
            headers = {"Content-Disposition": f'attachment; filename="{name}"', **_NO_STORE}
            return web.Response(body=body, content_type="text/csv", charset="utf-8", headers=headers)

        return handle

    async def _reports(self, request: web.Request) -> web.StreamResponse:
        return answer(await asyncio.to_thread(reports.listed, self._config.state_dir))

    async def _report(self, request: web.Request) -> web.StreamResponse:
        found = reports.read(self._config.state_dir, request.match_info["folder"], request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound
        return web.Response(body=found, content_type="text/html", charset="utf-8", headers=reports.HEADERS)

    async def _read(self, do: Callable[[Books], T]) -> T:
        return await self._history.do(do, self._watch.account)

    # Commands

    def _steer(self, action: str) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            if request.content_type != "application/json":
                return problem(request, 415, "send JSON")
            done = await self._steering.give(action, await request.read())
            await self._watch.look(status_within_s=0.0)
            return answer(done)

        return handle


def answer(value: object, status: int = 200) -> web.Response:
    """Return JSON that no cache keeps."""
    body = msgspec.json.encode(value)
    return web.Response(body=body, content_type="application/json", status=status, headers=_NO_STORE)


def problem(request: web.Request, status: int, words: str) -> web.Response:
    """Return why a request was not answered: a page for people, JSON for programs."""
    said = " ".join(words.split())
    if not is_for_a_person(request.path, request.headers):
        return answer({"error": said}, status)
    text = document(status, said)
    return web.Response(text=text, content_type="text/html", status=status, headers=_NO_STORE)


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


def _query(request: web.Request) -> Query:
    """Return which rows are asked for.

    Raises:
        BadInput: a number or a level that cannot be.
    """
    level = request.query.get("level", "")
    if level not in ("", *tables.LEVELS):
        raise BadInput(f"level must be one of {', '.join(tables.LEVELS)}, was {level[:20]!r}")
    return Query(
        limit=number(request, "limit", 100, 1, 5000),
        before=number(request, "before", 0, 1, 1 << 49) or None,
        symbol=request.query.get("symbol", ""),
        level=level,
        kind=request.query.get("kind", ""),
    )
