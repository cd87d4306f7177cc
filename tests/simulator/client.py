"""A bare signed client of a running exchange: what is on the wire, nothing hidden."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from bot.bybit.sign import rest_signature, ws_signature
from bot.simulator.config import ExchangeConfig
from bot.simulator.server import ExchangeServer, running

Json = dict[str, Any]
WAIT_S = 5.0
BITCOIN = {"category": "linear", "symbol": "BTCUSDT"}


class Socket:
    """One websocket; what was not waited for is kept."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, wire: "Wire") -> None:
        self._socket = socket
        self._wire = wire
        self._kept: list[Json] = []

    async def say(self, message: Json) -> None:
        await self._socket.send_str(json.dumps(message))

    async def wait(self, wanted: Callable[[Json], bool]) -> Json:
        """The first message that is wanted, kept or yet to come."""
        for number, kept in enumerate(self._kept):
            if wanted(kept):
                return self._kept.pop(number)
        async with asyncio.timeout(WAIT_S):
            while True:
                message: Json = json.loads(await self._socket.receive_str())
                if wanted(message):
                    return message
                self._kept.append(message)

    async def login(self, secret: str = "test-secret", expires_ms: int | None = None) -> Json:
        expires = self._wire.now_ms() + 10_000 if expires_ms is None else expires_ms
        sign = ws_signature(secret, expires)
        await self.say({"op": "auth", "args": ["test-key", expires, sign]})
        return await self.wait(lambda m: m.get("op") == "auth")

    async def subscribe(self, *topics: str, req_id: str = "s") -> Json:
        await self.say({"op": "subscribe", "req_id": req_id, "args": list(topics)})
        return await self.wait(lambda m: m.get("op") == "subscribe" and m.get("req_id") == req_id)

    async def push(self, topic: str) -> Json:
        return await self.wait(lambda m: m.get("topic") == topic)


class Wire:
    """Signed requests and sockets."""

    def __init__(self, server: ExchangeServer, http: aiohttp.ClientSession) -> None:
        self.server = server
        self._http = http

    def now_ms(self) -> int:
        return self.server.clock.now_ms()

    def _headers(self, payload: str, key: str, secret: str) -> dict[str, str]:
        now_ms = self.now_ms()
        return {
            "X-BAPI-API-KEY": key,
            "X-BAPI-TIMESTAMP": str(now_ms),
            "X-BAPI-RECV-WINDOW": "5000",
            "X-BAPI-SIGN": rest_signature(secret, now_ms, key, "5000", payload),
        }

    async def call(
        self, method: str, path: str, payload: str, *, key: str = "test-key", secret: str = "test-secret"
    ) -> tuple[Json, aiohttp.ClientResponse]:
        """The answer and its response; ``payload`` is a raw query or a raw body."""
        url = self.server.http_url + path
        if method == "GET":
            url += f"?{payload}" if payload else ""
        body = payload if method == "POST" else None
        headers = self._headers(payload, key, secret)
        async with self._http.request(method, url, data=body, headers=headers) as answer:
            return json.loads(await answer.read()), answer

    async def get(self, path: str, query: str = "", **keys: str) -> Json:
        return (await self.call("GET", path, query, **keys))[0]

    async def post(self, path: str, body: Json, **keys: str) -> Json:
        return (await self.call("POST", path, json.dumps(body), **keys))[0]

    async def order(self, **params: Any) -> Json:
        """A small limit order far below the market, unless told."""
        usual = {"side": "Buy", "orderType": "Limit", "qty": "0.01", "price": self.far()}
        return await self.post("/v5/order/create", {**BITCOIN, **usual, **params})

    def far(self) -> str:
        """A price that nothing will fill."""
        return str((self.server.market.last("BTCUSDT") * 8 / 10).quantize(self.server.market.last("BTCUSDT")))

    @asynccontextmanager
    async def socket(self, path: str, *, login: bool = True) -> AsyncIterator[Socket]:
        async with self._http.ws_connect(self.server.ws_url + path) as socket:
            made = Socket(socket, self)
            if login:
                assert await made.login()
            yield made


@asynccontextmanager
async def exchange(**config: Any) -> AsyncIterator[Wire]:
    """A small exchange of one invented symbol, and a client of it."""
    made = ExchangeConfig(port=0, **{"symbols": ("BTCUSDT",), "ack_delay_ms": 0.5, **config})
    async with running(made) as server, aiohttp.ClientSession() as http:
        yield Wire(server, http)
