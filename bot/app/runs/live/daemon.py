"""Wires the daemon: a plan, a feed, a venue and the state that the journal holds become one run.

``plan`` chooses, ``recovery`` says with which state a process begins, ``run`` connects and trades. These
files decide which objects are used. No module below them knows a mode such as paper or live.
"""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import bot
from bot.adapters.net.public_rest import PublicRest, RequestPace, follow, public_rest
from bot.adapters.net.signed_rest import signed_rest
from bot.adapters.net.stopwatch import Stopwatch
from bot.adapters.state.account_lock import runtime_folder
from bot.adapters.state.alive import SignOfLife, beating
from bot.adapters.state.clock import FollowedClock
from bot.adapters.state.directory import HaltFile, StateDir
from bot.app.machine import Machine
from bot.app.notify import make_messenger
from bot.app.page import page_beside
from bot.app.runs.live.arguments import arguments_of
from bot.app.runs.live.plan import LivePlan
from bot.app.runs.live.recovery import Standing, account_folder, order_name, take_over
from bot.app.runs.live.scheduled import retraining_of
from bot.app.runs.live.successors import begin_with
from bot.app.state.last_daemon import note_daemon, traded_before
from bot.app.venue.account import credentials, feed_url, observe
from bot.bybit.rate_limits import AddressBudget, RateLimiter
from bot.domain.alerts import Alert
from bot.domain.errors import VenueError
from bot.domain.market import Instrument
from bot.domain.messages import Candle
from bot.domain.orders import Order
from bot.engine.core import Engine
from bot.ports import Clock, OrderMemory, Recorder, Venue
from bot.service.alarms.notes import Notes
from bot.service.daemon import Daemon
from bot.service.daemon.older_segments import OlderSegments
from bot.service.daemon.parts import Ending, Parts
from bot.service.halt import entry_block_now
from bot.service.journaling import JournalKeeper, JournalParts
from bot.service.process.notify import Notifier
from bot.service.process.resources import resources
from bot.service.process.supervise import Stop, signals
from bot.service.views.glance import Glance, glances
from bot.settings import Settings

if TYPE_CHECKING:
    from bot.adapters.feed.bybit import BybitFeed
    from bot.adapters.venue.bybit import BybitVenue
    from bot.app.context import Context
    from bot.app.runs.live.succession import Succession

_REQUESTS_PER_S = 80.0
"""Bybit allows 120 an address; a warm-up of hundreds of symbols leaves room for orders."""
_MAX_CLOCK_OFF_MS = 2_000
"""With a larger difference between this clock and the feed's, every bar would count as late or early."""


@dataclass(frozen=True)
class Watcher:
    """A person at the terminal.

    ``show`` gets a glance once a second, ``on_page`` the page's address, ``on_alert`` each alert.
    """

    show: Callable[[Glance], None] | None = None
    on_page: Callable[[str], None] | None = None
    on_alert: Callable[[Alert], None] | None = None

    def sound(self, alert: Alert) -> None:
        """``ports.Alarm``."""
        if self.on_alert is not None:
            self.on_alert(alert)


NO_DRIFT_REFERENCE = "what its training data looked like is not known; `bot train` and `bot.fit` keep it"
RecorderOf = Callable[[Engine], Recorder]


def run(
    context: "Context", plan: LivePlan, record: RecorderOf | None = None, watcher: Watcher | None = None
) -> Ending:
    """Run the daemon until it is stopped; meanwhile the state directory is locked.

    ``record`` makes a recorder that sees the run beside the journal.

    Raises:
        BotError: the error that ended it, or kept it from starting.
        KeyboardInterrupt: stopped by SIGINT before it had begun.
    """
    locked = StateDir(plan.settings.state_dir)
    try:
        context.log_to_file()
        return asyncio.run(_until_stopped(context, plan, record, watcher))
    finally:
        locked.close()


async def _until_stopped(
    context: "Context", plan: LivePlan, record: RecorderOf | None, watcher: Watcher | None
) -> Ending:
    """Handle signals from before the first connection on."""
    stop = Stop()
    with signals(stop, plan.settings.daemon.stop_timeout_ms):
        running = asyncio.ensure_future(live(context, plan, stop, record=record, watcher=watcher))
        asked = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((running, asked), return_when=asyncio.FIRST_COMPLETED)
            if not running.done() and not stop.heeded:  # it was still connecting
                running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                return await running
            return Ending(stop.reason or "failed", {"state": "starting", "bars": 0})
        finally:
            asked.cancel()


async def live(
    context: "Context",
    plan: LivePlan,
    stop: Stop,
    machine: Machine | None = None,
    *,
    record: RecorderOf | None = None,
    watcher: Watcher | None = None,
) -> Ending:
    """Run the daemon on ``machine`` (None: this one) until ``stop``; the caller holds the state directory.

    Raises:
        BotError: the error that ended it, or kept it from starting.
    """
    machine = machine or Machine(locks=runtime_folder())
    settings, log = plan.settings, context.log
    rng = machine.jitter(settings.seed)
    halt = HaltFile(settings.state_dir, machine.disk)
    consumers: list[Daemon] = []  # one that hangs must not look alive from outside
    address = AddressBudget()  # of this process: what one client is refused, all others must know
    async with contextlib.AsyncExitStack() as open_:
        sign = SignOfLife(settings.state_dir, machine.pid)
        await open_.enter_async_context(beating(sign, lambda: not any(each.is_stuck for each in consumers)))
        pace = RequestPace(requests_per_second=_REQUESTS_PER_S, max_retries=3)
        rest = await open_.enter_async_context(
            public_rest(feed_url(settings), machine.wall, pace, rng, machine.connector, address)
        )
        clock = await _clock(settings, rest, machine)
        stopwatch = Stopwatch()
        notes = Notes(log, clock.now_ms)
        open_.callback(notes.close)
        plan, trouble = begin_with(plan, account_folder(plan))
        feed = _feed(plan, rest, clock, rng, notes, stopwatch)
        instruments = await _instruments(feed, settings, log)
        name = order_name(settings.venue.prefix, account_folder(plan))
        standing = take_over(
            plan,
            arguments_of(plan, dict(instruments), clock, name),
            now_ms=clock.now_ms(),
            wall_ms=machine.wall.now_ms(),
            halted_by_file=halt.is_set(),
            disk=machine.disk,
        )
        open_.callback(standing.writer.close)
        engine = standing.engine
        for note, facts in standing.notes:
            log.info(note, **facts)
        if plan.model is not None and plan.model.drift is None:
            log.info("drift_unknown", model_hash=plan.model.hash, reason=NO_DRIFT_REFERENCE)
        succession = _succession(plan, standing, rest, notes, trouble)
        from_ms = _read_from_ms(plan, standing, clock)
        feed.config = replace(feed.config, from_ms=from_ms, seen_ms=standing.seen_ms)
        budget = RateLimiter(address=address)
        remote = await _remote(open_, plan, clock, rng, _Memory(engine), notes, stopwatch, machine, budget)
        venue: Venue | None = remote if remote is not None else standing.venue
        assert venue is not None, "a plan has a venue of one kind or the other"
        if remote is not None:  # an entry may have waited for its turn while a halt came
            remote.known = engine.state.known_account
            remote.may_enter = lambda: entry_block_now(engine.state.breaker, halt) is None
        identity = _identity(plan, standing, machine, clock)
        note_daemon(settings, identity)
        messenger = make_messenger(
            settings, standing.writer.journal.folder, pid=machine.pid, log=log, redact=context.redactor
        )
        if messenger is not None:
            messenger.start()
            open_.push_async_callback(messenger.close)
        watcher = watcher or Watcher()
        older = OlderSegments(standing.writer.journal, standing.writer.end.segment, notes)
        others = {**_others(context, plan, rest, clock, watcher), "older segments": older.run}
        if succession is not None:
            others["succession"] = succession.run
        retraining = retraining_of(
            plan,
            log=log,
            clock=clock,
            disk=machine.disk,
            note=notes,
            may_begin=lambda: consumers[0].readiness.started and consumers[0].may_glance(),
            is_stopping=lambda: stop.reason is not None,
            is_rolled_back=lambda model: succession is not None and succession.is_rolled_back(model),
        )
        if retraining is not None:
            others["retraining"] = retraining.run
        if watcher.show is not None:
            others["glances"] = glances(lambda: consumers[0], watcher.show, log)
        daemon = Daemon(
            Parts(
                engine=engine,
                feed=feed,
                venue=venue,
                remote=remote,
                keeper=JournalKeeper(_journal_parts(plan, standing, machine), engine, stopwatch),
                opening=standing.opening,
                quarantined=standing.quarantined,
                halt=halt,
                clock=clock,
                record=record(engine) if record is not None else None,
                state_dir=settings.state_dir,
                settings=settings.daemon,
                log=log,
                redact=context.redactor,
                identity=identity,
                facts=lambda: {
                    **_facts(feed, remote),
                    **older.facts(),
                    **context.log_facts(),
                    **(messenger.facts() if messenger is not None else {}),
                    **(succession.facts() if succession is not None else {}),
                    **(retraining.facts() if retraining is not None else {}),
                },
                after=succession.after if succession is not None else lambda event: None,
                others=others,
                # Without quotes marks are closes: an open candle must not move one before its time.
                passed_over=(Candle,) if settings.feed.quotes == "none" else (),
                clear=remote.clear if remote is not None else None,
                notifier=Notifier(machine.environ, machine.pid),
                quiet_every_ms=settings.journal.quiet_every_ms,
                duration_s=plan.duration_s,
                bars_max=plan.bars_max,
                stop=stop,
                stopwatch=stopwatch,
                wall_ms=machine.wall.now_ms,
                on_stall=remote.look_again if remote is not None else lambda: None,
                ended_before=standing.ended_before,
                alarms=(watcher, *((messenger,) if messenger is not None else ())),
            )
        )
        notes.heard_by(daemon.alarms)
        consumers.append(daemon)
        if settings.venue.kind == "testnet":
            log.warning("testnet_pnl", meaning="none: testnet prices are not the market")
        return await daemon.run()


def _succession(
    plan: LivePlan, standing: Standing, rest: PublicRest, notes: Notes, trouble: str
) -> "Succession | None":
    """Return the way of promoted models into this run; None without a model that could be retrained."""
    if plan.base is None:
        return None
    from bot.app.runs.live.succession import Succession

    return Succession(standing.engine, plan, rest, standing.header.arguments, notes, trouble)


def _read_from_ms(plan: LivePlan, standing: Standing, clock: Clock) -> int | None:
    """Return the first candle to read: the one after the last bar that the recovered state has seen.

    None reads the whole warm-up: the state is fresh, or has slept for longer than a warm-up lasts.
    """
    seen_ms = min(standing.seen_ms.values())
    if plan.from_ms is not None or not seen_ms:
        return plan.from_ms
    step = plan.interval_ms
    warm_up_ms = clock.now_ms() // step * step - plan.warmup_bars * step
    return seen_ms if seen_ms > warm_up_ms else None


def _journal_parts(plan: LivePlan, standing: Standing, machine: Machine) -> JournalParts:
    chosen = plan.settings.journal
    return JournalParts(
        writer=standing.writer,
        header=standing.header,
        venue_snapshot=standing.venue.snapshot if standing.venue is not None else None,
        history_closes=plan.warmup_bars,
        history=standing.history,
        segment_bytes=chosen.segment_bytes,
        keep_bytes=chosen.keep_bytes,
        keep_days=chosen.keep_days,
        wall_s=lambda: machine.wall.now_ms() / 1000.0,
        disk=machine.disk,
    )


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


def _feed(
    plan: LivePlan, rest: PublicRest, clock: Clock, rng: random.Random, notes: Notes, stopwatch: Stopwatch
) -> "BybitFeed":
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
        rest,
        clock,
        rng,
        ids,
        on_note=notes,
        stopwatch=stopwatch,
    )


async def _instruments(feed: "BybitFeed", settings: Settings, log: Any) -> Mapping[str, Instrument]:
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


async def _remote(
    open_: contextlib.AsyncExitStack,
    plan: LivePlan,
    clock: Clock,
    rng: random.Random,
    memory: OrderMemory,
    notes: Notes,
    stopwatch: Stopwatch,
    machine: Machine,
    budget: RateLimiter,
) -> "BybitVenue | None":
    """Return the remote venue; None for paper."""
    settings = plan.settings
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
            clock,
            rng,
            budget=budget,
            policy=config.rest,
            connector=machine.connector,
        )
    )
    ids = (f"v{number}" for number in itertools.count(1))
    return BybitVenue(
        config,
        rest,
        clock,
        rng,
        ids,
        memory,
        stopwatch,
        on_note=notes,
    )


def _others(
    context: "Context", plan: LivePlan, rest: PublicRest, clock: Clock, watcher: Watcher
) -> dict[str, Any]:
    others: dict[str, Any] = {}
    if isinstance(clock, FollowedClock):
        others["clock"] = lambda: follow(rest, clock)
    if plan.settings.web.port is not None:
        others["web"] = page_beside(
            context, plan.settings, insecure=plan.web_insecure, heard=watcher.on_page
        ).run
    return others


def _facts(feed: "BybitFeed", remote: "BybitVenue | None") -> dict[str, object]:
    told = feed.facts()
    facts: dict[str, object] = {"feed_lag_ms": told.pop("lag_ms", None), "feed_facts": told}
    if remote is not None:
        facts |= remote.facts()
    return {**facts, "process": resources()}


def _identity(plan: LivePlan, standing: Standing, machine: Machine, clock: Clock) -> dict[str, object]:
    settings, model = plan.settings, plan.model
    return {
        "mode": settings.venue.kind,
        "feed": settings.feed.kind,
        "venue": settings.venue.kind,
        "account": standing.writer.journal.account,
        "run": standing.header.process,
        "pid": machine.pid,
        "version": bot.__version__,
        "symbols": list(plan.symbols),
        "interval": settings.feed.interval,
        "strategy": plan.strategy_name,
        "params": dict(plan.params),
        "model_hash": model.hash if model is not None else None,
        "model_trained_to_ms": model.trained_to_ms if model is not None else None,
        "settings_hash": settings.hash,
        "seed": settings.seed,
        "speed": clock.speed if isinstance(clock, FollowedClock) else 1.0,
    }
