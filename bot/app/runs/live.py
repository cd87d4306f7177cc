"""Wires the daemon: a pair of feed and venue, a model, a strategy and a state directory become one run.

``make_live_plan`` chooses and checks everything that needs no network; ``run`` connects and trades. This file
decides which objects are used. No module below it knows a mode such as paper or live.
"""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import bot
from bot.adapters.net.public_rest import Pace, PublicRest, follow, public_rest
from bot.adapters.net.signed_rest import signed_rest
from bot.adapters.net.stopwatch import Stopwatch
from bot.adapters.state.clock import FollowedClock
from bot.adapters.state.directory import HaltFile, StateDir
from bot.adapters.state.store import FileStore
from bot.app.account import check_keys, credentials, feed_url, observe
from bot.app.inputs import choose_strategy, load_model
from bot.app.last_daemon import note_daemon
from bot.app.machine import Machine
from bot.app.wiring import (
    WARMUP_BARS,
    make_execution,
    make_forecasters,
    make_limits,
    make_terms,
    round_trip_bps,
)
from bot.domain.errors import BadModel, BadSettings, BadUsage, VenueError
from bot.domain.market import INTERVALS_MS, Instrument, interval_name
from bot.domain.messages import Candle
from bot.engine.core import Assignment, Engine
from bot.engine.forecasting import Forecaster
from bot.ports import Clock, Venue
from bot.service.daemon import Daemon, Ending, Parts
from bot.service.halt import entry_block_now, restored_breaker
from bot.service.process.notify import Notifier
from bot.service.process.supervise import Stop, signals
from bot.service.record import RunRecord
from bot.settings import Settings
from bot.strategy import build

if TYPE_CHECKING:
    from bot.adapters.feed.bybit import BybitFeed
    from bot.adapters.model.checkpoint import Checkpoint
    from bot.adapters.venue.bybit import BybitVenue
    from bot.app.context import Context

PAIRS: Mapping[str, tuple[str, ...]] = {
    "mainnet": ("paper", "testnet", "demo"),
    "testnet": ("paper", "testnet"),
    "local": ("paper", "local"),
}
"""Feed → the venues that may be traded on its candles."""
_REMOTE_STOP_FRAC = Decimal("0.1")
_REQUESTS_PER_S = 80.0
"""Bybit allows 120 an address; a warm-up of hundreds of symbols leaves room for orders."""
_MAX_CLOCK_OFF_MS = 2_000
"""With a larger difference between this clock and the feed's, every bar would count as late or early."""


@dataclass(frozen=True, kw_only=True)
class LivePlan:
    """Everything of a live run that needs no network. ``from_ms``: first candle of the warm-up."""

    settings: Settings
    strategy: type
    strategy_name: str
    params: Mapping[str, str]
    model: "Checkpoint | None"
    forecasters: Mapping[int, Forecaster]
    from_ms: int | None = None
    duration_s: float | None = None
    bars_max: int | None = None

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, in the order of their bars in one close."""
        return tuple(sorted(set(self.settings.feed.symbols)))

    @property
    def interval_ms(self) -> int:
        """Bar length."""
        return INTERVALS_MS[self.settings.feed.interval]

    @property
    def warmup_bars(self) -> int:
        """Closed candles before the present that are read first."""
        return max(WARMUP_BARS, self.model.warmup_bars if self.model is not None else 0)


def make_live_plan(
    settings: Settings,
    *,
    strategy: str | None,
    params: Mapping[str, str],
    from_ms: int | None = None,
    duration_s: float | None = None,
    bars_max: int | None = None,
) -> LivePlan:
    """Choose and check everything; compile the model, which takes seconds on its first run on a machine.

    Raises:
        BotError: a wrong pair, strategy, model or key; its class gives the exit code.
    """
    check_pair(settings)
    name = strategy or settings.strategy.name
    cls = choose_strategy(name)
    own = settings.strategy.params if name == settings.strategy.name else {}
    given = {**own, **params}
    build(cls, given)  # a parameter that cannot be is found before anything is connected
    model = load_model(settings.model.path, ()) if getattr(cls, "needs_forecast", False) else None
    interval_ms = INTERVALS_MS[settings.feed.interval]
    if model is not None and model.interval_ms != interval_ms:
        raise BadModel(
            f"feed.interval is {settings.feed.interval}, but the model is for "
            f"{interval_name(model.interval_ms)} bars; set --interval {interval_name(model.interval_ms)}, or "
            "train a model for these"
        )
    symbols = sorted(set(settings.feed.symbols))
    return LivePlan(
        settings=settings,
        strategy=cls,
        strategy_name=name,
        params=given,
        model=model,
        forecasters=make_forecasters(model, symbols) if model is not None else {},
        from_ms=from_ms,
        duration_s=duration_s,
        bars_max=bars_max,
    )


def check_pair(settings: Settings) -> None:
    """Refuse a feed whose candles do not fit the venue, and a venue without keys.

    Raises:
        BadUsage: the pair does not fit.
        BadSettings: keys are missing, or the feed has no quotes for the fills.
    """
    feed, venue = settings.feed.kind, settings.venue.kind
    if venue not in PAIRS[feed]:
        raise BadUsage(f"--feed {feed} goes with --venue {' or '.join(PAIRS[feed])}, not with {venue}")
    if venue != "paper":
        check_keys(settings)
    if venue == "paper" and settings.venue.fills == "quotes" and not _has_tickers(settings):
        raise BadSettings("venue.fills: quotes need feed.quotes = tickers; set that, or venue.fills = bars")


def _has_tickers(settings: Settings) -> bool:
    from bot.adapters.feed.config import AUTO_TICKERS_UP_TO

    few = len(settings.feed.symbols) <= AUTO_TICKERS_UP_TO
    return settings.feed.quotes == "tickers" or (settings.feed.quotes == "auto" and few)


# Running


def run(context: "Context", plan: LivePlan) -> Ending:
    """Run the daemon until it is stopped; meanwhile the state directory is locked.

    Raises:
        BotError: the error that ended it, or kept it from starting.
        KeyboardInterrupt: stopped by SIGINT before it had begun.
    """
    locked = StateDir(plan.settings.state_dir)
    try:
        return asyncio.run(_until_stopped(context, plan))
    finally:
        locked.close()


async def _until_stopped(context: "Context", plan: LivePlan) -> Ending:
    """Handle signals from before the first connection on."""
    stop = Stop()
    with signals(stop, plan.settings.daemon.stop_timeout_ms):
        running = asyncio.ensure_future(live(context, plan, stop))
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


async def live(context: "Context", plan: LivePlan, stop: Stop, machine: Machine | None = None) -> Ending:
    """Run the daemon on ``machine`` (None: this one) until ``stop``; the caller holds the state directory.

    Raises:
        BotError: the error that ended it, or kept it from starting.
    """
    machine = machine or Machine()
    store = FileStore(plan.settings.state_dir, plan.settings.venue.kind, disk=machine.disk)
    try:
        return await _run(context, plan, store, stop, machine)
    finally:
        store.close()


async def _run(context: "Context", plan: LivePlan, store: FileStore, stop: Stop, machine: Machine) -> Ending:
    settings, log = plan.settings, context.log
    rng = machine.jitter(settings.seed)
    halt = HaltFile(settings.state_dir, machine.disk)
    starts = store.note_start(machine.wall.now_ms())
    number = store.next_run()
    async with contextlib.AsyncExitStack() as open_:
        pace = Pace(requests_per_second=_REQUESTS_PER_S, max_retries=3)
        rest = await open_.enter_async_context(
            public_rest(feed_url(settings), machine.wall, pace, rng, machine.connector)
        )
        clock = await _clock(settings, rest, machine)
        stopwatch = Stopwatch()
        feed = _feed(plan, rest, clock, rng, log, stopwatch)
        instruments = await _instruments(feed, settings, log)
        remote = await _remote(open_, plan, clock, rng, store, stopwatch, machine)
        venue: Venue = remote if remote is not None else _paper(settings, instruments, clock)
        engine = _engine(plan, instruments, store, halt, starts, number)
        if remote is not None:  # an entry may have waited for its turn while a halt came
            remote.may_enter = lambda: entry_block_now(engine.state.breaker, halt) is None
        record = RunRecord(settings.state_dir / "runs" / f"{settings.venue.kind}-{number}.jsonl", engine)
        identity = _identity(plan, number, machine)
        note_daemon(settings, identity)
        daemon = Daemon(
            Parts(
                engine=engine,
                feed=feed,
                venue=venue,
                remote=remote,
                store=store,
                halt=halt,
                clock=clock,
                record=record,
                state_dir=settings.state_dir,
                settings=settings.daemon,
                log=log,
                identity=identity,
                facts=lambda: _facts(feed, remote),
                others=_others(rest, clock),
                # Without quotes marks are closes: an open candle must not move one before its time.
                passed_over=(Candle,) if settings.feed.quotes == "none" else (),
                clear=remote.clear if remote is not None else None,
                notifier=Notifier(machine.environ, machine.pid),
                duration_s=plan.duration_s,
                bars_max=plan.bars_max,
                stop=stop,
                stopwatch=stopwatch,
                wall_ms=machine.wall.now_ms,
                on_stall=remote.look_again if remote is not None else lambda: None,
            )
        )
        log.info("started", **{key: identity[key] for key in ("feed", "venue", "symbols", "strategy", "run")})
        if settings.venue.kind == "testnet":
            log.warning("testnet_pnl", meaning="none: testnet prices are not the market")
        return await daemon.run()


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
    plan: LivePlan, rest: PublicRest, clock: Clock, rng: random.Random, log: Any, stopwatch: Stopwatch
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
    ids = (f"f{number}" for number in itertools.count(1))
    return BybitFeed(
        config,
        rest,
        clock,
        rng,
        ids,
        on_note=lambda event, facts: log.info(event, **facts),
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


def _paper(settings: Settings, instruments: Mapping[str, Instrument], clock: Clock) -> Venue:
    """Return the venue in this process: it fills at live quotes, or by closed bars as a backtest."""
    from bot.exchange.paper import STALE_MS, PaperVenue
    from bot.exchange.venue import BarVenue

    equity, terms = settings.account.equity_quote, make_terms(settings)
    if settings.venue.fills == "bars":
        return BarVenue(instruments, equity, terms, seed=settings.seed)
    # Quotes come at the machine's pace, however fast the exchange's clock is.
    speed = clock.speed if isinstance(clock, FollowedClock) else 1.0
    return PaperVenue(instruments, equity, terms, stale_ms=round(STALE_MS * max(speed, 1.0)))


async def _remote(
    open_: contextlib.AsyncExitStack,
    plan: LivePlan,
    clock: Clock,
    rng: random.Random,
    store: FileStore,
    stopwatch: Stopwatch,
    machine: Machine,
) -> "BybitVenue | None":
    """Return the remote venue; None for paper."""
    settings = plan.settings
    if settings.venue.kind == "paper":
        return None
    from bot.adapters.venue.bybit import BybitVenue
    from bot.adapters.venue.config import VenueConfig

    config = VenueConfig.of(settings)
    rest = await open_.enter_async_context(
        signed_rest(
            config.urls.rest,
            credentials(settings),
            clock,
            rng,
            policy=config.rest,
            connector=machine.connector,
        )
    )
    ids = (f"v{number}" for number in itertools.count(1))
    return BybitVenue(config, rest, clock, rng, ids, store, stopwatch)


def _engine(
    plan: LivePlan,
    instruments: Mapping[str, Instrument],
    store: FileStore,
    halt: HaltFile,
    starts: int,
    number: int,
) -> Engine:
    settings, terms, limits = plan.settings, make_terms(plan.settings), make_limits(plan.settings)
    is_remote = settings.venue.kind != "paper"
    stop_frac = settings.venue.protective_stop_frac
    if stop_frac is None and is_remote:
        stop_frac = _REMOTE_STOP_FRAC
    assignments = [
        Assignment(
            instruments[symbol],
            plan.interval_ms,
            build(plan.strategy, plan.params),
            round_trip_bps(terms, symbol),
        )
        for symbol in plan.symbols
    ]
    return Engine(
        assignments,
        settings.account.equity_quote,
        limits,
        forecasters=plan.forecasters,
        breaker=restored_breaker(
            store,
            halt,
            limits,
            starts=starts,
            starts_max=settings.daemon.restarts_max,
            keep_levels=is_remote,
        ),
        name=f"{settings.venue.prefix}{number}",
        execution=make_execution(settings),
        protective_stop_frac=stop_frac or None,
        awaits_account=is_remote,
        venue_prices=(settings.feed.kind, settings.venue.kind) == ("mainnet", "testnet"),
    )


def _others(rest: PublicRest, clock: Clock) -> dict[str, Any]:
    return {"clock": lambda: follow(rest, clock)} if isinstance(clock, FollowedClock) else {}


def _facts(feed: "BybitFeed", remote: "BybitVenue | None") -> dict[str, object]:
    told = feed.facts()
    facts: dict[str, object] = {"feed_lag_ms": told.pop("lag_ms", None), "feed_facts": told}
    if remote is not None:
        facts |= remote.facts()
    return facts


def _identity(plan: LivePlan, number: int, machine: Machine) -> dict[str, object]:
    settings, model = plan.settings, plan.model
    return {
        "mode": settings.venue.kind,
        "feed": settings.feed.kind,
        "venue": settings.venue.kind,
        "run": number,
        "pid": machine.pid,
        "version": bot.__version__,
        "symbols": list(plan.symbols),
        "interval": settings.feed.interval,
        "strategy": plan.strategy_name,
        "params": dict(plan.params),
        "model_hash": model.hash if model is not None else None,
        "settings_hash": settings.hash,
        "seed": settings.seed,
    }
