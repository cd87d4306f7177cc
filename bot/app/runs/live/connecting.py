"""Connects a run: the exchange's clock and rules, the feed, and the remote venue if there is one."""

import contextlib
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bot.adapters.net.public_rest import PublicRest, RequestPace, public_rest
from bot.adapters.net.signed_rest import signed_rest
from bot.adapters.net.stopwatch import Stopwatch
from bot.adapters.state.clock import FollowedClock
from bot.adapters.state.directory import HaltFile
from bot.app.machine import Machine
from bot.app.runs.live.plan import LivePlan
from bot.app.state.last_daemon import traded_before
from bot.app.venue.account import credentials, feed_url, observe
from bot.bybit.rate_limits import AddressBudget, RateLimiter
from bot.domain.errors import VenueError
from bot.domain.market import Instrument
from bot.domain.orders import Order
from bot.engine.core import Engine
from bot.ports import Clock
from bot.service.alarms.notes import Notes
from bot.service.halt import entry_block_now
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.adapters.feed.bybit import BybitFeed
    from bot.adapters.venue.bybit import BybitVenue

_REQUESTS_PER_S = 80.0
"""Bybit allows 120 an address; a warm-up of hundreds of symbols leaves room for orders."""
_MAX_CLOCK_OFF_MS = 2_000
"""With a larger difference between this clock and the feed's, every bar would count as late or early."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What feed, venue and all that runs beside them share.

    Args:
        machine: this machine.
        rng: the chance of this process.
        address: what one client is refused, all others of this process must know.
        rest: the public side of the feed's exchange.
        clock: the exchange's.
        stopwatch: measures how long messages take.
        notes: takes what happened: name and facts.
    """

    machine: Machine
    rng: random.Random
    address: AddressBudget
    rest: PublicRest
    clock: Clock
    stopwatch: Stopwatch
    notes: Notes


async def connect(open_: contextlib.AsyncExitStack, settings: Settings, machine: Machine, log: Any) -> Ground:
    """Reach the feed's exchange and learn its time.

    Raises:
        VenueError: nobody answers, or this machine's clock is wrong.
    """
    rng, address = machine.jitter(settings.seed), AddressBudget()
    pace = RequestPace(requests_per_second=_REQUESTS_PER_S, max_retries=3)
    rest = await open_.enter_async_context(
        public_rest(feed_url(settings), machine.wall, pace, rng, machine.connector, address)
    )
    clock = await _clock(settings, rest, machine)
    notes = Notes(log, clock.now_ms)
    open_.callback(notes.close)
    return Ground(
        machine=machine,
        rng=rng,
        address=address,
        rest=rest,
        clock=clock,
        stopwatch=Stopwatch(),
        notes=notes,
    )


async def _clock(settings: Settings, rest: PublicRest, machine: Machine) -> Clock:
    """Return the exchange's clock; for a real exchange this machine's clock must be about right, too.

    Raises:
        VenueError: nobody answers, or this machine's clock is wrong.
    """
    followed = FollowedClock(machine.time)
    await observe(rest, followed, feed_url(settings), is_local=settings.feed.kind == "local")
    if settings.feed.kind == "local":
        return followed
    off_ms = machine.wall.now_ms() - followed.now_ms()
    if abs(off_ms) > _MAX_CLOCK_OFF_MS:
        side = "ahead of" if off_ms > 0 else "behind"
        raise VenueError(
            f"this machine's clock is {abs(off_ms)} ms {side} the exchange's; set it, for example with NTP"
        )
    return followed


def make_feed(plan: LivePlan, ground: Ground) -> "BybitFeed":
    """Return the feed of a plan; it asks for nothing yet."""
    from bot.adapters.feed.bybit import BybitFeed
    from bot.adapters.feed.config import FeedConfig

    settings = plan.settings
    config = FeedConfig.of(
        settings.feed,
        local_url=settings.local.url,
        bars_before=plan.warmup_bars,
        from_ms=plan.from_ms,
        risk_tiers=True,
    )
    if settings.venue.kind not in ("paper", settings.feed.kind):  # orders obey the venue's rules alone
        config = replace(config, refresh_ms=0)
    config = replace(config, traded_before=traded_before(settings))
    ids = (f"f{number}" for number in itertools.count(1))
    return BybitFeed(
        config,
        ground.rest,
        ground.clock,
        ground.rng,
        ids,
        on_note=ground.notes,
        stopwatch=ground.stopwatch,
    )


async def read_rules(feed: "BybitFeed", settings: Settings, log: Any) -> Mapping[str, Instrument]:
    """Return the feed's rules; for paper the shipped ones if the feed's cannot be read.

    Raises:
        BadSettings: a symbol the exchange does not trade.
        VenueError: no answer.
    """
    from bot.adapters.files import shipped

    try:
        return await feed.prepare()
    except VenueError as error:
        known = shipped.instruments()
        if settings.venue.kind != "paper" or not all(symbol in known for symbol in feed.config.symbols):
            raise
        log.warning("shipped_rules_used", reason=str(error))
        feed.instruments = {symbol: known[symbol] for symbol in feed.config.symbols}
        return feed.instruments


async def make_remote(
    open_: contextlib.AsyncExitStack, plan: LivePlan, ground: Ground, engine: Engine, halt: HaltFile
) -> "BybitVenue | None":
    """Return the remote venue of a recovered engine; None for paper."""
    settings, machine = plan.settings, ground.machine
    if settings.venue.kind == "paper":
        return None
    from bot.adapters.venue.bybit import BybitVenue
    from bot.adapters.venue.config import VenueConfig

    config = replace(
        VenueConfig.of(settings),
        traded_before=traded_before(settings),
        lock_folder=machine.locks,
        holder=f"process {machine.pid}, state_dir {settings.state_dir.resolve()}",
    )
    rest = await open_.enter_async_context(
        signed_rest(
            config.urls.rest,
            credentials(settings),
            ground.clock,
            ground.rng,
            budget=RateLimiter(address=ground.address),
            policy=config.rest,
            connector=machine.connector,
        )
    )
    ids = (f"v{number}" for number in itertools.count(1))
    remote = BybitVenue(
        config,
        rest,
        ground.clock,
        ground.rng,
        ids,
        _Memory(engine),
        ground.stopwatch,
        on_note=ground.notes,
    )
    remote.known = engine.state.known_account
    # An entry may have waited for its turn while a halt came.
    remote.may_enter = lambda: entry_block_now(engine.state.breaker, halt) is None
    return remote


class _Memory:
    """``ports.OrderMemory``: what the recovered engine knows."""

    def __init__(self, engine: Engine) -> None:
        self._state = engine.state

    def orders(self) -> Mapping[str, Order]:
        """Return the live orders."""
        return self._state.orders.live

    def executions_seen_ms(self) -> int:
        """Return the time of the latest booked execution."""
        return max((sym.last_fill_ms for sym in self._state.symbols.values()), default=0)
