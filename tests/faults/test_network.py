"""Names that do not resolve, addresses that swallow packets, proxies in the environment."""

import asyncio
import errno
import random
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.adapters.net.link import Link
from bot.adapters.net.public_rest import PublicRest, RequestPace, public_rest
from bot.adapters.net.signed_rest import Credentials, RestPolicy, SignedRest, signed_rest
from bot.adapters.state.clock import WallClock
from bot.bybit.orders import cancel_order, open_orders, parse_orders, parse_time, server_time
from bot.domain.errors import Retryable, VenueError
from bot.simulator.server import running
from tests.adapters.net.test_link import FAST, Lines, Seen, kept
from tests.faults.test_canary import Running, words
from tests.simulator.bench import config

CANCEL = cancel_order("BTCUSDT", "bot1-1-0")
Lookup = Callable[..., list[Any]]
DEAD = "http://127.0.0.1:9"


async def answer(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Upgrade"):
        line = web.WebSocketResponse()
        await line.prepare(request)
        async for _ in line:
            pass
        return line
    listed = {"list": [], "nextPageCursor": "", "timeSecond": "1", "timeNano": "1000000000"}
    return web.json_response({"retCode": 0, "retMsg": "OK", "result": listed, "time": 1})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server on 127.0.0.1 alone."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    async with TestServer(app) as server:
        assert server.port is not None
        yield server.port


@asynccontextmanager
async def signed(port: int, timeout_ms: int = 2_000) -> AsyncIterator[SignedRest]:
    url, policy = f"http://localhost:{port}", RestPolicy(timeout_ms=timeout_ms, attempts=2)
    keys = Credentials("key-key-key", "secret-secret")
    async with signed_rest(url, keys, WallClock(), random.Random(1), policy=policy) as rest:
        yield rest


@asynccontextmanager
async def public(port: int) -> AsyncIterator[PublicRest]:
    pace = RequestPace(requests_per_second=100.0, max_retries=0, timeout_ms=2_000)
    async with public_rest(f"http://localhost:{port}", WallClock(), pace, random.Random(1)) as rest:
        yield rest


def link(port: int, seen: Seen) -> Link[str]:
    return Link(
        f"ws://localhost:{port}",
        lambda now_ms: (Lines(now_ms), ["hello"]),
        on_value=seen.value,
        on_up=seen.up,
        on_down=seen.downs.append,
        rng=random.Random(1),
        policy=replace(FAST, connect_timeout_ms=1_000),
    )


def unknown_name(host: str, *_: object, **__: object) -> list[Any]:
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.mark.fault(25)
async def test_a_name_that_does_not_resolve_is_no_answer_of_the_venue(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookup = socket.getaddrinfo
    seen = Seen()
    line = link(port, seen)
    async with signed(port) as rest, public(port) as market, kept(line):
        await seen.until(lambda: seen.ups >= 1)
        with monkeypatch.context() as broken:
            broken.setattr(socket, "getaddrinfo", unknown_name)
            outcome = await rest.send_once(CANCEL, "cancel")
            assert (outcome.kind, outcome.code) == ("unsent", 0)  # no byte has left, and nothing was refused
            assert "cannot connect" in outcome.text
            with pytest.raises(Retryable, match="cannot connect"):
                await rest.ask(open_orders(), parse_orders)
            with pytest.raises(VenueError, match=rf"localhost:{port}/v5/market/time"):
                await market.get(server_time(), parse_time)
            line.reconnect("for the test")
            await seen.until(lambda: len(seen.downs) >= 3)
        assert socket.getaddrinfo is lookup
        assert (await rest.send_once(CANCEL, "cancel")).kind == "ok"
        await seen.until(lambda: seen.ups >= 2)


@pytest.mark.fault(25)
async def test_a_name_that_takes_for_ever_is_given_up_in_time(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    end, seen, loop = threading.Event(), Seen(), asyncio.get_running_loop()

    def slow(*words: Any, **more: Any) -> list[Any]:
        end.wait(20)
        return unknown_name("")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    try:
        async with signed(port, timeout_ms=200) as rest, kept(link(port, seen)):
            begun_s = loop.time()
            assert (await rest.send_once(CANCEL, "cancel")).kind in ("unsent", "retry_unknown")
            await seen.until(lambda: len(seen.downs) >= 2)
            assert loop.time() - begun_s < 5.0
    finally:
        end.set()


@contextmanager
def swallowing(port: int) -> Iterator[tuple[int, str]]:
    """An address that takes no connection and refuses none, as behind a broken IPv6 route."""
    family, host = socket.AF_INET6, "::1"
    with suppress(OSError), socket.socket(family) as probe:
        probe.bind((host, 0))
    try:
        listener = socket.create_server((host, port), family=family, backlog=0)
    except OSError:
        family, host = socket.AF_INET, "127.0.0.2"
        listener = socket.create_server((host, port), family=family, backlog=0)
    waiting: list[socket.socket] = []
    try:
        for _ in range(16):  # until its queue is full: from then on it answers nothing
            each = socket.socket(family)
            each.setblocking(False)
            waiting.append(each)
            assert each.connect_ex((host, port)) in (0, errno.EINPROGRESS)
        yield family, host
    finally:
        for each in (*waiting, listener):
            each.close()


@pytest.mark.fault(25)
async def test_an_address_that_swallows_packets_does_not_hide_the_one_that_answers(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, loop = Seen(), asyncio.get_running_loop()
    with swallowing(port) as (family, dead):

        def both(host: str, *_: object, **__: object) -> list[Any]:
            kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            bad = (dead, port, 0, 0) if family == socket.AF_INET6 else (dead, port)
            return [(family, *kind, bad), (socket.AF_INET, *kind, ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", both)
        begun_s = loop.time()
        async with signed(port) as rest, public(port) as market:
            assert (await rest.send_once(CANCEL, "cancel")).kind == "ok"
            await market.get(server_time(), parse_time)
        async with kept(link(port, seen)):
            await seen.until(lambda: seen.ups >= 1)
        assert seen.downs == []
        assert loop.time() - begun_s < 3.0


@pytest.mark.fault(25)
async def test_a_proxy_in_the_environment_is_not_used(tmp_path: Path) -> None:
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "WSS_PROXY", "SOCKS_PROXY")
    proxies = dict.fromkeys(names, DEAD) | {name.lower(): DEAD for name in names}
    async with (
        running(config(speed=60.0, key="key-key-key", secret="secret-secret")) as exchange,
        Running(
            tmp_path,
            *words(exchange.http_url, "flat", "--bars", "2"),
            BOT_VENUE__API_KEY="key-key-key",
            BOT_VENUE__API_SECRET="secret-secret",
            NO_PROXY="",
            no_proxy="",
            **proxies,
        ) as bot,
    ):
        assert await bot.ends() == 0, bot.err.read_text()[-2000:]
