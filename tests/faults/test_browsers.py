"""A web page in a browser on this machine reaches no port and no socket of ours; programs do."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from bot.adapters.control.server import ControlServer, Question
from bot.adapters.net.browsers import refusal
from bot.simulator.server import ExchangeServer, running
from tests.simulator.bench import config

EVIL_HOSTS = (
    "evil",
    "evil.example:8650",
    "127.0.0.1.evil.example",
    "localhost.evil.example:8650",
    "localhost.",
    "127.0.0.1@evil.example",
    "evil.example#127.0.0.1",
    "0.0.0.0:8650",
    "[::]",
    "::1",
    "",
)
EVIL_ORIGINS = ("http://evil.example", "null", "http://localhost:3000", "https://127.0.0.1", "file://", "")


def evil(port: int) -> list[dict[str, str]]:
    here = f"127.0.0.1:{port}"
    return [
        *({"Host": host} for host in EVIL_HOSTS),
        *({"Host": here, "Origin": origin} for origin in EVIL_ORIGINS),
        *({"Host": here, "Sec-Fetch-Site": site} for site in ("cross-site", "same-site")),
        {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}"},  # DNS rebinding
    ]


def routes(exchange: ExchangeServer) -> set[tuple[str, str]]:
    return {
        (route.method, route.resource.canonical.replace("{category}", "linear"))
        for route in exchange.application().router.routes()
        if route.resource is not None
    }


@pytest.mark.fault(87)
@pytest.mark.surface("http")
async def test_a_web_page_is_refused_on_every_route_of_the_exchange() -> None:
    async with running(config()) as exchange, aiohttp.ClientSession() as http:
        every = {*routes(exchange), ("OPTIONS", "/v5/order/create"), ("GET", "/nothing")}
        assert len(every) > 40
        for method, path in sorted(every):
            for headers in evil(exchange.port):
                async with http.request(method, f"{exchange.http_url}{path}", headers=headers) as response:
                    assert response.status == 403, (method, path, headers)
                    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.fault(87)
@pytest.mark.surface("http")
@pytest.mark.parametrize("path", ["/v5/public/linear", "/v5/private", "/v5/trade"])
async def test_a_web_page_opens_no_websocket_of_the_exchange(path: str) -> None:
    async with running(config()) as exchange, aiohttp.ClientSession() as http:
        for headers in evil(exchange.port):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(f"{exchange.ws_url}{path}", headers=headers)
            assert refused.value.status == 403
        assert not any(exchange.planned.connected().values())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
@pytest.mark.parametrize("origin", [None, "http", "https"])
async def test_programs_on_this_machine_are_served_as_before(host: str, origin: str | None) -> None:
    async with running(config()) as exchange, aiohttp.ClientSession() as http:
        named = f"{host}:{exchange.port}"
        headers = {"Host": named} | ({"Origin": f"{origin}://{named}"} if origin else {})
        async with http.get(f"{exchange.http_url}/v5/market/time", headers=headers) as response:
            assert response.status == 200
        async with http.ws_connect(f"{exchange.ws_url}/v5/public/linear", headers=headers) as socket:
            await socket.send_str(json.dumps({"op": "ping"}))
            assert (await socket.receive_json(timeout=5))["op"] == "ping"


class Hosts:
    """Headers with nothing but hosts."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts

    def getall(self, key: str, default: list[str], /) -> Sequence[str]:
        return self.hosts if key == "Host" else default


def test_a_port_that_was_forwarded_is_served_too() -> None:
    assert refusal(Hosts("localhost:9000")) is None


def test_two_hosts_or_none_are_refused() -> None:
    assert refusal(Hosts()) is not None
    assert refusal(Hosts("localhost", "evil.example")) is not None
    assert refusal(Hosts("localhost", "localhost")) is not None


@pytest.mark.fault(87)
@pytest.mark.surface("http", "control")
async def test_a_web_page_gives_no_command_to_a_control_socket(tmp_path: Path) -> None:
    given: list[bytes] = []

    async def kill(asked: Question) -> dict[str, object]:
        given.append(asked.body)
        return {}

    server = ControlServer(tmp_path / "s.sock", {"POST /kill": kill})
    await server.start()
    try:
        for headers in evil(8650):
            assert b" 403 " in await post(server.path, headers)
        assert b" 403 " in await post(server.path, {"Host": "bot", "Origin": "http://evil.example"})
        assert not given
        for host in ("bot", "exchange", "localhost"):
            assert b" 200 " in await post(server.path, {"Host": host})
    finally:
        await server.stop()
    assert len(given) == 3


async def post(path: Path, headers: dict[str, str]) -> bytes:
    """The first line that comes back."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    lines = [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join(["POST /kill HTTP/1.1", *lines, "Content-Length: 0", "", ""]).encode())
    line = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return line
