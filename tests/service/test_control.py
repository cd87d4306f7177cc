"""The control socket: who may reach it, what it says to garbage, and that it lets go."""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bot.domain.errors import BotError
from bot.service.control import COMMANDS, SOCKET, Control, NoDaemon, ask


async def answer(command: str) -> Mapping[str, object]:
    if command == "flatten":
        raise BotError("nothing to flatten with")
    return {"did": command}


@asynccontextmanager
async def listening(place: Path) -> AsyncIterator[Path]:
    task = asyncio.create_task(Control(place, answer).run())
    while not (place / SOCKET).exists():  # noqa: ASYNC110 (a file cannot tell)
        await asyncio.sleep(0.001)
    try:
        yield place
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def say(place: Path, *lines: bytes) -> list[bytes]:
    reader, writer = await asyncio.open_unix_connection(str(place / SOCKET))
    body = b""
    with suppress(ConnectionError):  # being cut is an answer, too
        writer.writelines(lines)
        writer.write_eof()
        body = await reader.read()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return body.splitlines()


async def test_a_command_is_answered_and_an_unknown_one_lists_what_there_is(tmp_path: Path) -> None:
    async with listening(tmp_path):
        good, bad = await say(tmp_path, b'{"command":"status"}\n', b'{"command":"format"}\n')
        assert json.loads(good) == {"ok": True, "did": "status"}
        assert json.loads(bad) == {"ok": False, "error": f"no such command; there are {', '.join(COMMANDS)}"}


async def test_only_its_owner_can_reach_it_and_it_goes_with_its_server(tmp_path: Path) -> None:
    async with listening(tmp_path):
        assert (tmp_path / SOCKET).stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / SOCKET).exists()


async def test_the_client_gets_the_answer_or_the_daemons_own_words(tmp_path: Path) -> None:
    async with listening(tmp_path):
        assert await asyncio.to_thread(ask, tmp_path, "pause") == {"did": "pause"}
        with pytest.raises(BotError, match="nothing to flatten with"):
            await asyncio.to_thread(ask, tmp_path, "flatten")


def test_without_a_daemon_the_client_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoDaemon, match="no daemon runs on"):
        ask(tmp_path, "status")
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / SOCKET))
    with pytest.raises(NoDaemon, match="no daemon runs on"):
        ask(tmp_path, "status")


def test_a_daemon_that_hangs_is_told_apart(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(tmp_path / SOCKET))
        hung.listen()
        with pytest.raises(NoDaemon, match="does not answer"):
            ask(tmp_path, "status", timeout_s=0.05)


async def test_what_a_killed_daemon_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / SOCKET))
    task = asyncio.create_task(Control(tmp_path, answer).run())
    await asyncio.sleep(0.02)
    assert await asyncio.to_thread(ask, tmp_path, "resume") == {"did": "resume"}
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_state_directory_with_a_long_name_has_its_socket_too(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    async with listening(deep):
        assert await asyncio.to_thread(ask, deep, "status") == {"did": "status"}


async def test_garbage_is_answered_or_cut_and_never_ends_it(tmp_path: Path) -> None:
    rng = random.Random(4)
    async with listening(tmp_path):
        for _ in range(300):
            size = rng.choice((0, 1, 20, 300, 9_000))
            await say(tmp_path, rng.randbytes(size), b"\n" * rng.randrange(3))
        for line in (
            b"[" * 4000,
            b'{"command":' + b"9" * 3000 + b"}",
            b'{"command":"status","x":1}',
            b"null",
        ):
            (said,) = await say(tmp_path, line + b"\n")
            assert json.loads(said)["ok"] is False
        assert await say(tmp_path, b"x" * 1_000_000 + b"\n") == []
        assert len(await say(tmp_path, b'{"command":"kill"}\n')) == 1


async def test_connections_are_bounded_and_freed(tmp_path: Path) -> None:
    async with listening(tmp_path):
        held = [await asyncio.open_unix_connection(str(tmp_path / SOCKET)) for _ in range(20)]
        await asyncio.sleep(0.02)
        assert sum(reader.at_eof() for reader, _ in held) == 4
        for _, writer in held:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        await asyncio.sleep(0.02)
        assert len(await say(tmp_path, b'{"command":"status"}\n')) == 1


async def test_it_ends_while_somebody_holds_a_line_open(tmp_path: Path) -> None:
    async with listening(tmp_path):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / SOCKET))
        writer.write(b'{"command":"status"}\n{"comm')
        assert await reader.readline()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
