"""Wires the daemon: a plan, a feed, a venue and the state that the journal holds become one run.

``plan`` chooses, ``connecting`` reaches the exchange, ``recovery`` says with which state a process begins,
``beside`` adds what runs beside the trading, ``run`` trades. These files decide which objects are used. No
module below them knows a mode such as paper or live.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import bot
from bot.adapters.state.account_lock import runtime_folder
from bot.adapters.state.alive import SignOfLife, beating
from bot.adapters.state.clock import FollowedClock
from bot.adapters.state.directory import HaltFile, StateDir
from bot.app.machine import Machine
from bot.app.runs.live.arguments import arguments_of
from bot.app.runs.live.beside import Beside, DaemonToCome, begin_beside
from bot.app.runs.live.connecting import Ground, connect, make_feed, make_remote, read_rules
from bot.app.runs.live.plan import LivePlan
from bot.app.runs.live.recovery import Standing, account_folder, order_name, take_over
from bot.app.runs.live.successors import begin_with
from bot.app.runs.live.watcher import Watcher
from bot.app.state.last_daemon import note_daemon
from bot.domain.market import Instrument
from bot.domain.messages import Candle
from bot.engine.core import Engine
from bot.ports import Clock, Recorder
from bot.service.daemon import Daemon
from bot.service.daemon.parts import Ending, Parts
from bot.service.journaling import JournalKeeper, JournalParts
from bot.service.process.notify import Notifier
from bot.service.process.resources import resources
from bot.service.process.supervise import Stop, signals

if TYPE_CHECKING:
    from bot.adapters.feed.bybit import BybitFeed
    from bot.adapters.venue.bybit import BybitVenue
    from bot.app.context import Context

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
    watcher = watcher or Watcher()
    settings, log, to_come = plan.settings, context.log, DaemonToCome()
    async with contextlib.AsyncExitStack() as open_:
        sign = SignOfLife(settings.state_dir, machine.pid)
        await open_.enter_async_context(beating(sign, to_come.lives))
        ground = await connect(open_, settings, machine, log)
        plan, trouble = begin_with(plan, account_folder(plan))
        feed = make_feed(plan, ground)
        instruments = await read_rules(feed, settings, log)
        halt = HaltFile(settings.state_dir, machine.disk)
        standing = _take_over(plan, instruments, ground, halt)
        open_.callback(standing.writer.close)
        _log_standing(log, plan, standing)
        from_ms = _read_from_ms(plan, standing, ground.clock)
        feed.config = replace(feed.config, from_ms=from_ms, seen_ms=standing.seen_ms)
        remote = await make_remote(open_, plan, ground, standing.engine, halt)
        identity = _identity(plan, standing, ground)
        note_daemon(settings, identity)
        beside = begin_beside(
            open_,
            context,
            plan,
            ground,
            standing,
            trouble=trouble,
            to_come=to_come,
            stop=stop,
            watcher=watcher,
        )
        made = _Made(context, plan, ground, standing, feed, remote, halt, stop)
        daemon = Daemon(_parts(made, beside, identity, record))
        ground.notes.heard_by(daemon.alarms)
        to_come.has_come(daemon)
        if settings.venue.kind == "testnet":
            log.warning("testnet_pnl", meaning="none: testnet prices are not the market")
        return await daemon.run()


def _take_over(
    plan: LivePlan, instruments: Mapping[str, Instrument], ground: Ground, halt: HaltFile
) -> Standing:
    """Return the state to begin with: the one that the journal holds, or a fresh one."""
    machine, clock = ground.machine, ground.clock
    name = order_name(plan.settings.venue.prefix, account_folder(plan))
    return take_over(
        plan,
        arguments_of(plan, dict(instruments), clock, name),
        now_ms=clock.now_ms(),
        wall_ms=machine.wall.now_ms(),
        halted_by_file=halt.is_set(),
        disk=machine.disk,
    )


def _log_standing(log: Any, plan: LivePlan, standing: Standing) -> None:
    for note, facts in standing.notes:
        log.info(note, **facts)
    if plan.model is not None and plan.model.drift is None:
        log.info("drift_unknown", model_hash=plan.model.hash, reason=NO_DRIFT_REFERENCE)


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


@dataclass(frozen=True)
class _Made:
    """What a daemon trades with."""

    context: "Context"
    plan: LivePlan
    ground: Ground
    standing: Standing
    feed: "BybitFeed"
    remote: "BybitVenue | None"
    halt: HaltFile
    stop: Stop


def _parts(made: _Made, beside: Beside, identity: Mapping[str, object], record: RecorderOf | None) -> Parts:
    """Return everything that the daemon is made of."""
    context, plan, ground, standing = made.context, made.plan, made.ground, made.standing
    settings, machine, remote, succession = plan.settings, ground.machine, made.remote, beside.succession
    venue = remote if remote is not None else standing.venue
    assert venue is not None, "a plan has a venue of one kind or the other"
    return Parts(
        engine=standing.engine,
        feed=made.feed,
        venue=venue,
        remote=remote,
        keeper=JournalKeeper(_journal_parts(plan, standing, machine), standing.engine, ground.stopwatch),
        opening=standing.opening,
        quarantined=standing.quarantined,
        halt=made.halt,
        clock=ground.clock,
        record=record(standing.engine) if record is not None else None,
        state_dir=settings.state_dir,
        settings=settings.daemon,
        log=context.log,
        redact=context.redactor,
        identity=identity,
        facts=lambda: {**_facts(made.feed, remote), **context.log_facts(), **beside.facts()},
        after=succession.after if succession is not None else lambda event: None,
        others=beside.tasks,
        # Without quotes marks are closes: an open candle must not move one before its time.
        passed_over=(Candle,) if settings.feed.quotes == "none" else (),
        clear=remote.clear if remote is not None else None,
        notifier=Notifier(machine.environ, machine.pid),
        quiet_every_ms=settings.journal.quiet_every_ms,
        duration_s=plan.duration_s,
        bars_max=plan.bars_max,
        stop=made.stop,
        stopwatch=ground.stopwatch,
        wall_ms=machine.wall.now_ms,
        on_stall=remote.look_again if remote is not None else lambda: None,
        ended_before=standing.ended_before,
        alarms=beside.alarms,
    )


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


def _facts(feed: "BybitFeed", remote: "BybitVenue | None") -> dict[str, object]:
    told = feed.facts()
    facts: dict[str, object] = {"feed_lag_ms": told.pop("lag_ms", None), "feed_facts": told}
    if remote is not None:
        facts |= remote.facts()
    return {**facts, "process": resources()}


def _identity(plan: LivePlan, standing: Standing, ground: Ground) -> dict[str, object]:
    settings, model = plan.settings, plan.model
    return {
        "mode": settings.venue.kind,
        "feed": settings.feed.kind,
        "venue": settings.venue.kind,
        "account": standing.writer.journal.account,
        "run": standing.header.process,
        "pid": ground.machine.pid,
        "version": bot.__version__,
        "symbols": list(plan.symbols),
        "interval": settings.feed.interval,
        "strategy": plan.strategy_name,
        "params": dict(plan.params),
        "model_hash": model.hash if model is not None else None,
        "model_trained_to_ms": model.trained_to_ms if model is not None else None,
        "settings_hash": settings.hash,
        "seed": settings.seed,
        "speed": ground.clock.speed if isinstance(ground.clock, FollowedClock) else 1.0,
    }
