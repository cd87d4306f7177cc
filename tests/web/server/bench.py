"""The page's server over a daemon in this process, and a client that holds its token."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from bot.adapters.net.inbox import Inbox
from bot.adapters.state.clock import WallClock
from bot.adapters.state.directory import HaltFile
from bot.app.state.journals import choose_journal
from bot.domain.messages import Event
from bot.service.daemon import Daemon
from bot.web.server.access import Access
from bot.web.server.history import JournalHistory
from bot.web.server.line import DaemonLine
from bot.web.server.server import Sources, WebConfig, WebServer
from bot.web.server.skill import Skill
from bot.web.server.steering import Steering
from bot.web.server.watch import Watch
from tests.service.daemons import make, story

TOKEN = "token-of-a-test-0123456789"
WAIT_S = 20.0


class Pushed:
    """A feed that puts what a test gives it, whenever it does."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.waiting: asyncio.Queue[Event] = asyncio.Queue()
        for event in events:
            self.waiting.put_nowait(event)

    async def run(self, inbox: Inbox) -> None:
        while True:
            inbox.put(await self.waiting.get())
            while len(inbox):  # noqa: ASYNC110
                await asyncio.sleep(0)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class Page:
    """A server under test, and how often the daemon was asked."""

    def __init__(self, place: Path, host: str = "127.0.0.1") -> None:
        loop = asyncio.get_running_loop()
        self.killed: list[str] = []
        self.judged: list[list[Any]] = []
        self.line = DaemonLine(place, WallClock().now_ms)
        self.history = JournalHistory(lambda account: choose_journal(place, account), loop.time)
        self.watch = Watch(self.line, self.history, WallClock().now_ms)
        self.access = Access(TOKEN, loop.time)
        steering = Steering(self.line, HaltFile(place).set, self._kill)
        sources = Sources(
            line=self.line,
            watch=self.watch,
            history=self.history,
            skill=Skill(self.history, self._judge),
            steering=steering,
        )
        self.server = WebServer(WebConfig(host=host, port=0, state_dir=place), self.access, sources)
        self.client = aiohttp.ClientSession(headers={"X-Bot-Token": TOKEN})

    def _kill(self, why: str) -> Mapping[str, object]:
        self.killed.append(why)
        return {"state": "halted", "daemon": why, "survivors": []}

    async def _judge(self, series: list[Any]) -> list[dict[str, Any]]:
        self.judged.append(series)
        return [{"day_ms": 0}]

    async def get(self, path: str, **headers: str) -> Any:
        """The JSON of an answer that must be 200."""
        async with self.client.get(self.server.url + path, headers=headers) as answer:
            body = await answer.read()
            assert answer.status == 200, body
            return json.loads(body)

    async def text(self, path: str) -> str:
        async with self.client.get(self.server.url + path) as answer:
            assert answer.status == 200
            return await answer.text()

    async def refused(self, method: str, path: str, **more: Any) -> tuple[int, str]:
        """Status and words of an answer that is an error."""
        url = URL(self.server.url + path, encoded="%" in path or "static/" in path)
        async with self.client.request(method, url, **more) as answer:
            return answer.status, (await answer.json())["error"]

    async def post(self, action: str, **body: object) -> Any:
        async with self.client.post(self.server.url + f"api/{action}", json=body) as answer:
            said = await answer.json()
            assert answer.status == 200, said
            return said

    @asynccontextmanager
    async def silent(self) -> AsyncIterator[None]:
        """Ask the daemon nothing meanwhile.

        A connection that comes while asyncio closes a socket of the same loop is never closed.
        """
        async with self.watch._turn:
            yield

    @asynccontextmanager
    async def stream(self) -> AsyncIterator["Stream"]:
        async with self.client.get(self.server.url + "api/stream") as answer:
            assert answer.content_type == "text/event-stream"
            yield Stream(answer)


class Stream:
    """Server-sent events as they come."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def next(self, kind: str, fits: Callable[[Any], object] = lambda _: True) -> Any:
        """The next message of a kind that fits."""
        async with asyncio.timeout(WAIT_S):
            while True:
                name = (await self._answer.content.readline()).decode().removeprefix("event: ").strip()
                value = json.loads((await self._answer.content.readline()).decode().removeprefix("data: "))
                await self._answer.content.readline()
                if name == kind and fits(value):
                    return value


@asynccontextmanager
async def serving(place: Path, host: str = "127.0.0.1") -> AsyncIterator[Page]:
    """A page on a state directory, whether a daemon runs there or not."""
    page = Page(place, host)
    await page.server.start()
    task = asyncio.ensure_future(page.server.run())
    try:
        yield page
    finally:
        await page.client.close()
        task.cancel()
        await page.server.stop()


@asynccontextmanager
async def trading(place: Path, closes: int = 5, **changes: Any) -> AsyncIterator[tuple[Daemon, Pushed]]:
    """A daemon that has decided on some closes, and its feed."""
    feed = Pushed(story(closes))
    daemon = make(place, (), feed=feed, **changes)
    task = asyncio.create_task(daemon.run())
    try:
        await until(lambda: daemon.totals.closes == closes or task.done())
        yield daemon, feed
    finally:
        daemon.stop("test")
        await asyncio.wait([task])
