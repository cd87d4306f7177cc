"""One run: an exchange, a bot that is started again whenever it ends, an operator, and what happens to them.

First the story's faults, then they stop, then the bot has ``SETTLE_S`` to know the truth and to trade.
"""

import asyncio
import contextlib
import contextvars
import gc
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import aiohttp

from bot.adapters.state.clock import MachineTime
from bot.adapters.state.directory import HaltFile
from bot.app.context import Context
from bot.app.machine import Machine
from bot.app.runs.live.daemon import live
from bot.app.runs.live.plan import make_live_plan
from bot.domain.errors import BotError, Broken
from bot.service.commands import COMMANDS, SOCKET
from bot.service.process.supervise import Stop
from bot.simulator.account.access import RequestRefused
from bot.simulator.account.account import Account
from bot.simulator.config import ExchangeConfig
from bot.simulator.faults.plan import parse_fault
from bot.simulator.market.tape import bar_of
from bot.simulator.server import ExchangeServer, running
from tests.sim import owner
from tests.sim.checks.always import Always
from tests.sim.checks.lines import FETCH_S, Lines
from tests.sim.checks.quiet import check_quiet
from tests.sim.checks.venue import VenueTruth
from tests.sim.checks.verdict import Violation
from tests.sim.checks.wire import Line
from tests.sim.disk import SimDisk
from tests.sim.loop import Deadlock, Process, SimLoop
from tests.sim.net import Network, Stream
from tests.sim.story import FORBIDDEN_S, Happening, Story

PORT = 8650
REST = "rest"
"""The address that the bot's HTTP clients dial; the exchange's own, by another name."""
SETTLE_S = 240.0
RESTART_S = 5.0
"""A service manager starts a bot that ended by itself again after this time."""
BEAT_S = 10.0
DECIDES_WITHIN_CLOSES = 12
"""The strategy tosses a coin at every close or two; so many without an order mean that it does not trade."""
STOP_S = 9.5
"""A stop that takes longer is ended by the system's timer."""


@dataclass
class Outcome:
    """What a run showed."""

    seed: int
    digest: str
    violations: list[Violation]
    faults: Counter[str]
    simulated_s: float
    cpu_s: float
    facts: dict[str, object]


class Bot:
    """The bot's process, started again whenever it ends, as by a service manager."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._loop = world.loop
        self.process: Process | None = None
        self.began_s = 0.0
        self.starts = 0
        self.wanted = True
        self.ends: list[str] = []
        """How each process ended."""
        self._stop = Stop()
        self._again: asyncio.TimerHandle | None = None

    @property
    def alive(self) -> bool:
        """True while a process of it runs."""
        return self.process is not None

    def start(self) -> None:
        """Start a process."""
        if self.process is not None or not self.wanted:
            return
        self.starts += 1
        self._again = None
        self.began_s = self._loop.now_s
        self._stop = Stop()
        self._world.lines.restarted()
        process = self.process = Process(f"bot {self.starts}")
        task = process.start(self._loop, self._world.run_bot(self._stop, 4000 + self.starts))
        task.add_done_callback(lambda done: self._ended(process, done), context=contextvars.Context())

    def _ended(self, process: Process, task: "asyncio.Task[Any]") -> None:
        if process is not self.process:
            return
        error = None if task.cancelled() else task.exception()
        how = "clean" if error is None else f"{type(error).__name__}: {error}"
        if error is not None and (not isinstance(error, BotError) or isinstance(error, Broken)):
            self._world.seen.broke(20, f"the bot ended with {how}")
        self._gone(how, RESTART_S)
        self._loop.kill(process)  # an exit ends what is left of it, too
        self._loop.net.end(process, silent=False)

    def _gone(self, how: str, down_s: float) -> None:
        self.process = None
        self.ends.append(how)
        self._world.seen.note("end", how.replace(str(self._world.place), ""))
        self._again = self._loop.at(self._loop.now_s + down_s, self.start, context=contextvars.Context())

    def die(self, how: str, down_s: float, *, power: bool) -> None:
        """End the process without a word; with the power, what was not on the disk is gone, too."""
        process = self.process
        if process is None:
            return
        self._gone(how, down_s)
        self._loop.kill(process)
        self._loop.net.end(process, silent=power)
        if power:
            self._world.disk.power_cut()

    async def stop(self, down_s: float) -> None:
        """Ask it to end in order, and end it if that takes too long."""
        process = self.process
        if process is None:
            return
        self._stop.ask("SIGTERM")
        by_s = self._loop.now_s + STOP_S
        while self.process is process and self._loop.now_s < by_s:  # noqa: ASYNC110 (what it waits for is the bot)
            await asyncio.sleep(0.5)
        if self.process is process:
            self.die("SIGALRM", down_s, power=False)


class World:
    """Everything of one run."""

    def __init__(self, story: Story, place: Path, most: int) -> None:
        self.story = story
        self._most = most
        self.place = place
        self.loop = SimLoop()
        self.loop.net = Network(self.loop, f"net:{story.seed}")
        self.disk = SimDisk(place, f"disk:{story.seed}")
        self.wall_off_ms = 0
        self.faults: Counter[str] = Counter()
        self.bot = Bot(self)
        self.seen: Always
        self.lines: Lines
        self.exchange: ExchangeServer
        self.quiet_from_s = 0.0
        self.last_forbidden_s = -FORBIDDEN_S
        self.log = Log()
        self.writes = 0
        """How often the bot wrote to the exchange."""
        self.acts: list[int] = []
        """Which of these writes asked for an order, a cancel or a stop."""
        self._fails_at = 0
        self._one_command = asyncio.Lock()
        self._aside: list[asyncio.Task[None]] = []

    # The bot

    async def run_bot(self, stop: Stop, pid: int) -> object:
        """Be one process of the bot."""
        context = Context()
        context.__dict__["log"] = self.log
        settings = context.settings(
            {
                "state_dir": self.place,
                "feed.kind": "local",
                "venue.kind": "local",
                "local.url": f"http://127.0.0.1:{PORT}",
                "feed.symbols": self.story.symbols,
                "feed.interval": "1m",
                "seed": self.story.seed,
                **self.story.settings,
            }
        )
        plan = make_live_plan(
            settings,
            strategy="tests.sim.strategies:Coin",
            params=self.story.params,
        )
        machine = Machine(
            time=MachineTime(wall_ns=self.wall_ns, steady_s=self.loop.time),
            disk=self.disk.disk(),
            pid=pid,
            environ={},
            connector=lambda: aiohttp.UnixConnector(REST),
        )
        return await live(context, plan, stop, machine)

    def wall_ns(self) -> int:
        """UTC by the bot's machine."""
        return (self.story.start_ms + self.wall_off_ms) * 1_000_000 + int(self.loop.now_s * 1e9)

    # The run

    async def run(self) -> None:
        """Play the story, then the quiet phase."""
        story = self.story
        config = ExchangeConfig(
            port=PORT,
            symbols=story.symbols,
            seed=story.seed,
            start_ms=story.start_ms,
            ticks_per_s=story.ticks_per_s,
        )
        time_there = MachineTime(
            wall_ns=lambda: story.start_ms * 1_000_000 + int(self.loop.now_s * 1e9), steady_s=self.loop.time
        )
        async with running(config, machine=time_there) as self.exchange:
            self._watch()
            self.bot.start()
            beats = [asyncio.create_task(work()) for work in (self._beat, self._closes)]
            for happening in story.happenings:
                await self._until(happening.at_s)
                await self._happen(happening)
            await self._until(story.end_s)
            await self._heal()
            await self._check_quiet()
            for each in beats:
                each.cancel()
            self.faults.update(self.exchange.planned.counts)
            self.bot.wanted = False
            await self.bot.stop(0.0)

    def _watch(self) -> None:
        exchange, net = self.exchange, self.loop.net
        net.listeners[REST] = net.listeners["127.0.0.1", PORT]
        account = self._account
        symbols = self.story.symbols
        self.seen = Always(
            VenueTruth(account, "bot"),
            symbols,
            now_s=lambda: self.loop.now_s,
            now_ms=exchange.clock.market_ms,
            mark=lambda symbol: exchange.market.mark(symbol)[0],
            max_position_quote=_decimal(self.story.settings["risk.max_position_notional_quote"]),
            max_orders_per_minute=self.story.settings["risk.max_orders_per_minute"],
            maker=self.story.settings["execution.policy"] == "maker",
        )
        self.lines = Lines(self.seen.broke, lambda: self.loop.now_s)
        self.seen.most = self._most
        main = asyncio.current_task()
        assert main is not None
        self.seen.enough = lambda: self.loop.call_soon(main.cancel, context=contextvars.Context())
        net.sent, net.heard, net.fails = self._wrote, self._heard, self._fails
        net.closed = lambda stream: self.lines.closed(stream.number)
        self.disk.durable = self.seen.durable
        emit = exchange.accounts.private.emit

        def moved(uid: int, messages: list[Any]) -> None:
            self.seen.moved()
            emit(uid, messages)

        exchange.accounts.private.emit = moved  # type: ignore[method-assign]

    def _wrote(self, stream: Stream, data: bytes) -> None:
        if stream.address is not None and (stream.address == REST or isinstance(stream.address, tuple)):
            line = stream.notes.setdefault("line", Line(is_client=True))
            self.writes += 1
            for said in self.seen.wrote(line, data):
                self.lines.said(stream.number, said)
                if said.what.startswith(("order.", "POST ")):
                    self.acts.append(self.writes)

    def _heard(self, stream: Stream, data: bytes) -> None:
        if stream.address is not None and (stream.address == REST or isinstance(stream.address, tuple)):
            self.lines.heard(stream.number, data, stream.notes.setdefault("answers", Line(is_client=False)))

    def _fails(self, stream: Stream, data: bytes) -> bool:
        at_venue = isinstance(stream.address, tuple) or stream.address == REST
        return at_venue and self.writes == self._fails_at

    async def _until(self, at_s: float) -> None:
        if at_s > self.loop.now_s:
            await asyncio.sleep(at_s - self.loop.now_s)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            # A line that loses one message in five makes everything take longer.
            self.seen.beat(is_able=self._is_able(), patience=2.5 if self._is_hindered() else 1.0)
            if self.bot.process is not None and not self.bot.process.frozen_until_s:
                self.lines.beat()

    async def _closes(self) -> None:
        """Look after each close whether a bar that was not confirmed was asked for."""
        while True:
            now_ms = self.exchange.clock.market_ms()
            close_ms = now_ms - now_ms % 60_000 + 60_000
            await asyncio.sleep((close_ms - now_ms) / 1000.0)
            could = self._could_ask()
            await asyncio.sleep(FETCH_S)
            if could and self._could_ask():
                for symbol in self.story.symbols:
                    self.lines.closed_bar(symbol, close_ms)

    def _could_ask(self) -> bool:
        """True if the bot has run for a while and REST answers."""
        now_s = self.loop.now_s
        faults = self._struck()
        calm = now_s - max(self.lines.excused_until_s, self.bot.began_s, self.loop.net.cut_until_s) > 60.0
        forbidden = now_s < self.last_forbidden_s + FORBIDDEN_S + 60.0
        return self.bot.process is not None and calm and not forbidden and not faults & _HINDERS_REST

    def _is_able(self) -> bool:
        """True if the bot runs, and nothing keeps it from the venue."""
        process = self.bot.process
        return (
            process is not None
            and not process.frozen_until_s
            and self.loop.now_s > max(self.loop.net.cut_until_s, self.bot.began_s + 20.0)
            and self.loop.now_s > self.last_forbidden_s + FORBIDDEN_S + 30.0
            and not self._struck() & _IN_THE_WAY
        )

    def _is_hindered(self) -> bool:
        """True if single messages are lost or late so often that everything takes longer."""
        now_s, faults = self.loop.now_s, self.exchange.planned.faults
        return any(f.fault.kind in _HINDERS and f.fault.rate > 0.01 and f.active(now_s) for f in faults)

    def _struck(self) -> set[str]:
        """Return the kinds of the exchange's faults that are in force."""
        now_s = self.loop.now_s
        return {each.fault.kind for each in self.exchange.planned.faults if each.active(now_s)}

    # What happens

    async def _happen(self, what: Happening) -> None:
        self.seen.note("happening", str(what))
        how = what.how
        process = self.bot.process
        match what.kind:
            case "power_cut":
                self.bot.die("power cut", how["down_s"], power=True)
            case "sigkill":
                self.bot.die("SIGKILL", how["down_s"], power=False)
            case "sigterm":
                self._aside.append(asyncio.create_task(self.bot.stop(how["down_s"])))
            case "freeze" | "suspend" if process is None or process.frozen_until_s:
                return
            case "freeze" | "suspend":
                assert process is not None
                self.loop.freeze(process, how["for_s"], suspended=what.kind == "suspend")
                self.lines.excused_until_s = self.loop.now_s + how["for_s"] + 1.0
            case "clock_step":
                self.wall_off_ms += how["by_ms"]
            case "disk":
                self.disk.failing = how["errno"]
                self.loop.at(self.loop.now_s + how["for_s"], self._mend_disk)
            case "partition":
                self.loop.net.cut_until_s = self.loop.now_s + how["for_s"]
                self.lines.excused_until_s = max(self.lines.excused_until_s, self.loop.net.cut_until_s + 1.0)
            case "net_reset":
                self.loop.net.reset()
            case "write_fails":
                self._fails_at, self.loop.net.takes_broken = how["nth"], how["arrives"]
            case "stop_removed" | "owner" | "margin_mode_back":
                self._by_hand(what.kind, how)
            case "pause" | "resume" | "flatten" | "kill" | "unhalt" | "kill_file":
                await self._operate(what.kind)
                return
            case _:
                self._post(how)
                return
        self.faults[what.kind] += 1

    def _by_hand(self, kind: str, how: Mapping[str, Any]) -> None:
        """Let the owner of the account do something at the venue."""
        if kind == "margin_mode_back":
            self._account.set_margin_mode({"setMarginMode": owner.CROSS})
            return
        symbol = how["symbol"]
        if kind == "owner":
            mark = self.exchange.market.mark(symbol)[0]
            self.faults[f"owner_{how['what']}"] += owner.act(self._account, self.seen, how, mark)
            return
        if self.seen.truth.stop(symbol):
            with contextlib.suppress(RequestRefused):
                self._account.trading_stop(
                    {"category": "linear", "symbol": symbol, "stopLoss": "0", "positionIdx": 0}
                )
        self.seen.truth.closed.add(symbol)
        if self._is_hindered():
            self.seen.unheard_s[symbol] = self.story.settings["venue.reconcile_ms"] / 1000.0

    @property
    def _account(self) -> Account:
        return self.exchange.accounts.by_key[self.exchange.config.key]

    def _mend_disk(self) -> None:
        self.disk.failing = None

    def _post(self, how: Mapping[str, Any]) -> None:
        fault = parse_fault(dict(how))
        self.exchange.world.check(fault)
        self.exchange.planned.post(fault)
        if fault.kind == "skew":
            self.seen.excused_ms = max(self.seen.excused_ms, abs(fault.skew_ms))
            now_ms = self.exchange.clock.market_ms()
            self.seen.skewed_ms.append((now_ms - 60_000, now_ms + round(fault.for_s * 1000.0) + 60_000))
        if fault.kind in ("foreign_order", "adl", "liquidation"):
            self.seen.truth.strangers.add(fault.symbol)
        self.seen.conflicting |= fault.kind == "conflict"
        if fault.kind == "skew":  # the bot's clock follows, and comes back within a minute
            until_s = self.loop.now_s + fault.for_s + 60.0
            self.lines.excused_until_s = max(self.lines.excused_until_s, until_s)
        if fault.changes.keys() & {"qty_step", "max_market_qty", "tick_size"}:
            self.seen.smaller = True
        if fault.kind == "status":
            self.seen.truth.closed.add(fault.symbol)
        if fault.kind == "forbidden":
            self.last_forbidden_s = self.loop.now_s + fault.for_s

    # The operator

    async def _operate(self, what: str) -> None:
        """Do what the operator does; it is asked again until it is done, as a person would."""
        self.faults[what] += 1
        if what in ("kill", "kill_file"):
            with contextlib.suppress(OSError):
                HaltFile(self.place, self.disk.disk()).set()
                self.seen.barred.setdefault("kill", self.loop.now_s)
        if what == "kill_file":
            return
        self._aside.append(asyncio.create_task(self._insist(what)))

    async def _insist(self, what: str) -> None:
        async with self._one_command:  # an operator waits for an answer before the next command
            await self._insist_now(what)

    async def _insist_now(self, what: str) -> None:
        for _ in range(60):
            if what in ("unhalt", "resume"):  # from here on it may be lifted, whether or not the answer comes
                for why in ("kill",) if what == "unhalt" else ("pause", "flatten"):
                    self.seen.barred.pop(why, None)
            if await self.ask(what) is not None:
                if what in ("pause", "flatten"):
                    self.seen.barred.setdefault(what, self.loop.now_s)
                return
            await asyncio.sleep(5.0)

    async def ask(self, command: str) -> dict[str, Any] | None:
        """Ask the daemon over its control socket; None if it does not answer."""
        try:
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.UnixConnector(str(self.place / SOCKET), force_close=True),
                    timeout=aiohttp.ClientTimeout(total=15.0),
                ) as http,
                http.request(COMMANDS[command], f"http://bot/{command}") as answer,
            ):
                return json.loads(await answer.read()) if answer.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return None

    # The quiet phase

    async def _heal(self) -> None:
        """Stop every fault, and lift every pause and halt."""
        self.faults.update({"starts": self.bot.starts})
        self.exchange.planned.clear()
        self.loop.net.cut_until_s = 0.0
        self._by_hand("margin_mode_back", {})
        self._mend_disk()
        self.seen.note("heal", "")
        await asyncio.sleep(max(0.0, self.last_forbidden_s + FORBIDDEN_S + 30.0 - self.loop.now_s))
        for what in ("unhalt", "resume"):
            await self._insist(what)
        await asyncio.sleep(SETTLE_S - 60.0)
        for what in ("unhalt", "resume"):  # what a late end of a fault may have led to
            await self._insist(what)
        await asyncio.sleep(60.0)

    async def _check_quiet(self) -> None:
        # Between two closes: an order that has just been decided on may still be on its way.
        now_ms = self.exchange.clock.market_ms()
        await asyncio.sleep(((now_ms // 60_000 + 1) * 60_000 - now_ms) / 1000.0 + 40.0)
        orders = len(self.seen.sent)
        for _ in range(DECIDES_WITHIN_CLOSES):
            await asyncio.sleep(60.0)
            if len(self.seen.sent) > orders or self.seen.truth.strangers.issuperset(self.story.symbols):
                break  # where a stranger holds something, no entry is made
        else:
            self.seen.broke(19, f"no order within {DECIDES_WITHIN_CLOSES} closes after the faults")
        status = await self._status_in_peace()
        if status is None:
            self.seen.broke(20, f"nobody answers; it ended {self.bot.ends[-3:]}")
            return
        check_quiet(self.seen, status, self.place, self.story.symbols, self._bar)

    async def _status_in_peace(self) -> dict[str, Any] | None:
        """Ask for the status while nothing is under way between the bot and the venue."""
        status = None
        for _ in range(30):
            await asyncio.sleep(5.3)
            moved_s = self.seen.moved_s
            if self.loop.now_s - moved_s < 4.0:
                continue
            status = await self.ask("status")
            if self.seen.moved_s == moved_s:
                break
        return status

    def _bar(self, symbol: str, start_ms: int) -> tuple[float, ...]:
        bar = bar_of(self.exchange.market.symbols[symbol].tape, start_ms)
        assert bar is not None
        return bar.open, bar.high, bar.low, bar.close, bar.volume


_HINDERS_REST = frozenset(
    {
        "slow",
        "error",
        "html",
        "rate_limit",
        "forbidden",
        "lost_answer",
        "lost_request",
        "truncate",
        "maintenance",
        "restart",
    }
)
_IN_THE_WAY = frozenset({"mute", "stall", "refuse", "maintenance", "restart", "forbidden", "status", "slow"})
_HINDERS = _HINDERS_REST | {"drop", "delay", "reorder", "reject", "thin"}


class Log:
    """Keeps the bot's log lines; a test looks for secrets in them."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __getattr__(self, level: str) -> Any:
        return lambda event, **keys: self.lines.append(f"{level} {event} {keys}")


def _decimal(text: str) -> Any:
    from decimal import Decimal

    return Decimal(text)


# From outside


def play(story: Story, *, most: int = 20) -> Outcome:
    """Play a story; return what it showed. ``most``: so many violations end it early."""
    began_s = time.process_time()
    place = Path(tempfile.mkdtemp(prefix="sim-", dir=_ram()))
    try:
        with _determined(story.seed) as holds:
            world = World(story, place, most)
            holds.loop = world.loop
            asyncio.set_event_loop(world.loop)
            try:
                world.loop.run_until_complete(world.run())
            except asyncio.CancelledError:
                pass  # enough violations were seen
            except (Deadlock, BaseExceptionGroup, Exception) as error:
                if not hasattr(world, "seen"):
                    raise
                world.seen.broke(0, f"the simulation ended with {error!r}")
            outcome = _outcome(world, time.process_time() - began_s)
            loop = world.loop
            asyncio.set_event_loop(None)
            del world
            loop.bury()
            return outcome
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _outcome(world: World, cpu_s: float) -> Outcome:
    seen = world.seen
    for each in world.loop.errors:
        seen.broke(20, f"{each.get('message')}: {each.get('exception')!r}")
    return Outcome(
        seed=world.story.seed,
        digest=seen.digest.hexdigest(),
        violations=seen.violations,
        faults=world.faults,
        simulated_s=world.loop.now_s,
        cpu_s=cpu_s,
        facts={
            "starts": world.bot.starts,
            "ends": Counter(world.bot.ends),
            "orders": len(seen.sent),
            "executions": sum(1 for _ in seen.truth.executions()),
            "turns": world.loop.turns,
            "writes": world.writes,
            "acts": world.acts,
            "lost_bytes": world.disk.lost_bytes,
        },
    )


class _Holds:
    loop: SimLoop

    def steady_s(self) -> float:
        return self.loop.time()


@contextlib.contextmanager
def _determined(seed: int) -> Iterator[_Holds]:
    """Give third-party code a time and a chance of the simulation, where it has no seam for them."""
    holds = _Holds()
    state, thresholds = random.getstate(), gc.get_threshold()
    random.seed(seed)
    try:
        # aiohttp's connector compares the age of idle connections with the machine's time.
        with mock.patch("aiohttp.connector.monotonic", holds.steady_s), _nothing_freezes():
            yield holds
    finally:
        random.setstate(state)
        gc.set_threshold(*thresholds)


@contextlib.contextmanager
def _nothing_freezes() -> Iterator[None]:
    """Keep simulated processes from freezing objects: they share this process, and would free the rest.

    What they collect is young: all that a story made is walked over once, when it ends.
    """
    collect = gc.collect

    def young(generation: int = 1) -> int:
        return collect(min(generation, 1))

    with (
        mock.patch("gc.freeze", return_value=None),
        mock.patch("gc.unfreeze", return_value=None),
        mock.patch("gc.collect", young),
    ):
        yield


@contextlib.contextmanager
def only_stories_are_collected() -> Iterator[None]:
    """Keep what lives now out of the collector, which simulated processes call often: it may be a lot.

    Enter it while no story is played: what a story leaves must be found by the collector.
    """
    collect_all()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        collect_all()


def collect_all() -> None:
    """Throw away what nobody holds, without a word; a coroutine thrown away may make others while it ends."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        for _ in range(3):
            gc.collect()
    finally:
        sys.unraisablehook = hook


def _ram() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
