"""The daemon's commands over its control socket; the socket itself is tested in tests/adapters/control."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bot.domain.errors import BotError
from bot.service.commands import COMMANDS, SOCKET, NoDaemon, ask
from bot.service.control import Asked, Control


async def answer(command: str, asked: Asked, query: Mapping[str, str]) -> Mapping[str, object]:
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


async def test_the_client_gets_the_answer_or_the_daemons_own_words(tmp_path: Path) -> None:
    async with listening(tmp_path):
        for command in set(COMMANDS) - {"flatten"}:
            assert await asyncio.to_thread(ask, tmp_path, command) == {"did": command}
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
