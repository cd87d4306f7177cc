"""What the machine does not have without end: file descriptors and memory."""

import asyncio
import gzip
import random
import resource
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from bot.adapters.net.public_rest import RequestPace, public_rest
from bot.adapters.net.signed_rest import RestPolicy
from bot.adapters.state.clock import ReplayClock
from bot.bybit.orders import parse_time, server_time
from bot.domain.errors import VenueError
from bot.service.commands import ask
from bot.simulator.faults.plan import Fault
from bot.simulator.server import running
from tests.adapters.net.test_signed_rest import CANCEL, client
from tests.faults.test_canary import KEY, SECRET, Running, words
from tests.simulator.bench import config

MOST_BYTES = 24 << 20
"""Four answers of the largest size that is read, 4 MiB, and what the test's own server holds."""
JSON = b"Content-Type: application/json\r\n"
ENDLESS: dict[str, tuple[bytes, Callable[[], bytes]]] = {
    "chunks": (
        b"HTTP/1.1 200 OK\r\n" + JSON + b"Transfer-Encoding: chunked\r\n\r\n",
        lambda: b"10000\r\n" + b" " * 65_536 + b"\r\n",
    ),
    "a length of 2 GB": (
        b"HTTP/1.1 200 OK\r\n" + JSON + b"Content-Length: 2147483648\r\n\r\n",
        lambda: b" " * 65_536,
    ),
    "until the connection closes": (b"HTTP/1.1 200 OK\r\n" + JSON + b"\r\n", lambda: b"[" * 65_536),
    "a bomb": (
        b"HTTP/1.1 200 OK\r\n" + JSON + b"Content-Encoding: gzip\r\n\r\n",
        lambda: gzip.compress(b" " * (8 << 20)),
    ),
    "an error page": (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", lambda: b"<br>" * 16_384),
    "a wall": (b"HTTP/1.1 403 Forbidden\r\n\r\n", lambda: b"<br>" * 16_384),
    "headers": (b"HTTP/1.1 200 OK\r\n", lambda: b"".join(b"x%d: y\r\n" % n for n in range(4_000))),
    "one header": (b"HTTP/1.1 200 OK\r\nx: ", lambda: b"y" * 65_536),
}


@asynccontextmanager
async def pouring(head: bytes, more: Callable[[], bytes]) -> AsyncIterator[str]:
    """A server whose answer begins with ``head`` and goes on without end."""

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            piece = more()
            while not writer.is_closing():
                writer.write(piece)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.fault(74, 88)
@pytest.mark.surface("messages")
@pytest.mark.parametrize(("head", "more"), ENDLESS.values(), ids=ENDLESS)
async def test_an_answer_without_end_takes_little_memory_and_time(
    head: bytes, more: Callable[[], bytes]
) -> None:
    loop = asyncio.get_running_loop()
    async with pouring(head, more) as url:
        tracemalloc.start()
        try:
            begun_s = loop.time()
            async with client(url, RestPolicy(timeout_ms=4_000, attempts=1)) as rest:
                assert (await rest.send_once(CANCEL, "cancel")).kind in ("retry_unknown", "credentials")
            pace = RequestPace(max_retries=0, timeout_ms=4_000)
            async with public_rest(url, ReplayClock(1), pace, random.Random(1)) as market:
                with pytest.raises(VenueError):
                    await market.get(server_time(), parse_time)
            assert loop.time() - begun_s < 3.0  # it is the size that ends them, not the time
            assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
        finally:
            tracemalloc.stop()


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def limit(pid: int, most: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))


async def status(place: Path) -> dict[str, object]:
    return await asyncio.to_thread(ask, place / ".data", "status")


async def until(place: Path, what: str, is_so: Callable[[dict[str, object]], bool]) -> None:
    """Wait for a fact of the status."""
    told: dict[str, object] = {}
    async with asyncio.timeout(30.0):
        while True:
            with suppress(Exception):  # it may have no descriptor for an answer now
                told = await status(place)
                if is_so(told):
                    return
            await asyncio.sleep(0.1)
    raise AssertionError(f"{what}: {told}")


@pytest.mark.fault(74)
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="Linux sets the limits of another process")
async def test_a_daemon_lives_on_64_descriptors_and_outlives_having_none(tmp_path: Path) -> None:
    trading = words("URL", "random", "--param", "hold_bars=2", "--param", "leverage=0.2")
    async with running(config(speed=60.0, key=KEY, secret=SECRET)) as exchange:
        trading[trading.index("URL")] = exchange.http_url
        async with Running(tmp_path, *trading, BOT_FEED__BACKOFF_MS="50") as bot:
            pid = bot.process.pid
            limit(pid, 64)
            await bot.until('"trading"')
            used = descriptors(pid)
            for round_, most in enumerate(
                (64, used - 3, 64), 1
            ):  # with the second limit every new descriptor fails
                limit(pid, most)
                exchange.planned.post(Fault(kind="reset", count=1))
                exchange.planned.step()
                await bot.until('"feed_link_lost"', round_)
                if most < used:
                    await bot.until("Too many open files")
                    limit(pid, 64)
                await until(tmp_path, "trading again", lambda told: told["state"] == "trading")
                assert descriptors(pid) <= used + 2
            bars = int(str((await status(tmp_path))["bars"]))
            await until(tmp_path, "closes", lambda told: int(str(told["bars"])) > bars)
            bot.process.terminate()
            assert await bot.ends() == 0
