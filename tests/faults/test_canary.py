"""A key and a secret that must show nowhere: not on stderr, not on disk, not in an answer, in no form."""

import asyncio
import base64
import json
import os
import random
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from aiohttp import web

from bot.simulator.faults.hooks import FaultAction, FaultHooks
from bot.simulator.server import running
from tests.cli.exchanges import BOT
from tests.simulator.bench import config

KEY, SECRET = "kEy+9zQ7/cAn4ry&uW3x", 'sEcRet/x8"Yp5+cAn4ry=='
CANARIES = (KEY, SECRET)
WAIT_S = 40.0
LEAKY = """
import asyncio, gc, logging, os, sys, threading, warnings

from bot.engine.state import EngineState

WORD = os.environ["BOT_VENUE__API_SECRET"]
value = EngineState.remark

def once(state):
    EngineState.remark = value
    fail()

def fail():
    raise RuntimeError("said by a part: " + WORD)

async def forget():
    fail()

class Dying:
    def __del__(self):
        fail()

class Leaky:
    bars = 0

    def on_bar(self, view):
        Leaky.bars += 1
        if Leaky.bars == 3:
            loop = asyncio.get_running_loop()
            loop.call_soon(fail)                                   # asyncio's own log
            loop.create_task(forget())                             # a task that nobody awaits
            threading.Thread(target=fail).start()                  # threading's hook
            Dying(); gc.collect()                                  # sys.unraisablehook
            logging.getLogger("anything").error("logged: %s", WORD)
            warnings.warn("warned: " + WORD)
            print("printed in two parts: " + WORD[:9], file=sys.stderr, end="")
            print(WORD[9:], file=sys.stderr)
        if Leaky.bars == 4:
            fail()                                                 # an error of a strategy, in the journal
        if Leaky.bars == 8:
            EngineState.remark = once                              # the end of the daemon, with a traceback
"""


def shapes(secret: str) -> Iterator[str]:
    """What must not be found: each run of eight characters, and the whole in other clothes."""
    yield from (secret[at : at + 8] for at in range(len(secret) - 7))
    yield from (quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1])
    raw = secret.encode()
    for before in range(3):
        inside = base64.b64encode(b"x" * before + raw + b"xx").decode()
        yield inside[4:20]
        yield inside[4:20].replace("+", "-").replace("/", "_")


def leaks(texts: Mapping[str, str]) -> list[str]:
    """Where a canary, or a part of it, can be read."""
    found = []
    for name, text in texts.items():
        for secret in CANARIES:
            if shown := [shape for shape in shapes(secret) if shape in text]:
                at = text.index(shown[0])
                found.append(f"{name}: …{text[max(0, at - 80) : at + 40]!r}")
    return found


class Echo(FaultHooks):
    """A venue that fails in many ways and repeats in its words what it was sent."""

    def __init__(self) -> None:
        self.rng = random.Random(11)
        self.echoes = 0
        self.is_hostile = False

    def words(self, room: int) -> str:
        self.echoes += 1
        encoded = base64.b64encode(f"u:{KEY}".encode()).decode()
        cut = "." * room + KEY  # a reader that cuts a text shows the first part of it
        return f"bad key {KEY} {quote(KEY, safe='')} {encoded} {cut}"

    def rest(self, request: web.Request) -> FaultAction | None:
        if not self.is_hostile or "X-BAPI-API-KEY" not in request.headers:
            return None
        words = self.words(self.rng.randrange(60))
        answer = json.dumps({"retCode": self.rng.choice((10001, 10016, 110007)), "retMsg": words}).encode()
        match self.rng.randrange(6):
            case 0:
                return FaultAction(body=answer)
            case 1:
                return FaultAction(body=f"<html>{words}</html>".encode(), content_type="text/html")
            case 2:
                return FaultAction(status=502, body=words.encode())
            case 3:
                return FaultAction(body=answer[:-9])
        return None

    def ws_out(self, connection: object, topic: str, text: str) -> list[tuple[float, str]] | None:
        if self.is_hostile and topic.startswith("op:order.") and self.rng.random() < 0.6:
            refused = json.loads(text) | {"retCode": 110007, "retMsg": self.words(self.rng.randrange(110))}
            return [(0.0, json.dumps(refused))]
        return None


class Running:
    """``bot`` with the canaries in its environment; what it prints goes to files."""

    def __init__(self, place: Path, *words: str, **environment: str) -> None:
        self.place, self.words = place, words
        self.environment = {**os.environ, "BOT_VENUE__API_KEY": KEY, "BOT_VENUE__API_SECRET": SECRET}
        self.environment |= {"PYTHONPATH": f"{Path.cwd()}:{place}", **environment}

    async def __aenter__(self) -> "Running":
        self.out, self.err = self.place / "out.txt", self.place / "err.txt"
        with self.out.open("ab") as out, self.err.open("ab") as err:
            self.process = await asyncio.create_subprocess_exec(
                *BOT[:3], "-vv", *self.words, cwd=self.place, stdout=out, stderr=err, env=self.environment
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def until(self, word: str, times: int = 1) -> None:
        async with asyncio.timeout(WAIT_S):
            while self.err.read_text().count(word) < times:
                assert self.process.returncode is None, self.err.read_text()[-2000:]
                await asyncio.sleep(0.05)

    async def ends(self) -> int:
        async with asyncio.timeout(WAIT_S):
            return await self.process.wait()

    def texts(self) -> dict[str, str]:
        """All that was left behind: what was printed, and every file."""
        argv = Path(f"/proc/{self.process.pid}/cmdline")
        told = {"argv": argv.read_text()} if argv.exists() else {}
        files = [path for path in self.place.rglob("*") if path.is_file() and path.suffix != ".py"]
        return told | {path.name: path.read_bytes().decode("utf-8", "replace") for path in files}


def words(url: str, strategy: str, *more: str) -> list[str]:
    where = ["--feed", "local", "--venue", "local", "--exchange", url, "--symbol", "BTCUSDT"]
    return ["run", *where, "--interval", "1m", "--strategy", strategy, *more]


async def say(place: Path, *command: str) -> None:
    async with Running(place, *command) as asked:
        await asked.ends()


@pytest.mark.fault(83)
@pytest.mark.invariant(25)
@pytest.mark.surface("api-key")
async def test_a_venue_that_repeats_the_key_makes_the_daemon_repeat_it_nowhere(tmp_path: Path) -> None:
    venue = Echo()
    trading = ("random", "--param", "hold_bars=2", "--param", "leverage=0.2", "--json")
    async with running(config(speed=120.0, key=KEY, secret=SECRET), venue) as exchange:
        async with Running(tmp_path, *words(exchange.http_url, *trading)) as bot:
            await bot.until('"trading"')
            venue.is_hostile = True
            async with asyncio.timeout(WAIT_S):
                while venue.echoes < 12:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            for command in (["status", "--json"], ["status"], ["pause"], ["kill", "--json"]):
                await say(tmp_path, *command)
            bot.process.send_signal(signal.SIGTERM)
            await bot.ends()
            texts = bot.texts()
        await say(tmp_path, "kill", "--venue", "local", "--json")
        await say(tmp_path, "doctor")
        await say(tmp_path, "config", "show", "--json")
    assert "retCode" in texts["err.txt"] or "110007" in str(texts)  # the venue's words did arrive
    assert leaks(texts | bot.texts()) == []


@pytest.mark.fault(83)
@pytest.mark.invariant(25)
@pytest.mark.surface("api-key")
async def test_a_part_that_fails_with_the_secret_in_its_words_shows_it_nowhere(tmp_path: Path) -> None:
    (tmp_path / "leaky.py").write_text(LEAKY)
    async with running(config(speed=120.0, key=KEY, secret=SECRET)) as exchange:
        both = ("--symbol", "ETHUSDT")
        async with Running(tmp_path, *words(exchange.http_url, "leaky:Leaky", *both)) as bot:
            assert await bot.ends() == 1
            texts = bot.texts()
        async with Running(tmp_path, *words(exchange.http_url, "leaky:Leaky", *both, "--bars", "1")) as again:
            assert await again.ends() == 6  # the event that failed is set aside, and the bot is halted
            texts |= {f"again {name}": text for name, text in again.texts().items()}
    for said in (
        "said by a part",
        "logged",
        "warned",
        "printed",
        "Thread",
        "unraisable",
        "Traceback",
        "strategy_stopped",
    ):
        assert said in texts["err.txt"], texts["err.txt"]
    assert leaks(texts) == []


@pytest.mark.fault(83)
async def test_a_key_that_the_venue_refuses_is_not_repeated(tmp_path: Path) -> None:
    async with (
        running(config(key=KEY, secret="another-secret")) as exchange,
        Running(tmp_path, *words(exchange.http_url, "flat")) as bot,
    ):
        assert await bot.ends() == 4
        assert leaks(bot.texts()) == []
