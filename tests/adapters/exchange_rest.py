"""Bybit's public REST on loopback, as the documentation describes it, with faults to order."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.domain.market import Bar

Fault = Callable[[web.Request], web.Response | None]


@dataclass
class PublicExchange:
    """Serves ``bars`` and ``rates``; ``faults`` are asked first, each answer used up."""

    bars: dict[int, Bar]
    now_ms: int
    interval_ms: int
    rates: dict[int, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[web.Request] = field(default_factory=list)
    say_time: bool = True
    launch_ms: int | None = None
    """When the contract was listed; None: its row does not tell, as on spot."""

    def fail(self, *answers: Callable[[], web.Response]) -> None:
        """Answer the next requests with these."""
        self.faults += [lambda request, answer=answer: answer() for answer in answers]

    def answer(self, result: object, code: int = 0, text: str = "OK") -> web.Response:
        body = {"retCode": code, "retMsg": text, "result": result, "retExtInfo": {}}
        return web.json_response(body | ({"time": self.now_ms} if self.say_time else {}))

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        if self.faults and (fault := self.faults.pop(0)(request)) is not None:
            return fault
        if request.path.endswith("kline"):
            return self.klines(request)
        if request.path.endswith("instruments-info"):
            told = {} if self.launch_ms is None else {"launchTime": str(self.launch_ms)}
            return self.answer({"list": [{"symbol": request.query["symbol"], **told}]})
        return self.funding(request)

    def klines(self, request: web.Request) -> web.Response:
        """Newest first, at most ``limit``, ``end`` inclusive, ``start`` floored, the open candle too."""
        start, end, limit = (int(request.query[name]) for name in ("start", "end", "limit"))
        start -= start % self.interval_ms
        found = [bar for ms, bar in sorted(self.bars.items()) if start <= ms <= min(end, self.now_ms)]
        width = 5 if "mark-price" in request.path else 7
        rows = [
            [str(v) for v in (b.start_ms, b.open, b.high, b.low, b.close, b.volume, b.turnover or 0)][:width]
            for b in found[-min(limit, 1000) :]
        ]
        return self.answer({"category": "linear", "symbol": request.query["symbol"], "list": rows[::-1]})

    def funding(self, request: web.Request) -> web.Response:
        if "endTime" not in request.query:
            return self.answer({}, 10001, "startTime alone")
        start, end, limit = (int(request.query[name]) for name in ("startTime", "endTime", "limit"))
        found = [ms for ms in sorted(self.rates) if start <= ms <= end][-min(limit, 200) :]
        rows = [
            {
                "symbol": request.query["symbol"],
                "fundingRate": self.rates[ms],
                "fundingRateTimestamp": str(ms),
            }
            for ms in reversed(found)
        ]
        return self.answer({"category": "linear", "list": rows})


@asynccontextmanager
async def serve(exchange: PublicExchange) -> AsyncIterator[str]:
    """The base URL of ``exchange`` on a free port."""
    app = web.Application()
    app.router.add_get("/{tail:.*}", exchange.handle)
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("")).rstrip("/")
    finally:
        await server.close()
