"""The control server: who may reach it, what it says to garbage, and that it lets go."""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bot.adapters.control.client import NobodyThere, ask
from bot.adapters.control.server import ControlServer, Question
from bot.domain.errors import BadInput, BotError


async def status(asked: Question) -> Mapping[str, object]:
    return {"state": "trading"}


async def echo(asked: Question) -> Mapping[str, object]:
    return {"bytes": len(asked.body)}


async def flatten(asked: Question) -> Mapping[str, object]:
    raise BotError("nothing to\nflatten with")


async def wrong(asked: Question) -> Mapping[str, object]:
    raise BadInput("no such fault")


ROUTES = {"GET /status": status, "POST /echo": echo, "POST /flatten": flatten, "POST /wrong": wrong}


@asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[Path]:
    server = ControlServer(folder / "s.sock", ROUTES)
    await server.start()
    try:
        yield server.path
    finally:
        await server.stop()


async def say(path: Path, data: bytes, *, leave: bool = True) -> bytes:
    """Send bytes on a connection of their own and ``leave``; all that came back before it was closed."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    body = b""
    with suppress(ConnectionError):  # being cut is an answer, too
        writer.write(data)
        if leave:
            writer.write_eof()
        body = await reader.read()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return body


async def request(path: Path, line: str, body: bytes = b"") -> tuple[int, dict[str, object]]:
    head = f"{line} HTTP/1.1\r\nHost: bot\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    head_back, _, answer = (await say(path, head.encode() + body, leave=False)).partition(b"\r\n\r\n")
    return int(head_back.split()[1]), json.loads(answer)


async def test_a_route_is_answered_and_an_unknown_one_lists_what_there_is(tmp_path: Path) -> None:
    async with listening(tmp_path) as path:
        assert await request(path, "GET /status") == (200, {"state": "trading"})
        assert await request(path, "POST /echo", b"12345") == (200, {"bytes": 5})
        for line in ("GET /format", "POST /status", "GET /status/", "PUT /", "OPTIONS *"):
            code, answer = await request(path, line)
            assert code == 404
            assert answer == {"error": f"no such command; there are {', '.join(ROUTES)}"}


async def test_what_the_server_refuses_comes_in_one_line_with_a_code(tmp_path: Path) -> None:
    async with listening(tmp_path) as path:
        assert await request(path, "POST /flatten") == (409, {"error": "nothing to flatten with"})
        assert await request(path, "POST /wrong") == (400, {"error": "no such fault"})


@pytest.mark.fault(86)
@pytest.mark.surface("control")
async def test_only_its_owner_can_reach_it_and_it_goes_with_its_server(tmp_path: Path) -> None:
    async with listening(tmp_path / "made") as path:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.exists()


async def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "s.sock"))
    async with listening(tmp_path) as path:
        assert (await request(path, "GET /status"))[0] == 200


async def test_a_path_too_long_for_a_socket_has_one_too(tmp_path: Path) -> None:
    async with listening(tmp_path / ("d" * 120)) as path:
        answer = await asyncio.to_thread(ask, path, "GET", "/status", timeout_s=5.0)
        assert answer == {"state": "trading"}


async def test_a_place_that_cannot_hold_a_socket_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.sock").mkdir()
    with pytest.raises(BotError, match=r"s\.sock: cannot be used as a socket"):
        await ControlServer(tmp_path / "s.sock", ROUTES).start()


@pytest.mark.surface("control")
async def test_garbage_is_answered_or_cut_never_logged_and_never_ends_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(4)
    async with listening(tmp_path) as path:
        for _ in range(300):
            size = rng.choice((0, 1, 20, 300, 9_000))
            await say(path, rng.randbytes(size) + b"\r\n" * rng.randrange(3))
        for data in (
            b'{"command":"status"}\n',
            b"GET /status HTTP/9.9\r\n\r\n",
            b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
            b"POST /echo HTTP/1.1\r\nHost: bot\r\nContent-Length: minus\r\n\r\n",
            b"POST /echo HTTP/1.1\r\nHost: bot\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"POST /echo HTTP/1.1\r\nHost: bot\r\nContent-Length: 9\r\n\r\nshort",
        ):
            assert not (await say(path, data)).startswith(b"HTTP/1.1 200")
        assert await request(path, "GET /status") == (200, {"state": "trading"})
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.surface("control")
async def test_a_body_has_a_bound(tmp_path: Path) -> None:
    async with listening(tmp_path) as path:
        assert await request(path, "POST /echo", b"x" * 60_000) == (200, {"bytes": 60_000})
        head = b"POST /echo HTTP/1.1\r\nHost: bot\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n"
        assert (await say(path, head + b"x" * 1_000_000, leave=False))[:12] in (b"HTTP/1.1 413", b"")


async def test_connections_are_bounded_and_the_oldest_gives_way(tmp_path: Path) -> None:
    async with listening(tmp_path) as path:
        held = [await asyncio.open_unix_connection(str(path)) for _ in range(20)]
        await asyncio.sleep(0.02)
        assert [reader.at_eof() for reader, _ in held] == [True] * 4 + [False] * 16
        assert (await request(path, "GET /status"))[0] == 200
        for _, writer in held:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        await asyncio.sleep(0.02)
        assert (await request(path, "GET /status"))[0] == 200


async def test_it_ends_while_somebody_holds_a_connection_open(tmp_path: Path) -> None:
    async with listening(tmp_path) as path:
        idle, busy = [await asyncio.open_unix_connection(str(path)) for _ in range(2)]
        busy[1].write(b"GET /status HTTP/1.1\r\nHost: bot\r\n\r\nGET /sta")
        assert b"200 OK" in await busy[0].readline()
    for reader, writer in (idle, busy):
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_nobody_is_there_before_and_after(tmp_path: Path) -> None:
    async with listening(tmp_path) as path:
        pass
    with pytest.raises(NobodyThere):
        ask(path, "GET", "/status", timeout_s=1.0)
