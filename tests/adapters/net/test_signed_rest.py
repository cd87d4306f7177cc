import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.adapters.net.signed_rest import Credentials, RestPolicy, SignedRest, signed_rest
from bot.adapters.state.clock import WallClock
from bot.bybit.orders import (
    Request,
    cancel_order,
    open_orders,
    order_by_link,
    parse_orders,
    server_time,
    wallet,
)
from bot.bybit.rate_limits import AddressBudget, RateLimiter
from bot.bybit.sign import rest_signature
from bot.domain.errors import BadSettings, Rejected, Retryable, VenueError

KEY, SECRET = "canary-key-7781", "canary-secret-9921"
QUICK = RestPolicy(timeout_ms=300, attempts=3)
CANCEL = cancel_order("BTCUSDT", "bot1-1-0")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(result: object = None, code: int = 0, text: str = "OK", **fields: object) -> web.Response:
    body = {"retCode": code, "retMsg": text, "result": result if result is not None else {}, "time": 1}
    return web.json_response(body | fields)


class Server:
    """Answers with what it is told, the last of it for ever; remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Handler] = []
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.skew_ms = 0
        self.url = ""

    def will(self, *answers: Handler | web.Response) -> None:
        self.answers = [self._as_handler(each) for each in answers]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/v5/market/time":
            now_ns = (WallClock().now_ms() + self.skew_ms) * 1_000_000
            return answer({"timeSecond": str(now_ns // 10**9), "timeNano": str(now_ns)})
        self.requests.append(request)
        self.bodies.append(await request.read())
        handler = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await handler(request)

    @staticmethod
    def _as_handler(each: Handler | web.Response) -> Handler:
        if not isinstance(each, web.Response):
            return each
        body, status, headers = each.body, each.status, dict(each.headers)

        async def say(_: web.Request) -> web.Response:
            return web.Response(body=body, status=status, headers=headers)

        return say


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.handle)
    async with TestServer(app) as test_server:
        made.url = str(test_server.make_url("")).rstrip("/")
        yield made


@asynccontextmanager
async def client(
    url: str, policy: RestPolicy = QUICK, address: AddressBudget | None = None
) -> AsyncIterator[SignedRest]:
    async with signed_rest(
        url,
        Credentials(KEY, SECRET),
        WallClock(),
        random.Random(1),
        budget=RateLimiter(address=address),
        policy=policy,
    ) as rest:
        yield rest


async def test_the_signature_covers_the_bytes_that_were_sent(server: Server) -> None:
    server.will(answer({"list": [], "nextPageCursor": ""}))
    async with client(server.url) as rest:
        await rest.ask(open_orders(cursor="a%3A1%2Cb%3A2"), parse_orders)
        await rest.send_once(CANCEL, "cancel")
        await rest.ask(order_by_link("币安人生USDT", "bot1-1-0"), parse_orders)
        await rest.send_once(cancel_order("币安人生USDT", "bot1-1-0"), "cancel")
    for request, body in zip(server.requests, server.bodies, strict=True):
        payload = body if request.method == "POST" else request.raw_path.partition("?")[2]
        headers = request.headers
        assert headers["X-BAPI-API-KEY"] == KEY
        assert headers["X-BAPI-SIGN"] == rest_signature(
            SECRET, headers["X-BAPI-TIMESTAMP"], KEY, headers["X-BAPI-RECV-WINDOW"], payload
        )
    assert server.requests[0].raw_path.endswith("&cursor=a%3A1%2Cb%3A2")
    assert server.requests[1].headers["Content-Type"] == "application/json"
    assert "symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT" in server.requests[2].raw_path
    assert "币安人生USDT" in server.bodies[3].decode()


async def test_public_questions_carry_no_key(server: Server) -> None:
    server.will(answer({"timeNano": "1"}))
    async with client(server.url) as rest:
        await rest.send_once(Request("GET", "/v5/market/tickers", "market", signed=False), "query")
    assert not [name for name in server.requests[0].headers if name.startswith("X-BAPI")]


@pytest.mark.fault(89)
@pytest.mark.surface("signing")
@pytest.mark.parametrize(
    "url",
    [
        "https://api.bybit.com",
        "https://api.bytick.com",
        "https://evil.example",
        "http://api-testnet.bybit.com",
        "https://api-testnet.bybit.com/x",
        "http://169.254.169.254",
    ],
)
async def test_no_client_can_be_made_for_another_host(url: str) -> None:
    with pytest.raises(BadSettings, match=r"signed calls|scheme"):
        async with client(url):
            pass
    async with aiohttp.ClientSession() as http:
        with pytest.raises(Exception, match=r"signed calls|scheme"):
            SignedRest(http, url, Credentials("k", "s"), WallClock(), random.Random(), None, QUICK)  # type: ignore[arg-type]


@pytest.mark.fault(89)
@pytest.mark.surface("signing")
async def test_a_redirect_is_not_followed(server: Server) -> None:
    elsewhere = Server()
    elsewhere.will(answer())
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", elsewhere.handle)
    async with TestServer(app) as other:
        server.will(web.Response(status=307, headers={"Location": str(other.make_url("/v5/order/cancel"))}))
        async with client(server.url) as rest:
            outcome = await rest.send_once(CANCEL, "cancel")
    assert outcome.kind == "retry_unknown"
    assert elsewhere.requests == []


async def _half(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "500", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"retCode":0,"re')
    assert request.transport is not None
    request.transport.close()
    return response


async def _never(request: web.Request) -> web.Response:
    await asyncio.sleep(1.0)
    return answer()


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    for _ in range(64):
        await response.write(b" " * (256 << 10))
    return response


async def _cut(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return answer()


@pytest.mark.fault(88)
@pytest.mark.parametrize(
    "bad",
    [
        web.Response(text="<html>", content_type="text/html"),
        web.Response(text="<html>", content_type="text/html", status=502),
        web.Response(status=503),
        web.Response(status=429),
        web.Response(status=500, text='{"retCode":0}', content_type="application/json"),
        web.Response(text="", content_type="application/json"),
        web.Response(text='{"retCode":0,"res', content_type="application/json"),
        web.Response(text='{"retCode":NaN}', content_type="application/json"),
        web.Response(text="[" * 100_000, content_type="application/json"),
        web.Response(
            text='{"retCode":0}', content_type="application/json", headers={"Content-Encoding": "br"}
        ),
        web.json_response({"retCode": 10016, "retMsg": "Server error", "result": {}}),
        web.json_response({"retCode": 987654, "retMsg": "?", "result": {}}),
        _half,
        _never,
        _endless,
        _cut,
    ],
)
async def test_a_write_without_a_clear_answer_is_unknown(server: Server, bad: Handler | web.Response) -> None:
    server.will(bad)
    async with client(server.url) as rest:
        outcome = await rest.send_once(CANCEL, "cancel")
    assert outcome.kind == "retry_unknown"
    assert len(server.requests) == 1


async def test_an_answer_without_end_is_cut_off(server: Server) -> None:
    server.will(_endless)
    async with client(server.url) as rest:
        assert "beyond" in (await rest.send_once(CANCEL, "cancel")).text


async def test_a_write_is_unsent_only_if_no_connection_was_made(unused_tcp_port: int) -> None:
    async with client(f"http://127.0.0.1:{unused_tcp_port}") as rest:
        assert (await rest.send_once(CANCEL, "cancel")).kind == "unsent"
        with pytest.raises(Retryable, match="cannot connect"):
            await rest.ask(wallet(), bytes)


async def test_a_read_is_repeated_until_it_is_answered(server: Server) -> None:
    good = answer({"list": [], "nextPageCursor": ""})
    server.will(web.Response(status=502), web.Response(text="{", content_type="application/json"), good)
    async with client(server.url) as rest:
        assert (await rest.ask(open_orders(), parse_orders)).rows == []
    assert len(server.requests) == 3


async def test_a_refused_read_is_not_repeated(server: Server) -> None:
    server.will(answer(code=10003, text="API key is invalid."))
    async with client(server.url) as rest:
        with pytest.raises(Rejected, match="10003"):
            await rest.ask(wallet(), bytes)
    assert len(server.requests) == 1


async def test_after_a_403_nothing_is_sent_for_ten_minutes(server: Server) -> None:
    server.will(web.Response(status=403, text="access too frequent"), answer())
    async with client(server.url, address=AddressBudget(forbidden_ms=150.0)) as rest:
        with pytest.raises(VenueError, match="HTTP 403"):
            await rest.ask(wallet(), bytes)
        assert (await rest.send_once(CANCEL, "cancel")).kind == "unsent"
        assert len(server.requests) == 1
        await asyncio.sleep(0.2)
        assert (await rest.send_once(CANCEL, "cancel")).kind == "ok"


def test_the_pause_after_a_403_is_what_the_venue_asks_for() -> None:
    address = AddressBudget()
    address.forbid(1_000.0)
    assert address.barred_ms(1_000.0) == 600_000.0


async def test_after_a_rate_limit_the_next_request_waits_for_the_reset(server: Server) -> None:
    reset = {"X-Bapi-Limit-Reset-Timestamp": str(WallClock().now_ms() + 250)}
    limited = web.json_response({"retCode": 10006, "retMsg": "Too many visits."}, headers=reset)
    server.will(limited, answer({"list": []}))
    async with client(server.url) as rest:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await rest.ask(open_orders(), parse_orders)
        assert 0.15 < loop.time() - began_s < 0.6
    assert len(server.requests) == 2


async def test_a_wait_beyond_its_deadline_leaves_a_write_unsent(server: Server) -> None:
    server.will(web.json_response({"retCode": 10006, "retMsg": "Too many visits."}))
    async with client(server.url) as rest:
        assert (await rest.send_once(CANCEL, "cancel")).kind == "rate"
        by_s = asyncio.get_running_loop().time() + 0.1
        assert (await rest.send_once(CANCEL, "cancel", by_s=by_s)).kind == "unsent"
    assert len(server.requests) == 1


async def test_requests_carry_the_venues_time(server: Server) -> None:
    server.skew_ms = -7_000
    server.will(answer())
    async with client(server.url) as rest:
        assert await rest.measure() == pytest.approx(-7_000, abs=50)
        await rest.send_once(CANCEL, "cancel")
    stamp = int(server.requests[0].headers["X-BAPI-TIMESTAMP"])
    assert stamp == pytest.approx(WallClock().now_ms() - 7_000, abs=200)


async def test_a_read_outside_the_window_is_signed_again_with_the_venues_time(server: Server) -> None:
    server.skew_ms = 30_000
    server.will(answer(code=10002, text="invalid request"), answer({"list": []}))
    async with client(server.url) as rest:
        await rest.ask(open_orders(), parse_orders)
    first, second = (int(request.headers["X-BAPI-TIMESTAMP"]) for request in server.requests)
    assert second - first > 25_000


async def test_a_settings_change_that_is_so_already_is_told_as_that(server: Server) -> None:
    server.will(web.Response(status=502), answer(code=110043, text="leverage not modified"))
    async with client(server.url) as rest:
        assert (await rest.do(CANCEL, "setup")).kind == "already_so"


@pytest.mark.fault(83)
async def test_key_and_secret_are_in_no_error_and_no_log(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    leaky = f"error sign! origin_string[1700000000000{KEY}5000{SECRET}]"
    said = [repr(Credentials(KEY, SECRET))]
    failures: list[Handler | web.Response] = [
        answer(code=10004, text=leaky),
        web.Response(status=401, text=leaky),
        web.Response(status=502, text=leaky),
        web.Response(text=leaky, content_type="application/json"),
        _cut,
        _never,
    ]
    for failure in failures:
        server.will(failure)
        async with client(server.url, RestPolicy(timeout_ms=200, attempts=1)) as rest:
            said += [repr(rest), str(vars(rest))]
            with pytest.raises(VenueError) as caught:
                await rest.ask(wallet(), bytes)
            said += [str(caught.value), repr(caught.value.__cause__), repr(caught.value.__context__)]
    said.append(caplog.text)
    assert not [text for text in said if KEY in text or SECRET in text]


async def test_the_time_is_asked_without_a_signature(server: Server) -> None:
    assert server_time().signed is False
