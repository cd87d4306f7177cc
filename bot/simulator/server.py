"""The exchange as one server on loopback: REST and websockets on one port, one market, one clock.

``serve`` runs it until it is stopped, ``running`` gives one to a test:

    async with running(ExchangeConfig(port=0)) as exchange:
        ... exchange.http_url, exchange.ws_url, exchange.market
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestPayloadError

from bot.adapters.net.browsers import refusal
from bot.adapters.net.server_log import server_log
from bot.adapters.state.clock import THIS_MACHINE, MachineTime
from bot.bybit.serve import envelope
from bot.domain.errors import BotError
from bot.simulator.account.access import AddressLimit, RequestRefused
from bot.simulator.accounts import Accounts
from bot.simulator.config import ExchangeConfig
from bot.simulator.faults.control import FaultControl
from bot.simulator.faults.hooks import FaultAction, FaultHooks
from bot.simulator.faults.plan import FaultPlan, read_plan
from bot.simulator.faults.planned import PlannedFaults
from bot.simulator.faults.world import ExchangeWorld
from bot.simulator.http.public import Handler, MarketRest
from bot.simulator.market.loop import Market, open_market
from bot.simulator.ws.connection import connection_ids
from bot.simulator.ws.public import Streams

HOST = "127.0.0.1"
CATEGORIES = "linear|inverse|spot|option|misc/status"
"""Public streams, those of prices and that of the system's status."""
IP_REQUESTS = 600
"""Requests of one address in five seconds, over all endpoints; more get HTTP 403, as at Bybit."""
MAX_BODY_BYTES = 256 * 1024
_STOP_S = 1.0
_SOCKETS = ("/v5/public/", "/v5/private", "/v5/trade")

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ExchangeServer:
    """One exchange. Call ``start``, then ``run`` as a task beside its users, then ``stop``.

    Args:
        config: its settings.
        log: called with the name of a fact and its keys.
        faults: what goes wrong on purpose; by default nothing.
        machine: the time that the exchange's clock and faults run with.

    Raises:
        BotError: candle files that cannot be used.
    """

    def __init__(
        self,
        config: ExchangeConfig,
        log: Callable[..., Any] | None = None,
        faults: FaultHooks | None = None,
        machine: MachineTime = THIS_MACHINE,
    ) -> None:
        self.config = config
        self.market: Market = open_market(config, log, machine)
        self.clock = self.market.clock
        plan = read_plan(config.faults) if config.faults is not None else FaultPlan(seed=config.seed)
        self.planned = PlannedFaults(plan, machine.steady_s)
        self.faults = faults if faults is not None else self.planned
        self.ids = connection_ids()
        """Ids of connections, for all streams."""
        self.streams = Streams(self.market, self.faults, self.ids)
        self.accounts = Accounts(self.market, self.clock, config, self.faults, self.ids)
        self.world = ExchangeWorld(self.market, lambda: self.accounts.by_key.values(), log)
        for fault in plan.fault:
            self.world.check(fault)
        self.planned.world = self.world
        self._control = (
            FaultControl(config.control, self.planned, self.world, self.stats)
            if config.control is not None
            else None
        )
        self._limit = AddressLimit(IP_REQUESTS if config.ip_limit else None)
        self._runner: web.AppRunner | None = None
        self.port = config.port

    @property
    def http_url(self) -> str:
        """``http://127.0.0.1:P``."""
        return f"http://{HOST}:{self.port}"

    @property
    def ws_url(self) -> str:
        """``ws://127.0.0.1:P``."""
        return f"ws://{HOST}:{self.port}"

    def application(self) -> web.Application:
        """Return the web application with all routes."""
        app = web.Application(middlewares=[self._around], client_max_size=MAX_BODY_BYTES)
        for path, handler in MarketRest(self.market).handlers().items():
            app.router.add_get(path, self._public(handler), allow_head=False)
        app.router.add_get(f"/v5/public/{{category:{CATEGORIES}}}", self._socket("public"))
        app.router.add_get("/v5/private", self._socket("private"))
        app.router.add_get("/v5/trade", self._socket("trade"))
        app.router.add_routes(self.accounts.routes())
        return app

    async def start(self) -> None:
        """Listen.

        Raises:
            BotError: the port is taken.
        """
        self._runner = web.AppRunner(
            self.application(),
            access_log=None,
            logger=server_log("bot.simulator.http"),
            shutdown_timeout=_STOP_S,
        )
        await self._runner.setup()
        self.clock.begin()
        site = web.TCPSite(self._runner, HOST, self.config.port, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise BotError(
                f"port {self.config.port} of {HOST} cannot be used ({error.strerror}); "
                "choose another with --port"
            ) from error
        self.port = site.port  # the one that the system chose, if none was asked for
        if self._control is not None:
            await self._control.start()

    async def run(self) -> None:
        """Move the market and carry out the fault plan until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.market.run())
            group.create_task(self.faults.run())

    def stats(self) -> dict[str, object]:
        """Return facts about the exchange for the control socket."""
        return {
            "now_ms": self.clock.now_ms(),
            "market_ms": self.market.now_ms(),
            "speed": self.config.speed,
            "frozen": self.market.frozen,
            "symbols": len(self.market.symbols),
            "connections": self.planned.connected(),
        }

    async def stop(self) -> None:
        """Close all connections and the port."""
        if self._control is not None:
            await self._control.stop()
        await self.streams.close_all()
        await self.accounts.close_all()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # -- around every request --------------------------------------------------------------------------------

    @web.middleware
    async def _around(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Refuse web pages, apply the address limit, the faults around a request, and the common headers."""
        if (why := refusal(request.headers)) is not None:
            return web.Response(status=403, text=why)
        if request.path.startswith(_SOCKETS):
            return await handler(request)
        if not self._limit.allows(asyncio.get_running_loop().time()):
            return web.Response(status=403, text="access too frequent")
        if request.method == "GET" and request.can_read_body:
            return web.Response(status=403, text="a GET has no body")
        action = self.faults.rest(request)
        if action is not None and (done := await self._acted(request, action)) is not None:
            return done
        response = await self._handled(request, handler)
        response.headers["X-Clock-Speed"] = repr(self.config.speed)
        if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
            return response
        after = self.faults.answered(request, response.body)
        if isinstance(after, FaultAction):
            done = await self._acted(request, after)
            return response if done is None else done
        response.body = after
        return response

    async def _handled(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Return the handler's answer. An unknown path is answered in JSON; an unreadable body is refused."""
        try:
            return await handler(request)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
            body = envelope(None, 10017, "Route not found.", time_ms=self.clock.now_ms())
            return web.Response(status=error.status, body=body, content_type="application/json")
        except (ConnectionError, RequestPayloadError):
            return web.Response(status=400, text="the body cannot be read")

    async def _acted(self, request: web.Request, action: FaultAction) -> web.StreamResponse | None:
        """Carry out a fault; return None if it was only a delay."""
        if action.delay_s > 0.0:
            await asyncio.sleep(action.delay_s)
        if action.status == 0:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        if action.body is None and action.status == 200:
            return None
        return web.Response(
            status=action.status, body=action.body or b"", headers={"Content-Type": action.content_type}
        )

    def _public(self, handler: Handler) -> _Handler:
        async def answer(request: web.Request) -> web.Response:
            try:
                result, code, text = handler(request.query), 0, "OK"
            except RequestRefused as refused:
                result, code, text = refused.result, refused.code, refused.text
            body = envelope(result, code, text, time_ms=self.clock.now_ms())
            return web.Response(body=body, content_type="application/json")

        return answer

    def _socket(self, kind: str) -> _Handler:
        async def connect(request: web.Request) -> web.StreamResponse:
            action = self.faults.ws_connect(kind)
            if action is not None and (done := await self._acted(request, action)) is not None:
                return done
            match kind:
                case "private":
                    response: web.StreamResponse = await self.accounts.ws_private(request)
                case "trade":
                    response = await self.accounts.ws_trade(request)
                case _:
                    response = await self.streams.handle(request)
            return response

        return connect


async def serve(
    config: ExchangeConfig,
    ready: Callable[[ExchangeServer], None],
    log: Callable[..., Any] | None = None,
    stopped: asyncio.Event | None = None,
) -> None:
    """Run an exchange until ``stopped`` is set (or for ever); ``ready`` is called once it listens.

    Raises:
        BotError: the port is taken, or the candle files cannot be used.
    """
    server = ExchangeServer(config, log)
    await server.start()
    try:
        ready(server)
        async with asyncio.TaskGroup() as group:
            market = group.create_task(server.run())
            if stopped is not None:
                await stopped.wait()
                market.cancel()
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None  # one line for the user: what ended the market
    finally:
        await server.stop()


@asynccontextmanager
async def running(
    config: ExchangeConfig,
    faults: FaultHooks | None = None,
    log: Callable[..., Any] | None = None,
    machine: MachineTime = THIS_MACHINE,
) -> AsyncIterator[ExchangeServer]:
    """Yield an exchange that runs in this process while the block lasts."""
    server = ExchangeServer(config, log, faults, machine)
    await server.start()
    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            market = group.create_task(server.run())
            try:
                yield server
            except Exception as error:  # raised again below, alone and not as part of a group
                failure = error
            market.cancel()
    finally:
        await server.stop()
    if failure is not None:
        raise failure
