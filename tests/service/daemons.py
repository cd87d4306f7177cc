"""A daemon on a scripted feed and a venue in this process: what its tests are made of."""

import asyncio
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from bot.adapters.net.inbox import Inbox
from bot.adapters.net.stopwatch import Stopwatch
from bot.adapters.state.clock import ReplayClock
from bot.adapters.state.directory import HaltFile
from bot.adapters.state.disk import THIS_DISK, Disk
from bot.adapters.state.journal import JournalWriter
from bot.domain.messages import BarsClosed, Event, LinkDown, LinkUp, ProcessStarted, StartHalt
from bot.engine.core import Assignment, Engine
from bot.exchange.terms import Terms
from bot.exchange.venue import BarVenue
from bot.journal.entries import Header
from bot.logs import Redactor, make_logger
from bot.risk.limits import Limits
from bot.service.daemon import Daemon
from bot.service.daemon.parts import Parts
from bot.service.journaling import JournalKeeper, JournalParts
from bot.service.record import RunRecord
from bot.service.replaying import Replay
from bot.settings import DaemonSettings
from bot.strategy.shipped.baselines import BuyAndHold
from tests.helpers import T0, bar, instrument

WARM = 3
ARGUMENTS = msgspec.Raw(b'{"name":"bot1"}')
HEADER = Header(format=1, account="", segment=0, process=1, ts_ms=1, code="0", arguments=ARGUMENTS)


async def put_all(inbox: Inbox, events: Iterable[Event], clock: ReplayClock | None = None) -> None:
    """Put events one by one, each when the one before was taken."""
    for event in events:
        if clock is not None:
            clock.move_to(event.ts_ms)
        inbox.put(event)
        while len(inbox):  # noqa: ASYNC110
            await asyncio.sleep(0)


class Script:
    """A feed that puts what it is given, lets each be taken, and then waits for ever (or ends)."""

    def __init__(self, events: Iterable[Event], clock: ReplayClock, *, ends: bool = False) -> None:
        self._events = events
        self._clock = clock
        self._ends = ends

    async def run(self, inbox: Inbox) -> None:
        await put_all(inbox, self._events, self._clock)
        if not self._ends:
            await asyncio.Event().wait()


def bars(
    first: int, last: int, *, price: Callable[[int], float] = lambda _: 100.0, live: bool = True
) -> list[Event]:
    """Closes ``first`` to ``last - 1`` of one symbol."""
    made = [bar(index, price(index)) for index in range(first, last)]
    return [BarsClosed(each.close_ms, each.interval_ms, (each,), live=live) for each in made]


def story(live_bars: int = 5, **price: Any) -> list[Event]:
    """Warm-up, caught up, then live closes."""
    warm = bars(0, WARM, live=False, **price)
    at_ms = warm[-1].ts_ms
    return [
        LinkDown(warm[0].ts_ms, "feed"),
        *warm,
        LinkUp(at_ms, "feed"),
        *bars(WARM, WARM + live_bars, **price),
    ]


def later(first: int, closes: int) -> list[Event]:
    """Caught up at once, then live closes from the bar ``first`` on: what a restarted daemon sees."""
    live = bars(first, first + closes)
    return [LinkUp(live[0].ts_ms - 1, "feed"), *live]


def make_parts(
    place: Path, events: Iterable[Event], *, strategy: object = None, ends: bool = False, **changes: Any
) -> Parts:
    """Parts on ``place``; ``changes`` replace any of them."""
    clock = ReplayClock(1)
    rules = instrument()
    halt = HaltFile(place)
    limits = changes.pop("limits", Limits(max_daily_loss_frac=Decimal("0.9")))
    disk: Disk = changes.pop("disk", THIS_DISK)
    is_remote = changes.get("remote") is not None
    engine = Engine(
        [Assignment(rules, 300_000, strategy or BuyAndHold(), 11.0)],  # type: ignore[arg-type]
        Decimal(10_000),
        limits,
        name="bot1",
        awaits_account=is_remote,
    )
    venue = BarVenue({rules.symbol: rules}, Decimal(10_000), Terms())
    writer = JournalWriter(place / "journal" / ("local-1" if is_remote else "paper-1"), disk)
    last = writer.journal.last()
    if last is not None:  # go on as the program does
        snapshot = writer.journal.snapshot(last.header)
        assert snapshot is not None
        engine.restore(bytes(snapshot.engine))
        if snapshot.has_venue:
            venue.restore(bytes(snapshot.venue))
        Replay(engine, None if is_remote else venue, last.entries).run()
        writer.resume(last)
    process = 1 if last is None else last.header.process + 1
    keeping = JournalParts(
        writer=writer,
        header=msgspec.structs.replace(HEADER, process=process),
        venue_snapshot=None if is_remote else venue.snapshot,
        wall_s=lambda: T0 / 1000.0,
        history_closes=WARM,
    )
    values: dict[str, Any] = {
        "engine": engine,
        "feed": Script(events, clock, ends=ends),
        "venue": venue,
        "remote": None,
        "keeper": JournalKeeper(keeping, engine, Stopwatch()),
        "opening": (ProcessStarted(1, process, (StartHalt("operator"),) if halt.is_set() else ()),),
        "halt": halt,
        "clock": clock,
        "record": RunRecord(engine),
        "state_dir": place,
        "settings": DaemonSettings(stop_timeout_ms=1000),
        "log": make_logger(Redactor(), level="error"),
    }
    return Parts(**(values | changes))


def make(place: Path, events: Iterable[Event], **changes: Any) -> Daemon:
    """A daemon that has not begun."""
    return Daemon(make_parts(place, events, **changes))
