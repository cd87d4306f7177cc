"""One address, one budget: what public REST, signed REST and the sockets of a process share."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.adapters.net.link import DialGate
from bot.adapters.net.public_rest import PublicRest, RequestPace, public_rest
from bot.adapters.net.signed_rest import Credentials, RestPolicy, SignedRest, signed_rest
from bot.adapters.state.clock import WallClock
from bot.bybit.orders import Request, cancel_order, parse_instruments, tickers, wallet
from bot.bybit.rate_limits import ADDRESS_QUOTA, CONNECT_QUOTA, AddressBudget, RateLimiter
from bot.domain.errors import VenueError
from tests.adapters.net.test_link import FAST, Seen, a_link

CANCEL = cancel_order("BTCUSDT", "bot1-1-0")
CALLERS = ("public", "signed", "socket")
NO_ROWS = {"retCode": 0, "retMsg": "OK", "result": {"list": []}, "time": 1}


class Clients:
    """Three ways to one server, with one budget."""

    def __init__(self, port: int, public: PublicRest, signed: SignedRest, address: AddressBudget) -> None:
        self.port = port
        self.public = public
        self.signed = signed
        self.address = address
        self.reached: list[str] = []
        """The paths that reached the server."""

    async def call(self, who: str) -> None:
        """One request or dial; a refusal is no error here."""
        try:
            async with asyncio.timeout(0.25):
                if who == "public":
                    await self.public.get(tickers(), parse_instruments)
                elif who == "signed":
                    await self.signed.ask(wallet(), bytes)
                else:
                    await self._dial()
        except (VenueError, TimeoutError):
            pass

    async def _dial(self) -> None:
        seen = Seen()
        gate = DialGate(FAST, random.Random(1), address=self.address)
        task = asyncio.ensure_future(a_link(self.port, seen, gate=gate).run())
        try:
            await seen.until(lambda: bool(seen.downs or seen.ups))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def clients(
    answer: Callable[[web.Request], web.Response], address: AddressBudget
) -> AsyncIterator[Clients]:
    made: list[Clients] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        made[0].reached.append(request.path)
        return answer(request)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    policy = RestPolicy(timeout_ms=500, attempts=1)
    pace = RequestPace(requests_per_second=100_000.0, max_retries=0, timeout_ms=500)
    async with TestServer(app) as server:
        url = str(server.make_url("")).rstrip("/")
        budget = RateLimiter(address=address)
        keys = Credentials("some-key", "some-secret")
        async with (
            public_rest(url, WallClock(), pace, random.Random(1), address=address) as public,
            signed_rest(url, keys, WallClock(), random.Random(1), budget=budget, policy=policy) as signed,
        ):
            assert server.port is not None
            made.append(Clients(server.port, public, signed, address))
            yield made[0]


@pytest.mark.fault(22)
@pytest.mark.invariant(18)
@pytest.mark.parametrize("first", CALLERS)
async def test_a_403_for_one_stops_every_other(first: str) -> None:
    async with clients(lambda _: web.Response(status=403), AddressBudget()) as each:
        await each.call(first)
        assert len(each.reached) == 1
        for who in CALLERS:
            await each.call(who)
        assert (await each.signed.send_once(CANCEL, "cancel")).kind == "unsent"
        assert len(each.reached) == 1


@pytest.mark.fault(22)
@pytest.mark.invariant(18)
@pytest.mark.parametrize("first", CALLERS)
async def test_after_the_ban_all_go_on(first: str) -> None:
    barred = [True]

    def answer(_: web.Request) -> web.Response:
        if barred:
            barred.clear()
            return web.Response(status=403)
        return web.json_response(NO_ROWS)

    async with clients(answer, AddressBudget(forbidden_ms=100.0)) as each:
        await each.call(first)
        await asyncio.sleep(0.12)
        for who in CALLERS:
            await each.call(who)
        assert len(each.reached) == 4


@pytest.mark.fault(23)
@pytest.mark.parametrize("refusal", ["HTTP 429", "10006", "10018"])
@pytest.mark.parametrize("first", ["public", "signed"])
async def test_a_rate_limit_of_one_holds_ordinary_requests_of_all(first: str, refusal: str) -> None:
    def answer(request: web.Request) -> web.Response:
        if refusal == "HTTP 429":
            return web.Response(status=429)
        return web.json_response({"retCode": int(refusal), "retMsg": "too many", "result": {}, "time": 1})

    async with clients(answer, AddressBudget()) as each:
        await each.call(first)
        assert len(each.reached) == 1
        await each.call("public")
        await each.call("socket")
        assert len(each.reached) == 1
        if (first, refusal) != ("signed", "10018"):  # the venue has refused the address, a cancel too
            await each.signed.send_once(CANCEL, "cancel")
            assert each.reached[1:] == ["/v5/order/cancel"]


@pytest.mark.fault(23)
async def test_public_requests_use_up_the_quota_of_signed_ones_but_not_the_reserve() -> None:
    address = AddressBudget(20, reserved=5)
    async with clients(lambda _: web.json_response(NO_ROWS), address) as each:
        for _ in range(15):
            await each.call("public")
        await each.call("public")
        await each.call("socket")
        ordinary = await each.signed.send_once(
            Request("GET", "/v5/x", "market"), "query", by_s=asyncio.get_running_loop().time() + 0.1
        )
        assert (len(each.reached), ordinary.kind) == (15, "unsent")
        assert (await each.signed.send_once(CANCEL, "cancel")).kind == "ok"
        await each.call("signed")  # a question about the account
        assert len(each.reached) == 17


@pytest.mark.fault(15)
@pytest.mark.invariant(18)
def test_new_connections_of_all_gates_are_counted_together() -> None:
    address = AddressBudget()
    now_ms = 0.0
    dials: list[float] = []
    while len(dials) <= CONNECT_QUOTA:
        wait_ms = address.dial(now_ms)
        if wait_ms:
            now_ms += wait_ms
        else:
            dials.append(now_ms)
    assert dials[CONNECT_QUOTA] - dials[0] >= 300_000.0


def test_a_dial_is_a_request_too() -> None:
    address = AddressBudget()
    assert [address.dial(0.0) for _ in range(ADDRESS_QUOTA - 100)] == [0.0] * (ADDRESS_QUOTA - 100)
    assert address.take(1.0) > 0.0
    assert address.take(1.0, urgent=True) == 0.0
