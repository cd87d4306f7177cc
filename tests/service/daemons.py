"""A daemon on a scripted feed and a venue in this process: what its tests are made of."""

import asyncio
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from bot.adapters.net.inbox import Inbox
from bot.adapters.state.clock import ReplayClock
from bot.adapters.state.directory import HaltFile
from bot.adapters.state.store import FileStore
from bot.domain.messages import BarsClosed, Event, LinkDown, LinkUp
from bot.engine.core import Assignment, Engine
from bot.exchange.terms import Terms
from bot.exchange.venue import BarVenue
from bot.logs import Redactor, make_logger
from bot.risk.limits import Limits
from bot.service.daemon import Daemon, Parts
from bot.service.halt import restored_breaker
from bot.service.record import RunRecord
from bot.settings import DaemonSettings
from bot.strategy.baselines import BuyAndHold
from tests.helpers import bar, instrument

WARM = 3


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


def make_parts(
    place: Path, events: Iterable[Event], *, strategy: object = None, ends: bool = False, **changes: Any
) -> Parts:
    """Parts on ``place``; ``changes`` replace any of them."""
    clock = ReplayClock(1)
    rules = instrument()
    store = changes.pop("store", None) or FileStore(place, "paper")
    halt = HaltFile(place)
    limits = changes.pop("limits", Limits(max_daily_loss_frac=Decimal("0.9")))
    starts = store.note_start(1)
    breaker = restored_breaker(store, halt, limits, starts=starts, starts_max=5, keep_levels=False)
    engine = Engine(
        [Assignment(rules, 300_000, strategy or BuyAndHold(), 11.0)],  # type: ignore[arg-type]
        Decimal(10_000),
        limits,
        breaker=breaker,
        name=f"bot{store.next_run()}",
        awaits_account=changes.get("remote") is not None,
    )
    venue = BarVenue({rules.symbol: rules}, Decimal(10_000), Terms())
    values: dict[str, Any] = {
        "engine": engine,
        "feed": Script(events, clock, ends=ends),
        "venue": venue,
        "remote": None,
        "store": store,
        "halt": halt,
        "clock": clock,
        "record": RunRecord(None, engine),
        "state_dir": place,
        "settings": DaemonSettings(stop_timeout_ms=1000),
        "log": make_logger(Redactor(), level="error"),
    }
    return Parts(**(values | changes))


def make(place: Path, events: Iterable[Event], **changes: Any) -> Daemon:
    """A daemon that has not begun."""
    return Daemon(make_parts(place, events, **changes))
