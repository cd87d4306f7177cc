"""The daemon between its feed and its venue: states, commands, stops, halts, ends that nobody asked for."""

import asyncio
import errno
import io
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from bot.adapters.net.inbox import Inbox
from bot.adapters.state.clock import ReplayClock
from bot.adapters.state.directory import HaltFile
from bot.adapters.state.disk import Disk, DiskFile
from bot.domain.account import AccountSnapshot
from bot.domain.errors import BotError, Broken, StoreFailed, VenueError
from bot.domain.ledger import Fill, fills_digest
from bot.domain.messages import (
    Event,
    Filled,
    LinkDown,
    LinkUp,
    MarketEvent,
    OrderAccepted,
    OrderRejected,
    PlaceOrder,
    Synced,
    VenueEffect,
    VenueEvent,
)
from bot.logs import Redactor, make_logger
from bot.service.commands import NoDaemon, ask
from bot.service.daemon import Daemon
from bot.service.daemon.parts import Ending
from bot.service.process.supervise import Stop, signals
from bot.settings import DaemonSettings
from bot.strategy.signal import Target, View
from tests.helpers import T0, bar, fill
from tests.service.daemons import WARM, Script, bars, later, make, make_parts, put_all, story


@asynccontextmanager
async def running(daemon: Daemon) -> AsyncIterator[asyncio.Task[Ending]]:
    task = asyncio.create_task(daemon.run())
    try:
        await until(lambda: daemon.totals.last_ms > bar(WARM - 1).close_ms or task.done())
        yield task
    finally:
        daemon.stop("test")
        await asyncio.wait([task])


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def said(place: Path, command: str) -> dict[str, object]:
    return await asyncio.to_thread(ask, place, command)


async def test_it_warms_trades_and_says_so(tmp_path: Path) -> None:
    daemon = make(tmp_path, story(5))
    async with running(daemon) as task:
        await until(lambda: daemon.totals.closes == 5)
        told = await said(tmp_path, "status")
        assert told["state"] == "trading"
        assert told["bars"] == 5
        assert told["fills"] == 1
        (position,) = told["positions"]  # type: ignore[misc]
        assert position["symbol"] == "BTCUSDT"
        daemon.stop("enough")
        ending = await task
    assert ending.reason == "enough"
    lines = [line for line in daemon._parts.record.lines if line["kind"] == "fill"]
    fills = [msgspec.convert(line, Fill, strict=False) for line in lines]
    assert len(fills) == 1
    assert ending.status["fills_sha256"] == fills_digest(fills)


class FromBar:
    """Asks for a position in each bar of an index at or above ``first``."""

    def __init__(self, first: int) -> None:
        self.first_ms = bar(first).start_ms

    def on_bar(self, view: View) -> Target | None:
        return Target(1.0) if view.bar.start_ms >= self.first_ms else None


@pytest.mark.parametrize(("first", "dropped"), [(0, WARM), (WARM - 3, 3), (WARM, 0)])
async def test_positions_asked_for_in_the_warm_up_are_told_once_by_name_and_count(
    tmp_path: Path, first: int, dropped: int
) -> None:
    stream = io.StringIO()
    log = make_logger(Redactor(), form="json", stream=stream)
    identity = {"strategy": "mine:FromBar"}
    daemon = make(tmp_path, story(5), strategy=FromBar(first), log=log, identity=identity)
    async with running(daemon):
        await until(lambda: daemon.totals.closes == 5)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    told = [
        (each["strategy"], each["targets"]) for each in lines if each["event"] == "warm_up_targets_dropped"
    ]
    assert told == ([("mine:FromBar", dropped)] if dropped else [])


async def test_what_an_earlier_process_dropped_is_not_told_again(tmp_path: Path) -> None:
    async with running(make(tmp_path, story(5), strategy=FromBar(0))) as task:
        await asyncio.sleep(0)
    await task
    stream = io.StringIO()
    log = make_logger(Redactor(), form="json", stream=stream)
    again = make(tmp_path, later(WARM + 5, 3), strategy=FromBar(0), log=log)
    assert again.engine.state.refusals["catching_up"] == WARM
    async with running(again):
        await until(lambda: again.readiness.started and again.totals.closes)
    assert "trading" in stream.getvalue()
    assert "warm_up_targets_dropped" not in stream.getvalue()


@pytest.mark.fault(12)
async def test_nothing_is_traded_before_it_has_caught_up(tmp_path: Path) -> None:
    daemon = make(tmp_path, bars(0, 5, live=False))
    task = asyncio.create_task(daemon.run())
    await until(lambda: daemon.totals.last_ms)
    assert (await said(tmp_path, "status"))["state"] == "warming"
    daemon.stop("test")
    await task
    assert daemon.totals.orders == 0


async def test_a_pause_holds_entries_back_and_outlives_the_process(tmp_path: Path) -> None:
    gate = asyncio.Event()

    class Held:
        async def run(self, inbox: Inbox) -> None:
            await put_all(inbox, story(1)[:-1])
            await gate.wait()
            await put_all(inbox, bars(WARM, WARM + 3))
            await asyncio.Event().wait()

    daemon = make(tmp_path, [], feed=Held())
    task = asyncio.create_task(daemon.run())
    await until(lambda: daemon.readiness.started)
    assert (await said(tmp_path, "pause"))["state"] == "paused"
    gate.set()
    await until(lambda: daemon.totals.closes == 3)
    assert daemon.totals.orders == 0
    daemon.stop("test")
    await task
    again = make(tmp_path, later(WARM + 3, 3))
    async with running(again):
        await until(lambda: again.totals.closes == 3)
        assert again.totals.orders == 0
        assert (await said(tmp_path, "resume"))["state"] == "trading"


@pytest.mark.fault(56)
async def test_kill_halts_for_good_and_unhalt_lifts_it(tmp_path: Path) -> None:
    daemon = make(tmp_path, story(2))
    async with running(daemon):
        await until(lambda: daemon.totals.closes == 2)
        told = await said(tmp_path, "kill")
        assert (told["state"], told["halt_reason"], told["survivors"]) == ("halted", "operator", [])
    again = make(tmp_path, later(WARM + 2, 3))
    async with running(again):
        await until(lambda: again.totals.closes == 3)
        assert again.totals.orders == 0
        assert (await said(tmp_path, "unhalt"))["state"] == "trading"
        assert not HaltFile(tmp_path).is_set()


async def test_kill_halts_though_the_disk_does_not_take_the_halt_file(tmp_path: Path) -> None:
    def full(path: Path) -> DiskFile:
        raise OSError(28, "No space left on device")

    daemon = make(tmp_path, story(2), halt=HaltFile(tmp_path, Disk(append=full)))
    async with running(daemon):
        await until(lambda: daemon.totals.closes == 2)
        told = await said(tmp_path, "kill")
        assert (told["state"], told["halt_reason"]) == ("halted", "operator")


async def test_a_halt_stays_and_says_why_if_the_disk_keeps_its_file(tmp_path: Path) -> None:
    def broken(path: Path) -> None:
        raise OSError(5, "Input/output error")

    HaltFile(tmp_path).set()
    daemon = make(tmp_path, story(2), halt=HaltFile(tmp_path, Disk(remove=broken)))
    async with running(daemon):
        await until(lambda: daemon.totals.closes == 2)
        with pytest.raises(BotError, match=r"the halt stays: .*Input/output error"):
            await said(tmp_path, "unhalt")
        assert (await said(tmp_path, "status"))["state"] == "halted"


async def test_flatten_closes_what_is_open(tmp_path: Path) -> None:
    more = asyncio.Event()

    class Held:
        async def run(self, inbox: Inbox) -> None:
            await put_all(inbox, story(3))
            await more.wait()
            await put_all(inbox, bars(WARM + 3, WARM + 4))
            await asyncio.Event().wait()

    daemon = make(tmp_path, [], feed=Held())
    async with running(daemon):
        await until(lambda: daemon.totals.fills == 1)
        assert (await said(tmp_path, "flatten"))["state"] == "paused"
        more.set()
        await until(lambda: daemon.totals.fills == 2)
        assert (await said(tmp_path, "status"))["positions"] == []


@pytest.mark.fault(56)
async def test_a_halt_file_stops_an_order_on_its_way_and_a_running_daemon(tmp_path: Path) -> None:
    parts = make_parts(tmp_path, story(3))
    parts.halt.set()  # after the start read it, before the first order
    daemon = Daemon(parts)
    async with running(daemon):
        await until(lambda: daemon.totals.closes == 3)
        await until(lambda: daemon.status()["state"] == "halted")
    assert daemon.totals.orders == 1
    assert daemon.totals.fills == 0
    assert any(line["kind"] == "order_rejected" for line in parts.record.lines)


class SlowStep:
    """Wants to be long; each decision makes the clock or the machine lose time."""

    def __init__(self, lose: Callable[[], None]) -> None:
        self._lose = lose

    def on_bar(self, view: View) -> Target:
        self._lose()
        return Target(1.0)


@pytest.mark.fault(82)
@pytest.mark.fault(82)
@pytest.mark.invariant(11)
@pytest.mark.parametrize(("seconds", "leaves"), [(14, True), (17, False)])
async def test_an_order_that_leaves_long_after_its_step_began_is_judged_by_its_age_then(
    tmp_path: Path, seconds: int, leaves: bool
) -> None:
    clock = ReplayClock(1)
    step = SlowStep(lambda: clock.move_to(clock.now_ms() + seconds * 1000))
    daemon = make(tmp_path, [], strategy=step, clock=clock, feed=Script(story(1), clock))
    async with running(daemon):
        await until(lambda: daemon.totals.closes == 1)
        assert daemon.totals.orders == 1
        assert len(daemon.engine.state.orders.live) == (1 if leaves else 0)
    words = [line["reason"] for line in daemon._parts.record.lines if line["kind"] == "order_rejected"]
    assert words == ([] if leaves else ["stale_signal: 17000 ms after its close, at most 15000 ms"])


@pytest.mark.fault(69)
@pytest.mark.fault(69, 82)
async def test_the_entries_of_a_step_beyond_its_bound_are_dropped(tmp_path: Path) -> None:
    step = SlowStep(lambda: time.sleep(0.05))
    settings = DaemonSettings(stop_timeout_ms=1000, max_step_ms=10)
    daemon = make(tmp_path, story(2), strategy=step, settings=settings)
    async with running(daemon):
        await until(lambda: daemon.totals.closes == 2)
        told = daemon.status()
    assert (told["orders"], told["fills"], told["steps_cut"]) == (2, 0, 2)
    assert told["step_us"]["max"] > 50_000  # type: ignore[index]


async def test_in_a_quiet_market_the_clock_alone_sends_a_refused_exit_again(tmp_path: Path) -> None:
    class RefusesExits(Remote):
        def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
            if isinstance(effect, PlaceOrder) and effect.intent.reduce_only and self.refuse:
                self.sent.append(effect)
                self._told.put_nowait(OrderRejected(clock.now_ms(), effect.order_id, 10001, "no"))
                return ()
            return super().submit(effect)

        refuse = True

    class InAndOut:
        def on_bar(self, view: View) -> Target | None:
            return Target(0.0) if view.position else Target(1.0)

    class Feed:
        async def run(self, inbox: Inbox) -> None:
            await put_all(inbox, story(1), clock)
            await until(lambda: daemon.engine.state.open)
            await put_all(inbox, bars(WARM + 1, WARM + 2), clock)
            await asyncio.Event().wait()

    clock = ReplayClock(1)
    venue = RefusesExits()
    daemon = make(tmp_path, [], strategy=InAndOut(), venue=venue, remote=venue, clock=clock, feed=Feed())
    async with running(daemon):
        for tries in range(1, 5):
            await until(lambda: daemon.engine.state.due_ms() and len(venue.sent) == 1 + tries)  # noqa: B023
            assert daemon.engine.state.symbols["BTCUSDT"].position.qty == 1
            venue.refuse = tries < 4
            clock.move_to(daemon.engine.state.due_ms() or 0)
        await until(lambda: not daemon.engine.state.open)
        assert daemon.engine.state.due_ms() is None
        assert daemon.totals.closes == 2


@pytest.mark.fault(68)
async def test_a_feed_that_ends_ends_the_process(tmp_path: Path) -> None:
    daemon = make(tmp_path, story(2), ends=True)
    with pytest.raises(Broken, match="feed ended although nobody asked it to"):
        await asyncio.wait_for(daemon.run(), 5)


@pytest.mark.fault(68)
@pytest.mark.invariant(20)
@pytest.mark.parametrize("part", ["feed", "remote"])
async def test_a_part_that_fails_ends_the_process_with_its_words_and_code(tmp_path: Path, part: str) -> None:
    class Fails:
        async def run(self, inbox: Inbox) -> None:
            await asyncio.sleep(0.01)
            raise VenueError("the exchange knows no FOOUSDT; check feed.symbols")

    daemon = make(tmp_path, story(1), **{part: Fails()})
    with pytest.raises(VenueError, match="knows no FOOUSDT") as caught:
        await daemon.run()
    assert caught.value.exit_code == 4


@pytest.mark.fault(68)
@pytest.mark.invariant(20)
async def test_a_bug_in_a_task_is_not_silence(tmp_path: Path) -> None:
    class Bug:
        async def run(self, inbox: Inbox) -> None:
            await asyncio.sleep(0)
            raise ZeroDivisionError("a bug")

    daemon = make(tmp_path, [], feed=Bug())
    with pytest.raises(ZeroDivisionError):
        await daemon.run()
    with pytest.raises(NoDaemon):
        await said(tmp_path, "status")


class Remote:
    """A venue elsewhere that accepts and fills at once, or only notes what it was sent."""

    def __init__(self, *, fills: bool = True) -> None:
        self.sent: list[VenueEffect] = []
        self._fills = fills
        self._told: asyncio.Queue[Event] = asyncio.Queue()

    def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
        self.sent.append(effect)
        if self._fills and isinstance(effect, PlaceOrder):
            at_ms, intent = effect.intent.decided_ms, effect.intent
            self._told.put_nowait(OrderAccepted(at_ms, effect.order_id))
            name = effect.order_id
            done = fill(intent.side, str(intent.qty), "100", order_id=name, exec_id=name, ts_ms=at_ms)
            self._told.put_nowait(Filled(done))
        return ()

    def advance(self, event: MarketEvent) -> Sequence[VenueEvent]:
        return ()

    async def run(self, inbox: Inbox) -> None:
        inbox.put(Synced(T0, AccountSnapshot(Decimal(10_000)), first=True))
        inbox.put(LinkUp(T0, "venue"))
        while True:
            inbox.put(await self._told.get())


async def test_an_order_is_on_disk_before_it_leaves(tmp_path: Path) -> None:
    seen: list[bool] = []
    synced: list[int] = []

    class Looks(Remote):
        def submit(self, effect: VenueEffect) -> Sequence[VenueEvent]:
            text = (tmp_path / "journal/local-1/000001.jsonl").read_bytes()
            assert isinstance(effect, PlaceOrder)
            seen.append(f'"order_id":"{effect.order_id}"'.encode() in text[: synced[-1]])
            return super().submit(effect)

    class Synced(DiskFile):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self._path = path

        def sync(self) -> None:
            super().sync()
            synced.append(self._path.stat().st_size)

    venue = Looks()
    daemon = make(tmp_path, story(3), venue=venue, remote=venue, disk=Disk(append=Synced))
    async with running(daemon):
        await until(lambda: daemon.totals.fills == 1)
    assert seen == [True]


@pytest.mark.fault(63, 64)
async def test_what_the_journal_cannot_keep_is_not_sent_and_ends_the_process_halted(tmp_path: Path) -> None:
    class Full(DiskFile):
        def write(self, data: bytes) -> int:
            if b'"PlaceOrder"' in data:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    cleared: list[str] = []

    async def clear() -> list[str]:
        cleared.append("asked")
        return []

    venue = Remote()
    daemon = make(tmp_path, story(3), venue=venue, remote=venue, disk=Disk(append=Full), clear=clear)
    with pytest.raises(StoreFailed, match="No space left"):
        await daemon.run()
    assert [each for each in venue.sent if isinstance(each, PlaceOrder)] == []
    assert cleared == ["asked"]  # resting entries are taken back all the same
    assert HaltFile(tmp_path).is_set()


async def test_a_remote_venue_is_recovering_until_its_account_is_read(tmp_path: Path) -> None:
    class Slow(Remote):
        async def run(self, inbox: Inbox) -> None:
            await asyncio.Event().wait()

    venue = Slow()
    daemon = make(tmp_path, story(3), venue=venue, remote=venue)
    async with running(daemon):
        await until(lambda: daemon.totals.last_ms == bar(WARM + 2).close_ms)
        assert daemon.status()["state"] == "recovering"
        assert daemon.totals.closes == 0
    assert venue.sent == []


async def test_a_stop_can_flatten_first(tmp_path: Path) -> None:
    venue = Remote()
    daemon = make(
        tmp_path,
        story(3),
        venue=venue,
        remote=venue,
        settings=DaemonSettings(on_stop="flatten", stop_timeout_ms=2000),
    )
    async with running(daemon):
        await until(lambda: daemon.totals.fills == 1)
        daemon.stop("test")
        await until(lambda: daemon.totals.fills == 2 or daemon.engine.state.open == ())
    assert daemon.engine.state.open == ()


async def test_a_stop_leaves_in_time_though_positions_stay(tmp_path: Path) -> None:
    venue = Remote(fills=False)
    daemon = make(
        tmp_path,
        story(3),
        venue=venue,
        remote=venue,
        settings=DaemonSettings(on_stop="flatten", stop_timeout_ms=500),
    )
    async with asyncio.timeout(3), running(daemon):
        await until(lambda: venue.sent)
    assert daemon.status()["open_orders"]


@pytest.mark.fault(43)
async def test_bars_that_waited_for_a_slow_start_are_history(tmp_path: Path) -> None:
    class Flood:
        async def run(self, inbox: Inbox) -> None:
            for event in story(200):
                inbox.put(event)
            time.sleep(0.15)  # noqa: ASYNC251 (the loop was busy with the warm-up)
            await asyncio.Event().wait()

    daemon = make(tmp_path, [], feed=Flood())
    async with running(daemon):
        await until(lambda: daemon.totals.last_ms == bar(WARM + 199).close_ms)
        assert daemon.totals.closes < 200
        assert daemon.totals.orders <= 1


async def test_a_close_is_as_old_as_it_is_when_it_is_taken(tmp_path: Path) -> None:
    parts = make_parts(tmp_path, story(2))
    daemon = Daemon(parts)
    async with running(daemon):
        await until(lambda: daemon.totals.closes == 2)
        parts.clock.move_to(bar(WARM + 2).close_ms + 60_000)  # type: ignore[attr-defined]
        daemon.inbox.put(bars(WARM + 2, WARM + 3)[0])
        await until(lambda: daemon.totals.closes == 3)
        assert daemon.engine.state.now_ms == bar(WARM + 2).close_ms + 60_000


async def test_it_ends_after_the_bars_it_was_told(tmp_path: Path) -> None:
    daemon = make(tmp_path, story(9), bars_max=4)
    ending = await daemon.run()
    assert ending.reason == "bars"
    assert 4 <= daemon.totals.closes <= 9


@pytest.mark.fault(69)
async def test_a_loop_that_stood_still_enters_nothing_before_the_next_close(tmp_path: Path) -> None:
    daemon = make(tmp_path, story(2))
    async with running(daemon):
        await until(lambda: daemon.totals.closes == 2)
        daemon._on_turn(6.0)
        await until(lambda: "link_down: stall" in daemon.engine.state.breaker.reducing)
        daemon.inbox.put(bars(WARM + 2, WARM + 3)[0])
        await until(lambda: daemon.engine.state.breaker.state == "active")


async def test_a_daemon_without_data_does_not_call_itself_trading(tmp_path: Path) -> None:
    daemon = make(tmp_path, story(2))
    async with running(daemon):
        await until(lambda: daemon.totals.closes == 2)
        assert (daemon.status()["state"], daemon.status()["readiness"]) == ("trading", "trading")
        daemon.inbox.put(LinkDown(bar(WARM + 1).close_ms, "feed"))
        await until(lambda: daemon.status()["readiness"] == "feed_down")
        assert daemon.status()["state"] == "reducing"
        assert daemon.status()["held_back_by"] == ["link_down: feed"]
        daemon._on_turn(6.0)
        await until(lambda: daemon.status()["state"] == "stalled")
        daemon.inbox.put(LinkUp(bar(WARM + 1).close_ms, "feed"))
        daemon.inbox.put(bars(WARM + 2, WARM + 3)[0])
        await until(lambda: daemon.status()["state"] == "trading")
        daemon.stop("enough")
        await until(lambda: daemon.status()["state"] == "stopping")


@pytest.mark.fault(73)
async def test_a_machine_that_slept_trades_on_nothing_that_waited_meanwhile(tmp_path: Path) -> None:
    now_ms, told = [1_000_000], [0]

    def on_stall() -> None:
        told[0] += 1

    parts = make_parts(tmp_path, story(2))
    daemon = Daemon(replace(parts, wall_ms=lambda: now_ms[0], on_stall=on_stall))
    async with running(daemon):
        await until(lambda: daemon.totals.closes == 2 and daemon._turned is not None)
        now_ms[0] += 600_000  # the loop's own clock slept, too
        daemon.inbox.put(bars(WARM + 2, WARM + 3)[0])
        await until(lambda: "link_down: stall" in daemon.engine.state.breaker.reducing)
        assert daemon.totals.closes == 2  # the close was no live one
        assert told == [1]
        await asyncio.sleep(0.3)  # the loop turns
        daemon.inbox.put(bars(WARM + 3, WARM + 4)[0])
        await until(lambda: daemon.engine.state.breaker.state == "active")
        assert daemon.totals.closes == 3


async def test_the_status_is_json_without_nan_from_the_first_moment(tmp_path: Path) -> None:
    daemon = make(tmp_path, [])
    task = asyncio.create_task(daemon.run())
    await asyncio.sleep(0.01)
    text = json.dumps(await said(tmp_path, "status"), allow_nan=False)
    keys = ("state", "halt_reason", "equity", "positions", "open_orders", "unknown_orders", "last_bar_ms")
    assert all(key in json.loads(text) for key in keys)
    daemon.stop("test")
    await task


async def test_the_record_has_bars_intents_orders_and_fills(tmp_path: Path) -> None:
    parts = make_parts(tmp_path, story(3))
    daemon = Daemon(parts)
    async with running(daemon):
        await until(lambda: daemon.totals.closes == 3)
    kinds = [line["kind"] for line in parts.record.lines]
    assert kinds.count("bars") == WARM + 3
    for kind in ("intent", "order", "fill", "link_down", "link_up", "risk"):
        assert kind in kinds, kind
    (done,) = (line for line in parts.record.lines if line["kind"] == "fill")
    assert str(done["order_id"]).startswith("bot1-")


async def test_a_signal_ends_it_cleanly(tmp_path: Path) -> None:
    before, stop = signal.getsignal(signal.SIGTERM), Stop()
    daemon = make(tmp_path, story(2), stop=stop)
    with signals(stop, 5000):
        task = asyncio.create_task(daemon.run())
        await until(lambda: daemon.totals.closes == 2)
        os.kill(os.getpid(), signal.SIGTERM)
        assert (await task).reason == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0.0


class Forgetful:
    """Holds 1; cannot say what it remembers once ``broken``."""

    broken = False

    def on_bar(self, view: View) -> Target | None:
        return Target(1.0)

    def state(self) -> object:
        if self.broken:
            raise KeyError("memory")
        return None

    def restore(self, state: object) -> None: ...


async def test_a_strategy_that_cannot_be_kept_ends_no_daemon_and_is_stopped(tmp_path: Path) -> None:
    strategy = Forgetful()
    daemon = make(tmp_path, story(3), strategy=strategy)
    async with running(daemon) as task:
        await until(lambda: daemon.totals.closes == 3)
        strategy.broken = True
        daemon.stop("enough")
        assert (await task).reason == "enough"
    (alert,) = [each for each in daemon.alarms.recent if each.name == "strategy_stopped"]
    assert "test_daemon.py:" in alert.words
    assert "KeyError: 'memory' (Forgetful.state for BTCUSDT" in alert.words
    again = make(tmp_path, later(WARM + 3, 2), strategy=Forgetful())
    async with running(again):
        await until(lambda: again.totals.closes == 2)
        assert (await said(tmp_path, "status"))["state"] == "reducing"
