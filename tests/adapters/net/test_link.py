"""A link against small servers that misbehave on purpose; a line-by-line session stands for Bybit's."""

import asyncio
import gc
import random
import re
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

import bot
from bot.adapters.net.link import DialGate, Link, LinkPolicy
from bot.domain.errors import BotError, VenueError

FAST = LinkPolicy(connect_timeout_ms=200, backoff_ms=10, max_backoff_ms=40, healthy_ms=50)


class Lines:
    """Says ``hello``; understands any text; pings every ``ping_ms`` and needs the answer ``pong``."""

    def __init__(self, now_ms: float, ping_ms: float = 1e6, pong_ms: float = 1e6) -> None:
        self._ping_ms, self._pong_ms = ping_ms, pong_ms
        self._next_ping_ms, self._pong_by_ms = now_ms + ping_ms, float("inf")
        self._out: list[str] = []

    def receive(self, text: str | bytes, now_ms: float) -> list[str]:
        word = (text if isinstance(text, bytes) else text.encode()).decode("utf-8", "replace")
        if word == "leave":
            raise VenueError("told to leave")
        if word == "crash":
            raise ZeroDivisionError
        if word == "pong":
            self._pong_by_ms = float("inf")
            return []
        return [word]

    def texts(self) -> list[str]:
        out, self._out = self._out, []
        return out

    def deadline_ms(self) -> float:
        return min(self._next_ping_ms, self._pong_by_ms)

    def on_time(self, now_ms: float) -> None:
        if now_ms >= self._pong_by_ms:
            raise VenueError("no pong")
        self._out.append("ping")
        self._next_ping_ms, self._pong_by_ms = now_ms + self._ping_ms, now_ms + self._pong_ms


Handler = Callable[[ServerConnection], Awaitable[None]]


def test_how_often_a_topic_is_asked_for_is_said_once() -> None:
    """Feed and recorder give a refused topic up after the same number of connections."""
    root = Path(str(bot.__file__)).parent
    said = [path for path in root.rglob("*.py") if re.search(r"REFUSALS_MAX\b.* = \d", path.read_text())]
    assert said == [root / "adapters/net/link.py"]


async def echo(connection: ServerConnection) -> None:
    async for word in connection:
        await connection.send("pong" if word == "ping" else word)


@asynccontextmanager
async def server(handler: Handler, port: int = 0) -> AsyncIterator[Server]:
    async with serve(handler, "127.0.0.1", port, compression=None, ping_interval=None) as running:
        yield running


def port_of(running: Server) -> int:
    return int(next(iter(running.sockets)).getsockname()[1])


async def gone(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@dataclass
class Seen:
    values: list[str] = field(default_factory=list)
    ups: int = 0
    downs: list[str] = field(default_factory=list)
    arrived_s: float = 0.0

    def value(self, value: str, arrived_s: float) -> None:
        self.values.append(value)
        self.arrived_s = arrived_s

    def up(self) -> None:
        self.ups += 1

    async def until(self, true: Callable[[], bool], timeout_s: float = 3.0) -> None:
        async with asyncio.timeout(timeout_s):
            while not true():  # noqa: ASYNC110
                await asyncio.sleep(0.002)


def a_link(
    port: int, seen: Seen, *, policy: LinkPolicy = FAST, gate: DialGate | None = None, **pings: float
) -> Link[str]:
    return Link(
        f"ws://127.0.0.1:{port}",
        lambda now_ms: (Lines(now_ms, **pings), ["hello"]),
        on_value=seen.value,
        on_up=seen.up,
        on_down=seen.downs.append,
        rng=random.Random(1),
        policy=policy,
        gate=gate,
    )


@asynccontextmanager
async def kept(link: Link[str]) -> AsyncIterator[asyncio.Task[None]]:
    task: asyncio.Task[None] = asyncio.create_task(link.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_first_words_are_said_and_values_handed_on_with_their_arrival() -> None:
    seen = Seen()
    async with server(echo) as running:
        link = a_link(port_of(running), seen)
        assert link.send("too early") is False
        async with kept(link):
            await seen.until(lambda: seen.values == ["hello"])
            assert abs(asyncio.get_running_loop().time() - seen.arrived_s) < 1.0
            assert link.send("order")
            await seen.until(lambda: seen.values == ["hello", "order"])
        assert (seen.ups, link.session) == (1, None)


@pytest.mark.fault(17)
async def test_a_lost_connection_is_replaced_and_nothing_unsent_is_carried_over() -> None:
    seen = Seen()

    async def cut(connection: ServerConnection) -> None:
        async for word in connection:
            await connection.send(word)
            connection.transport.abort()

    async with server(cut) as running:
        link = a_link(port_of(running), seen)
        async with kept(link):
            await seen.until(lambda: seen.ups >= 3)
    assert set(seen.values) == {"hello"}
    assert len(seen.downs) >= 2


@pytest.mark.fault(14)
async def test_a_server_that_answers_nothing_is_noticed_and_replaced() -> None:
    """TCP up, handshake done, then silence: the ping's answer is missed and the next dial is made."""
    seen = Seen()

    async def mute(connection: ServerConnection) -> None:
        await connection.wait_closed()

    loop = asyncio.get_running_loop()
    async with server(mute) as running:
        async with kept(a_link(port_of(running), seen, ping_ms=60, pong_ms=40)):
            begun_s = loop.time()
            await seen.until(lambda: seen.ups >= 2)
            took_s = loop.time() - begun_s
        assert seen.downs[0] == "no pong"
    # 0.1 s to notice, at most CLOSE_TIMEOUT_S for the goodbye, 0.01 s of waiting, and slack
    assert took_s < 1.5


@pytest.mark.fault(14)
async def test_a_port_that_never_shakes_hands_is_given_up_in_time() -> None:
    seen = Seen()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read()
        await gone(writer)

    tcp = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with tcp:
        async with kept(a_link(tcp.sockets[0].getsockname()[1], seen)):
            await seen.until(lambda: len(seen.downs) >= 2)
        await asyncio.sleep(0.01)
        assert "timed out" in seen.downs[0]


@pytest.mark.fault(22)
@pytest.mark.parametrize("status", [200, 302, 403, 502])
async def test_an_answer_that_is_no_websocket_is_a_failure_like_others(status: int) -> None:
    seen = Seen()

    async def html(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            f"HTTP/1.1 {status} x\r\nLocation: ws://127.0.0.1:9/\r\nContent-Length: 6\r\n\r\n<html>".encode()
        )
        await gone(writer)

    tcp = await asyncio.start_server(html, "127.0.0.1", 0)
    async with tcp:
        gate = DialGate(FAST, random.Random(1))
        async with kept(a_link(tcp.sockets[0].getsockname()[1], seen, gate=gate)):
            await seen.until(lambda: len(seen.downs) >= 1)
        await asyncio.sleep(0.01)
        assert str(status) in seen.downs[0]
        if status == 403:
            assert gate.failed() > 590.0


@pytest.mark.fault(88)
@pytest.mark.surface("messages")
@pytest.mark.parametrize("frame", [b"\xff\xfe", "x" * (300 << 10), "[" * 10_000])
async def test_hostile_frames_never_end_the_loop(frame: str | bytes) -> None:
    seen = Seen()

    async def hostile(connection: ServerConnection) -> None:
        await connection.send(frame)
        await connection.send("still here")
        await connection.wait_closed()

    async with server(hostile) as running, kept(a_link(port_of(running), seen)) as task:
        await seen.until(lambda: "still here" in seen.values or len(seen.downs) >= 2)
        assert not task.done()


@pytest.mark.fault(16)
async def test_a_session_that_gives_up_is_replaced() -> None:
    seen = Seen()

    async def bore(connection: ServerConnection) -> None:
        await connection.send("leave")
        await connection.wait_closed()

    async with server(bore) as running, kept(a_link(port_of(running), seen)):
        await seen.until(lambda: seen.ups >= 2)
    assert seen.downs[0] == "told to leave"


async def test_an_error_of_our_own_ends_the_link_loudly() -> None:
    async def break_it(connection: ServerConnection) -> None:
        await connection.send("crash")
        await connection.wait_closed()

    async with server(break_it) as running, kept(a_link(port_of(running), Seen())) as task:
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(task, 3)

    class Full(Seen):
        def value(self, value: str, arrived_s: float) -> None:
            raise BotError("full")

    async with server(echo) as running, kept(a_link(port_of(running), Full())) as task:
        with pytest.raises(BotError, match="full"):
            await asyncio.wait_for(task, 3)


@pytest.mark.fault(68)
async def test_an_error_in_the_sessions_timer_ends_the_link_loudly() -> None:
    class Broken(Lines):
        def on_time(self, now_ms: float) -> None:
            raise ZeroDivisionError

    link: Link[str] = Link(
        "",
        lambda now_ms: (Broken(now_ms, ping_ms=10), []),
        on_value=lambda value, arrived_s: None,
        on_up=lambda: None,
        on_down=lambda reason: None,
        rng=random.Random(1),
        policy=FAST,
    )
    async with server(echo) as running:
        link.url = f"ws://127.0.0.1:{port_of(running)}"
        async with kept(link) as task:
            with pytest.raises(ZeroDivisionError):
                await asyncio.wait_for(task, 3)


async def test_a_link_reconnects_when_asked() -> None:
    seen = Seen()
    async with server(echo) as running:
        link = a_link(port_of(running), seen)
        async with kept(link):
            await seen.until(lambda: seen.ups == 1)
            link.reconnect("silent")
            assert link.send("into the void") is False
            await seen.until(lambda: seen.ups == 2)
    assert seen.downs == ["silent"]
    assert "into the void" not in seen.values


@pytest.mark.fault(16)
async def test_the_venue_coming_back_is_noticed() -> None:
    seen = Seen()
    async with server(echo) as running:
        port = port_of(running)
    async with kept(a_link(port, seen)):
        await seen.until(lambda: len(seen.downs) >= 3)
        async with server(echo, port):
            await seen.until(lambda: seen.values == ["hello"])


# Patience


class Loop:
    """The loop's clock, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def time(self) -> float:
        return self.now_s


@contextmanager
def hand_moved_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    loop = Loop()
    with monkeypatch.context() as patch:
        patch.setattr("bot.adapters.net.link.asyncio.get_running_loop", lambda: loop)
        yield loop


def attempts_while_down(loop: Loop, seed: int, dial_s: float, hours: float) -> list[float]:
    """When a gate with default settings lets a link dial while every dial fails after ``dial_s``."""
    gate = DialGate(LinkPolicy(), random.Random(seed))
    begun_s, times = loop.now_s, []
    while loop.now_s < begun_s + 3600.0 * hours:
        times.append(loop.now_s)
        loop.now_s += dial_s
        loop.now_s += gate.failed()
    return times


@pytest.mark.invariant(18)
@pytest.mark.fault(15)
@pytest.mark.parametrize("dial_s", [0.0, 10.0])
@pytest.mark.parametrize("seed", range(20))
def test_attempts_are_few_while_the_venue_is_down(
    seed: int, dial_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hand_moved_loop(monkeypatch) as loop:
        times = attempts_while_down(loop, seed, dial_s, hours=3.0)
    for window_s, most in ((300.0, 12), (3600.0, 60)):
        assert all(sum(t <= u < t + window_s for u in times) <= most for t in times)
    assert len(times) > 60  # and it never stops trying
    assert max(b - a for a, b in pairwise(times)) < 130.0


@pytest.mark.fault(15)
def test_waits_are_jittered_and_grow_and_short_again_after_a_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with hand_moved_loop(monkeypatch) as loop:
        firsts = set()
        for seed in range(50):
            gate = DialGate(LinkPolicy(), random.Random(seed))
            waits = []
            for _ in range(8):
                waits.append(gate.failed())
                loop.now_s += waits[-1]
            assert all(wait <= 0.5 * 2**i for i, wait in enumerate(waits[:7]))
            assert 60.0 <= waits[7] <= 78.0
            firsts.add(round(waits[0], 3))
            gate.succeeded()
            assert gate.failed() <= 0.5
        assert len(firsts) > 40


async def test_while_an_address_fails_one_link_tries_for_all() -> None:
    """Five links, nobody there: about as many attempts as one link makes alone."""
    gate = DialGate(LinkPolicy(backoff_ms=40, max_backoff_ms=80, connect_timeout_ms=100), random.Random(3))
    seen = [Seen() for _ in range(5)]
    links = [a_link(9, each, gate=gate) for each in seen]
    tasks = [asyncio.create_task(link.run()) for link in links]
    await asyncio.sleep(0.4)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert 5 < sum(link.dials for link in links) <= 12 + 5


@pytest.mark.fault(14)
@pytest.mark.invariant(17)
def test_a_mute_server_is_replaced_within_30_s_with_default_settings() -> None:
    """Worst case: it falls silent right after a pong. Ping, deadline, goodbye, wait, then the new dial."""
    from bot.adapters.net import link
    from bot.settings import FeedSettings

    feed = FeedSettings()
    noticed_ms = feed.ping_ms + feed.pong_timeout_ms + 100.0
    replaced_ms = noticed_ms + 2 * link.CLOSE_TIMEOUT_S * 1000.0 + feed.backoff_ms
    assert replaced_ms == 24_600.0
    assert replaced_ms < 30_000.0


@pytest.mark.parametrize("addresses", [1, 2])
async def test_a_link_that_ends_at_any_turn_of_a_dial_leaves_no_socket_open(
    addresses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaked: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: leaked.append(str(told.exc_value)))
    seen = Seen()
    async with server(echo) as running:
        where = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port_of(running)))

        async def lookup(*_: object, **__: object) -> list[Any]:
            return [where] * addresses

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lookup)
        for turns in range(60):
            async with kept(a_link(port_of(running), seen)):
                for _ in range(turns):
                    await asyncio.sleep(0)
        gc.collect()
    assert seen.ups
    assert leaked == []
