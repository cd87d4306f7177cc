"""The one start path: after a first start, a stop, a crash or an upgrade, the journal says what the state is.

::

    no journal          fresh engine, fresh account
    a journal           newest snapshot → replay of its segment, effects compared and not sent → the state
    other arguments     the state moves into an engine with the new arguments

What the venue holds is compared with the state later, by the engine itself. Nothing here connects.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bot.adapters.state.backup import renamed
from bot.adapters.state.disk import THIS_DISK, Disk
from bot.adapters.state.failpoint import reach
from bot.adapters.state.journal import FOLDER, JournalWriter, Segment, account_folders
from bot.app.runs.live.arguments import Arguments, plan_from
from bot.app.runs.live.building import make_engine, make_inner_venue
from bot.app.runs.live.plan import LivePlan
from bot.app.runs.live.successors import at_end, offer, successors_in
from bot.domain.errors import BadInput, Broken, StoreFailed
from bot.domain.market import Instrument
from bot.domain.messages import BarsClosed, Event, InstrumentChanged, ProcessStarted, StartHalt
from bot.domain.snapshots import lost_in
from bot.engine.core import Engine
from bot.exchange.inner import InnerVenue
from bot.journal.entries import FORMAT, Closed, Forgiven, Header, Quarantined
from bot.journal.snapshot import Snapshot
from bot.logs import Redactor
from bot.risk.breaker import Cause
from bot.service.record import RunTotals
from bot.service.replaying import Difference, Poisoned, Replay

STARTS_WITHIN_MS = 600_000
"""Starts older than this do not count against the restart budget."""
BACK_MS = 60_000
"""The exchange's clock may show so much less than the last event of the journal."""
_WORDS_MAX = 200
_POISONED_MAX = 8
"""More events that cannot be handled mean that not the events are wrong."""


@dataclass(kw_only=True)
class Standing:
    """The state that a process begins with.

    ``opening`` are the first events of the process. ``notes`` are facts for the log: (event, fields).
    """

    engine: Engine
    venue: InnerVenue | None
    writer: JournalWriter
    header: Header
    opening: tuple[Event, ...] = ()
    halts: list[StartHalt] = field(default_factory=list)
    quarantined: tuple[Quarantined, ...] = ()
    history: tuple[BarsClosed, ...] = ()
    totals: RunTotals = field(default_factory=RunTotals)
    notes: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    known: bool = False
    """True if the state comes from a journal."""
    ended_before: str | None = None
    """How the process before this one ended; None if there was none, empty if it did not say: a crash."""

    @property
    def seen_ms(self) -> dict[str, int]:
        """For each symbol the close up to which it has seen its bars; 0 if it has seen none."""
        views = {sym.symbol: sym.view for sym in self.engine.state.symbols.values()}
        return {symbol: each.bar.close_ms if each.bar.start_ms else 0 for symbol, each in views.items()}


def take_over(
    plan: LivePlan,
    arguments: Arguments,
    *,
    now_ms: int,
    wall_ms: int,
    halted_by_file: bool,
    disk: Disk = THIS_DISK,
) -> Standing:
    """Return the state to go on with. The state directory must be locked.

    ``now_ms`` is the exchange's time; ``wall_ms`` is this machine's, in which crashed starts are counted.

    Raises:
        StoreFailed: the journal is damaged or cannot be written.
        BotError: the engine that the journal describes cannot be built any more.
    """
    writer = JournalWriter(account_folder(plan), disk)
    try:
        standing = _standing(plan, arguments, writer, now_ms, wall_ms)
    except BaseException:
        writer.close()
        raise
    if halted_by_file:
        standing.halts.append(StartHalt(Cause.OPERATOR.value))
    if len(standing.header.starts_ms) > plan.settings.daemon.restarts_max:
        standing.halts.append(StartHalt(Cause.CRASH_LOOP.value))
    standing.opening = (
        ProcessStarted(now_ms, standing.header.process, tuple(standing.halts)),
        *_changed_rules(standing.engine, arguments.instruments, now_ms),
    )
    return standing


def _standing(
    plan: LivePlan, arguments: Arguments, writer: JournalWriter, now_ms: int, wall_ms: int
) -> Standing:
    last = writer.journal.last()
    if last is None:
        _refuse_older_state(plan)
        return _first(plan, arguments, writer, wall_ms)
    standing = _next(plan, arguments, writer, last, wall_ms)
    reach("recovery.replayed")
    _check_market(plan, Arguments.decode(last.header.arguments), standing, now_ms)
    return standing


def account_folder(plan: LivePlan) -> Path:
    """Return the journal's directory: of the account as it goes on, or of the next one if it is fresh."""
    kind, state_dir = plan.settings.venue.kind, plan.settings.state_dir
    there = account_folders(state_dir, kind)
    if there and not plan.fresh:
        return there[-1]
    number = int(there[-1].name.rpartition("-")[2]) + 1 if there else 1
    return state_dir / FOLDER / f"{kind}-{number}"


def order_name(prefix: str, folder: Path) -> str:
    """Return the first part of an account's order ids. The count of events in them never repeats.

    After a restore it begins again at the backup's, so the restored account has another name.
    """
    return f"{prefix}{folder.name.rpartition('-')[2]}{renamed(folder)}"


def _refuse_older_state(plan: LivePlan) -> None:
    """Refuse to begin beside the file in which an earlier version kept halts and open orders."""
    old = plan.settings.state_dir / f"store-{plan.settings.venue.kind}.jsonl"
    if old.exists() and not plan.fresh:
        raise StoreFailed(
            f"{old}: was kept by an earlier version and may hold a halt or open orders; look at the account, "
            "then move the file away"
        )


def _check_market(plan: LivePlan, before: Arguments, standing: Standing, now_ms: int) -> None:
    """Refuse to go on with an account on the prices of another market, or at an earlier time."""
    account, feed = standing.writer.journal.account, plan.settings.feed.kind
    what_to_do = "begin a new account with `bot run --fresh`, or set another state_dir"
    was = before.settings.get("feed", {}).get("kind")
    if was != feed:
        raise StoreFailed(f"{account} was traded on the candles of {was}, not of {feed}; {what_to_do}")
    ahead_ms = standing.engine.state.now_ms - now_ms
    if ahead_ms > BACK_MS:
        raise StoreFailed(
            f"{account} has seen events {ahead_ms // 1000} s later than the exchange's present time; "
            f"{what_to_do}"
        )


def _first(plan: LivePlan, arguments: Arguments, writer: JournalWriter, wall_ms: int) -> Standing:
    header = _header(arguments, process=1, wall_ms=wall_ms, starts_ms=(wall_ms,))
    return Standing(
        engine=make_engine(plan, arguments.instruments, arguments.name),
        venue=make_inner_venue(plan, arguments.instruments, arguments.speed),
        writer=writer,
        header=header,
        notes=[("account_begun", {"account": writer.journal.account})],
    )


def _next(
    plan: LivePlan, arguments: Arguments, writer: JournalWriter, last: Segment, wall_ms: int
) -> Standing:
    before = Arguments.decode(last.header.arguments)
    snapshot = writer.journal.snapshot(last.header)
    chosen = plan if before.decides_as(arguments) else plan_from(before, plan.settings.state_dir)
    replayed = replay_segment(last, snapshot, before, chosen, secrets=plan.settings.secrets())
    engine, venue = replayed.engine, replayed.venue
    before = at_end(before, engine, chosen)
    same = before.decides_as(arguments)
    if not same and before.decides_as(arguments.written_as(before)):
        engine = _named(replayed, plan, arguments)
    elif not same:
        engine, venue = _move(replayed, plan, arguments)
    writer.resume(last)
    starts_ms = (*_starts_left(last, wall_ms), wall_ms)
    standing = Standing(
        engine=engine,
        venue=venue,
        writer=writer,
        header=_header(arguments, process=last.header.process + 1, wall_ms=wall_ms, starts_ms=starts_ms),
        quarantined=replayed.quarantined,
        history=replayed.history,
        totals=replayed.totals,
        known=True,
        ended_before=ending_of(last),
    )
    for each in replayed.quarantined:
        standing.halts.append(StartHalt(Cause.POISON.value, each.error[:_WORDS_MAX]))
        standing.notes.append(("event_quarantined", {"entry": each.entry, "error": each.error}))
    facts: dict[str, object] = {"account": writer.journal.account, "process": standing.header.process}
    facts |= {"replayed": replayed.inputs, "torn_bytes": last.torn_bytes}
    standing.notes.append(("account_recovered", facts))
    if replayed.difference is not None:
        standing.notes.append(("replay_differs", {"difference": str(replayed.difference)}))
        standing.halts.append(StartHalt(Cause.REPLAY.value, str(replayed.difference)[:_WORDS_MAX]))
    return standing


@dataclass(kw_only=True)
class Replayed:
    """A segment after its replay."""

    engine: Engine
    venue: InnerVenue | None
    totals: RunTotals
    inputs: int
    difference: Difference | None
    quarantined: tuple[Quarantined, ...]
    history: tuple[BarsClosed, ...]


def replay_segment(
    segment: Segment,
    snapshot: Snapshot | None,
    arguments: Arguments,
    plan: LivePlan,
    skipped: Mapping[int, str] | None = None,
    secrets: Iterable[str] = (),
) -> Replayed:
    """Replay a segment on an engine with its arguments; leave out events whose handling raises.

    ``skipped`` are entries that were quarantined before, with their errors. ``secrets`` are taken out of what
    is kept of errors.

    Raises:
        BotError: the engine cannot be built, the snapshot does not fit it, or too many events raise.
    """
    poisoned = dict(skipped or {})
    while True:
        engine = make_engine(plan, arguments.instruments, arguments.name, secrets)
        offer(engine, plan, successors_in(segment, plan))
        venue = make_inner_venue(plan, arguments.instruments, arguments.speed)
        history = snapshot.history if snapshot is not None else ()
        if snapshot is not None:
            _restore(engine, venue, snapshot, segment)
        totals = RunTotals()
        replay = Replay(engine, venue, segment.entries, skipped=poisoned, recorder=totals)
        try:
            replay.run()
        except Poisoned as poison:
            if len(poisoned) >= _POISONED_MAX:
                raise Broken(
                    f"{segment.path}: {poison}; {_POISONED_MAX} other events raised, too"
                ) from poison
            poisoned[poison.entry] = Redactor((*plan.settings.secrets(), *secrets))(str(poison))
            continue
        seen = [each.entry for each in segment.entries if isinstance(each.entry, BarsClosed)]
        quarantined = (Quarantined(segment.header.segment, entry, text) for entry, text in poisoned.items())
        return Replayed(
            engine=engine,
            venue=venue,
            totals=totals,
            inputs=replay.inputs,
            difference=replay.difference,
            quarantined=tuple(quarantined),
            history=(*history, *seen),
        )


def _restore(engine: Engine, venue: InnerVenue | None, snapshot: Snapshot, segment: Segment) -> None:
    """Put a snapshot into a fresh engine; strategies without a state of their own see their history first."""
    for closed in snapshot.history:
        engine.handle(msgspec.structs.replace(closed, live=False))
    try:
        engine.restore(bytes(snapshot.engine))
        if venue is not None:
            if not snapshot.has_venue:
                raise BadInput("the snapshot holds no venue")
            venue.restore(bytes(snapshot.venue))
    except BadInput as error:
        raise StoreFailed(f"{segment.path}: {error}") from error
    if lost := not_restored(engine, snapshot):
        raise StoreFailed(
            f"{segment.path}: the restored state is not the one that was kept: {lost} differs; start the "
            f"version that wrote it ({segment.header.code}), close the positions, then `bot run --fresh`"
        )


def not_restored(engine: Engine, snapshot: Snapshot) -> str:
    """Return the first part of a snapshot that is not in an engine's state; empty if all of it is.

    The digest of a snapshot that an older program wrote does not know what the state has gained since.
    """
    if engine.state.digest() == snapshot.digest:
        return ""
    return lost_in(bytes(snapshot.engine), engine.snapshot())


def _named(replayed: Replayed, plan: LivePlan, arguments: Arguments) -> Engine:
    """Return an engine with the same state that names its orders, and their model, as ``arguments`` say."""
    engine = make_engine(plan, arguments.instruments, arguments.name)
    for closed in replayed.history[-plan.warmup_bars :] if engine.forgetful() else ():
        engine.handle(msgspec.structs.replace(closed, live=False))
    engine.restore(replayed.engine.snapshot())
    return engine


def _move(replayed: Replayed, plan: LivePlan, arguments: Arguments) -> tuple[Engine, InnerVenue | None]:
    """Move the state into an engine and a venue with other arguments.

    Raises:
        StoreFailed: the state does not fit them, for example a position in a symbol that is left out.
    """
    engine = make_engine(plan, arguments.instruments, arguments.name)
    venue = make_inner_venue(plan, arguments.instruments, arguments.speed)
    for closed in replayed.history[-plan.warmup_bars :]:
        engine.handle(msgspec.structs.replace(closed, live=False))
    try:
        engine.move_in(replayed.engine.snapshot())
        if venue is not None and replayed.venue is not None:
            venue.move_in(replayed.venue.snapshot())
    except BadInput as error:
        raise StoreFailed(
            f"the account cannot go on with these settings: {error}; set them back, or begin a new account "
            "with `bot run --fresh`"
        ) from error
    return engine, venue


def _header(arguments: Arguments, *, process: int, wall_ms: int, starts_ms: tuple[int, ...]) -> Header:
    return Header(
        format=FORMAT,
        account="",  # the writer fills in account, segment and chain
        segment=0,
        process=process,
        ts_ms=wall_ms,
        code=arguments.code,
        arguments=arguments.encode(),
        starts_ms=starts_ms,
    )


def _starts_left(last: Segment, wall_ms: int) -> tuple[int, ...]:
    """Return the starts that count against the budget: recent, not ended well, not forgiven."""
    starts = last.header.starts_ms
    ended: Closed | None = None
    for each in last.entries:
        if isinstance(each.entry, Forgiven):
            starts = ()
        elif isinstance(each.entry, Closed):
            ended = each.entry
    if ended is not None and ended.cause != "error":
        starts = starts[:-1]
    return tuple(ms for ms in starts if wall_ms - STARTS_WITHIN_MS < ms <= wall_ms)


def ending_of(last: Segment) -> str:
    """Return how the process that wrote a segment ended; empty if it did not say."""
    closed = [each.entry for each in last.entries if isinstance(each.entry, Closed)]
    return f"{closed[-1].cause} {closed[-1].reason}".strip() if closed else ""


def _changed_rules(engine: Engine, rules: Mapping[str, Instrument], now_ms: int) -> list[InstrumentChanged]:
    symbols = engine.state.symbols
    return [
        InstrumentChanged(now_ms, rules[name])
        for name in sorted(symbols)
        if symbols[name].instrument != rules[name]
    ]
