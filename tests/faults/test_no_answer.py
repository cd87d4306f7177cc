"""Pages and errors instead of an answer: what a venue in maintenance, or a wall before it, sends."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from bot.adapters.net.public_rest import PublicRest, RequestPace, public_rest
from bot.adapters.state.clock import ReplayClock
from bot.bybit.codes import Forbidden
from bot.bybit.orders import open_orders, parse_orders, parse_time, server_time
from bot.bybit.rate_limits import AddressBudget
from bot.domain.errors import VenueError
from tests.adapters.net.test_signed_rest import CANCEL, Server, answer, client, server

__all__ = ["server"]  # the fixture

PAGE = "<!DOCTYPE html><title>Attention Required! | Cloudflare</title>"
LOST = {
    "html with 200": web.Response(text=PAGE, content_type="text/html"),
    "html that calls itself json": web.Response(text=PAGE, content_type="application/json"),
    "502": web.Response(text=PAGE, content_type="text/html", status=502),
    "503": web.Response(text="down for maintenance", status=503),
    "504 with json": web.json_response({"retCode": 0, "result": {}}, status=504),
    "520": web.Response(text=PAGE, content_type="text/html", status=520),
    "nothing": web.Response(text="", content_type="application/json"),
    "half": web.Response(text='{"retCode":0,"result":{"li', content_type="application/json"),
    "null": web.Response(text="null", content_type="application/json"),
    "no retCode": web.Response(text='{"result":{"list":[]}}', content_type="application/json"),
    "text": web.Response(text="OK", content_type="text/plain"),
}
BARRED = {
    "html": web.Response(text=PAGE, content_type="text/html", status=403),
    "json": web.json_response({"retCode": 0, "result": {"list": []}}, status=403),
    "nothing": web.Response(status=403),
}
LISTED = answer({"list": [], "nextPageCursor": ""})
TIME = answer({"timeSecond": "1", "timeNano": "1000000000"})


class Unclocked(Server):
    """Answers a question for its time as any other."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        handler = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await handler(request)


@pytest.fixture
async def market() -> AsyncIterator[Server]:
    from aiohttp.test_utils import TestServer

    made = Unclocked()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.handle)
    async with TestServer(app) as running:
        made.url = str(running.make_url("")).rstrip("/")
        yield made


@asynccontextmanager
async def public(
    url: str, retries: int = 2, address: AddressBudget | None = None
) -> AsyncIterator[tuple[PublicRest, ReplayClock]]:
    clock = ReplayClock(1_000_000)
    pace = RequestPace(max_retries=retries)
    async with public_rest(url, clock, pace, random.Random(1), address=address) as rest:
        yield rest, clock


@pytest.mark.fault(22)
@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
async def test_what_is_no_answer_leaves_the_fate_of_an_order_unknown(
    server: Server, lost: web.Response
) -> None:
    server.will(lost)
    async with client(server.url) as rest:
        assert (await rest.send_once(CANCEL, "cancel")).kind == "retry_unknown"
    assert len(server.requests) == 1


@pytest.mark.fault(22)
@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
async def test_what_is_no_answer_is_asked_for_again(
    server: Server, market: Server, lost: web.Response
) -> None:
    server.will(lost, LISTED)
    async with client(server.url) as rest:
        assert (await rest.ask(open_orders(), parse_orders)).rows == []
    assert len(server.requests) == 2
    market.will(lost, TIME)
    async with public(market.url) as (rest_, _):
        assert await rest_.get(server_time(), parse_time) == 1_000
    assert len(market.requests) == 2


@pytest.mark.fault(22)
@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
async def test_a_venue_that_never_answers_is_one_line_without_its_page(
    market: Server, lost: web.Response
) -> None:
    market.will(lost)
    async with public(market.url) as (rest, _):
        with pytest.raises(VenueError) as failed:
            await rest.get(server_time(), parse_time)
    assert "\n" not in str(failed.value)
    assert "gave up after 3 attempts" in str(failed.value)
    assert len(market.requests) == 3


@pytest.mark.fault(22)
@pytest.mark.parametrize("barred", BARRED.values(), ids=BARRED)
async def test_whatever_stands_in_a_403_nothing_more_is_sent(
    server: Server, market: Server, barred: web.Response
) -> None:
    server.will(barred, LISTED)
    async with client(server.url) as rest:
        with pytest.raises(VenueError, match="HTTP 403"):
            await rest.ask(open_orders(), parse_orders)
        assert 590.0 < rest.paused_s <= 600.0
        assert (await rest.send_once(CANCEL, "cancel")).kind == "unsent"
    assert len(server.requests) == 1
    market.will(barred, TIME)
    address = AddressBudget(forbidden_ms=300.0)
    async with public(market.url, address=address) as (rest_, _):
        for _ in range(3):
            with pytest.raises(Forbidden):
                await rest_.get(server_time(), parse_time)
        assert len(market.requests) == 1
        while address.barred_ms(asyncio.get_running_loop().time() * 1000.0):  # noqa: ASYNC110 (time itself)
            await asyncio.sleep(0.01)
        assert await rest_.get(server_time(), parse_time) == 1_000
