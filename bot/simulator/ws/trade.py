"""The trade socket: orders as requests with answers, in its own message format.

An answer only says that a request was accepted; the order topic shows the result. A refusal by the access
check has no data and no header. https://bybit-exchange.github.io/docs/v5/websocket/trade/guideline
"""

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

from aiohttp import web

from bot.bybit.serve import (
    Auth,
    BadClient,
    Ping,
    RateLimitHeaders,
    TradeRequest,
    auth_reply,
    parse_client,
    pong,
    trade_reply,
)
from bot.simulator.account.access import AccessGate, Grant, Key, RequestRefused, UsedIds
from bot.simulator.account.account import Account
from bot.simulator.account.actions import ACTIONS, OrderAnswer, act, cost_of
from bot.simulator.config import ExchangeConfig
from bot.simulator.faults.hooks import FaultHooks
from bot.simulator.market.clock import ExchangeClock
from bot.simulator.ws.connection import Connection

MAX_REQ_ID = 36
_REQ_IDS_KEPT = 10_000


class Client:
    """One trade connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.key: Key | None = None
        self.req_ids = UsedIds(_REQ_IDS_KEPT)


class TradeStreams:
    """All trade connections. ``account`` returns an account, ``grant`` its share of the quota."""

    def __init__(
        self,
        gate: AccessGate,
        clock: ExchangeClock,
        config: ExchangeConfig,
        faults: FaultHooks,
        ids: Iterator[str],
        rng: Random,
        account: Callable[[Key], Account],
        grant: Callable[[Key, str, int], Grant],
    ) -> None:
        self._gate = gate
        self._clock = clock
        self._config = config
        self._faults = faults
        self._ids = ids
        self._rng = rng
        self._account = account
        self._grant = grant
        self._clients: dict[Client, None] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one trade websocket until it closes."""
        config = self._config
        connection = Connection(
            request, "trade", next(self._ids), self._faults, config.queue_max, config.idle_s
        )
        response = await connection.open()
        client = Client(connection)
        self._clients[client] = None
        try:
            await connection.talk(lambda text: self._said(client, text))
        finally:
            self._clients.pop(client, None)
        return response

    async def close_all(self) -> None:
        """Close all connections."""
        for client in tuple(self._clients):
            await client.connection.close()

    def _said(self, client: Client, text: str) -> None:
        conn_id = client.connection.conn_id
        match parse_client(text):
            case Ping(req_id):
                self._answer(client, "ping", pong("trade", req_id, conn_id, self._clock.now_ms()))
            case Auth() as auth:
                self._login(client, auth)
            case TradeRequest() as request:
                self._answer(client, request.op, self._trade(client, request))
            case BadClient(_, "auth", req_id):
                answer = auth_reply("trade", False, req_id, conn_id, code=10001, text="Params Error")
                self._answer(client, "auth", answer)
            case BadClient(_, op, req_id):
                known = op in ACTIONS
                code, words = (10001, "params error") if known else (10404, "op type is not found")
                self._answer(client, "error", trade_reply(op, req_id, conn_id, code=code, text=words))
            case _:
                self._answer(
                    client, "error", trade_reply("", None, conn_id, code=10404, text="op type is not found")
                )

    def _answer(self, client: Client, op: str, text: str) -> None:
        client.connection.send(text, f"op:{op}", delay_s=self._config.ack_delay_ms / 1000.0)

    def _login(self, client: Client, auth: Auth) -> None:
        conn_id = client.connection.conn_id
        try:
            if client.key is not None:
                raise RequestRefused(20001, "Repeat auth")
            client.key = self._gate.login(auth, now_ms=self._clock.now_ms(), speed=self._clock.speed)
            answer = auth_reply("trade", True, auth.req_id, conn_id)
        except RequestRefused as refused:
            answer = auth_reply("trade", False, auth.req_id, conn_id, code=refused.code, text=refused.text)
        self._answer(client, "auth", answer)

    def _trade(self, client: Client, request: TradeRequest) -> str:
        conn_id = client.connection.conn_id
        try:
            key, params = self._admit(client, request)
        except RequestRefused as refused:
            return trade_reply(request.op, request.req_id, conn_id, code=refused.code, text=refused.text)
        action = ACTIONS[request.op]
        cost = cost_of(action, params)
        grant = self._grant(key, action.group, cost)
        try:
            answer = act(self._account(key), action, params, grant.granted)
        except RequestRefused as refused:
            return self._reply(request, conn_id, grant.limit, code=refused.code, text=refused.text)
        return self._reply(request, conn_id, grant.limit, answer=answer)

    def _admit(self, client: Client, request: TradeRequest) -> tuple[Key, Mapping[str, Any]]:
        """Return the account of a request and its parameters.

        Raises:
            RequestRefused: not logged in, unknown op, repeated reqId, wrong time or arguments.
        """
        if client.key is None:
            raise RequestRefused(10003, "API key is invalid.")
        if request.op not in ACTIONS:
            raise RequestRefused(10404, "op type is not found")
        if request.req_id is not None:
            if len(request.req_id) > MAX_REQ_ID:
                raise RequestRefused(10001, f"params error: reqId has more than {MAX_REQ_ID} characters")
            if request.req_id in client.req_ids:
                raise RequestRefused(20006, "Duplicate reqId")
            client.req_ids.add(request.req_id)
        if request.ts_ms is None:
            raise RequestRefused(10001, "params error: X-BAPI-TIMESTAMP is missing")
        self._gate.window(
            request.ts_ms,
            request.recv_window_ms,
            now_ms=self._clock.now_ms(),
            speed=self._clock.speed,
        )
        if len(request.args) != 1:
            raise RequestRefused(10001, "params error: args must hold one object")
        if client.key.read_only:
            raise RequestRefused(10005, "Permission denied for current apikey")
        return client.key, request.args[0]

    def _reply(
        self,
        request: TradeRequest,
        conn_id: str,
        limit: RateLimitHeaders,
        *,
        answer: OrderAnswer | None = None,
        code: int = 0,
        text: str = "OK",
    ) -> str:
        return trade_reply(
            request.op,
            request.req_id,
            conn_id,
            code=code,
            text=text,
            data=None if answer is None else answer.result,
            ext=None if answer is None else answer.ext,
            limit=limit,
            trace_id=f"{self._rng.getrandbits(128):032x}",
            now_ms=self._clock.now_ms(),
        )
