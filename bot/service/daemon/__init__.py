"""The daemon: a feed, a venue, the driver between them, and the tasks that watch over them.

One task group holds all tasks. A task that ends without being asked ends the process with a reason, and a
requested stop ends it in time. ``driver.take`` is the only loop: the feed and the venue put events in the
inbox, one consumer takes them out, and the keeper writes the journal before an effect is sent. If the journal
cannot be written, entries are taken back and the process ends.

``parts.py`` says what a daemon is made of, ``steering.py`` carries the operator's commands out.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from bot.adapters.control.server import Answer
from bot.adapters.net.inbox import Inbox
from bot.adapters.state.failpoint import reach
from bot.domain.errors import BadInput, StoreFailed, VenueError
from bot.domain.messages import (
    BarsClosed,
    CancelOrder,
    Candle,
    Command,
    Event,
    Line,
    LinkDown,
    LinkUp,
    Synced,
    TimePassed,
)
from bot.engine.closes import LATE
from bot.service.alarms import Alarms
from bot.service.control import Asked, Control
from bot.service.daemon.parts import Ending, Parts
from bot.service.daemon.recorders import DaemonRecorder
from bot.service.daemon.steering import Operator
from bot.service.driver import Driver
from bot.service.halt import EntryGate, StepTimer
from bot.service.journaling import EndCause
from bot.service.process.quiet import Collector
from bot.service.process.supervise import together, watch_loop
from bot.service.quiet import QuietMarkets
from bot.service.readiness import Notice, Readiness, advance
from bot.service.record import RunTotals
from bot.service.views import status
from bot.service.views.forecasts import ForecastBoard
from bot.service.views.glance import Glance, glance_at, is_close_near
from bot.service.views.live import Live, LiveBoard, head
from bot.strategy.memory import Unkept

_LINE_EVERY_S = 0.5
"""Least time between two status lines; a fast clock has many closes a second."""
_LAG_WARN_S = 1.0
_CAUGHT_UP_MS = 100.0
"""While the oldest event waits for less, the backlog of the warm-up is done."""
_STALL_S = 5.0
"""After a longer standstill events may be missing: no entries before the next live close."""
_STUCK_MS = 30_000.0
"""If events wait longer, the consumer hangs, and the service manager gets no sign of life."""


class Daemon:
    """Runs once: ``await Daemon(parts).run()``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.totals = RunTotals()
        self.engine = parts.engine
        self._steps = StepTimer(_loop_s, parts.settings.max_step_ms)
        self._gate = EntryGate(
            parts.venue,
            parts.engine.state.breaker,
            parts.halt,
            self._halt,
            parts.clock.now_ms,
            self._steps,
        )
        self._keeper = parts.keeper
        self._quiet = QuietMarkets(parts.engine.state, parts.quiet_every_ms)
        self.alarms = Alarms(parts.engine, parts.log, parts.alarms)
        self._board = LiveBoard(parts.engine, parts.wall_ms())
        self._forecasts = ForecastBoard(parts.engine.state)
        recorders = DaemonRecorder(self.totals, self.alarms, self._board, self._forecasts, parts.record)
        self.driver = Driver(parts.engine, self._gate, recorders, self._keeper, self._steps.began)
        self.readiness = Readiness(account_read=parts.remote is None)
        self._stop = parts.stop
        self._line_due_s = 0.0
        self._logged_fills = 0
        self._lag_max_s = self._warmup_lag_max_s = 0.0
        self._turned: tuple[float, int] | None = None
        """Last turn of the loop, by its own clock and by the wall clock, which runs on in a suspend."""
        self._is_warming = True
        self._late_before = parts.engine.state.refusals[LATE]
        self._collector = Collector()

    async def run(self) -> Ending:
        """Run until a stop is asked for.

        Raises:
            BotError: a part failed or ended; its leaf gives the exit code.
        """
        self.inbox = Inbox()
        self._operator = Operator(self._parts, self.inbox)
        self._stop.heeded = True
        try:
            return await self._run_kept()
        except StoreFailed as error:
            await self._stop_unkept(error)
            raise
        finally:
            self._collector.end()
            self._keeper.release()

    async def _run_kept(self) -> Ending:
        """Run, and write into the journal how it ended."""
        parts = self._parts
        try:
            self._keeper.begin(parts.quarantined)
            self._collector.settle(asyncio.get_running_loop().time())
            self.alarms.started(parts.clock.now_ms(), parts.identity, parts.ended_before)
            for event in (*parts.opening, LinkDown(parts.clock.now_ms(), Line.START)):
                self._take(event)
            await together(self._tasks(), self._left)
        except StoreFailed:
            raise
        except BaseException as error:
            with contextlib.suppress(StoreFailed):
                cause: EndCause = "outage" if isinstance(error, VenueError) else "error"
                words = parts.redact(repr(error))[:200]
                self.alarms.failed(parts.clock.now_ms(), words)
                self._keeper.close(parts.clock.now_ms(), cause, words)
            raise
        reason = self._stop.reason or "failed"
        self._keep(lambda: self._keeper.close(parts.clock.now_ms(), "stopped", reason))
        self.alarms.ended(parts.clock.now_ms(), reason)
        return Ending(reason, self.status())

    def _keep(self, act: Callable[[], None]) -> None:
        """Do what may take a snapshot; stop a strategy whose memory cannot be kept, and do it again."""
        while True:
            try:
                return act()
            except Unkept as error:
                self.driver.take(self.engine.unkept(error, self._parts.clock.now_ms()))

    def _take(self, event: Event) -> None:
        self.driver.take(event)
        self._keep(lambda: self._keeper.after(event))
        self.alarms.look(started=self.readiness.started)

    async def _stop_unkept(self, error: StoreFailed) -> None:
        """Halt without a journal: it cannot be written, so nothing new may leave. Cancels still do.

        The halt file keeps the halt for the next start, if the disk takes at least that.
        """
        parts = self._parts
        with contextlib.suppress(OSError):
            parts.halt.set()
        self.alarms.journal_lost(parts.clock.now_ms(), parts.redact(str(error)))
        effects = self.engine.handle(Command(parts.clock.now_ms(), "halt", by="program"))
        for effect in effects:
            if isinstance(effect, CancelOrder):
                parts.venue.submit(effect)
        if parts.clear is not None:
            survivors = list(await parts.clear())
            parts.log.error("entries_taken_back", survivors=survivors)

    def stop(self, reason: str) -> None:
        """Ask for a clean stop."""
        self._stop.ask(reason)

    def status(self) -> dict[str, object]:
        """The JSON of ``bot status``."""
        parts, state, now_ms = self._parts, self.engine.state, self._parts.clock.now_ms()
        return {
            **parts.identity,
            "state": status.state_word(state, self.readiness.word),
            **status.readiness(state, self.readiness.word, now_ms),
            **status.risk(self.engine),
            "drift": status.drift(self.engine),
            **status.day(state, now_ms),
            **status.closes(state, now_ms),
            "limits": status.limits(self.engine, now_ms),
            **status.account(self.engine),
            **status.sums(self.totals),
            "now_ms": now_ms,
            "inbox_lag_ms": round(self.inbox.oldest_age_ms, 1),
            "loop_lag_max_ms": round(self._lag_max_s * 1000.0, 1),
            "loop_lag_warmup_ms": round(self._warmup_lag_max_s * 1000.0, 1),
            "steps_cut": self._steps.cut,
            "alerts": [msgspec.to_builtins(alert) for alert in self.alarms.recent],
            **parts.stopwatch.facts(),
            **status.json_facts(parts.facts()),
        }

    def may_glance(self) -> bool:
        """Return False while an event waits or a close is about to come: a look must delay nothing."""
        now_ms, speed = self._parts.clock.now_ms(), float(str(self._parts.identity.get("speed", 1.0)))
        next_ms = status.closes(self.engine.state, now_ms)["next_close_ms"]
        return not len(self.inbox) and not is_close_near(now_ms, next_ms, speed)

    def glance(self, count: int) -> Glance:
        """Return what a person at the terminal sees, at the ``count``-th look."""
        state, now_ms = self.engine.state, self._parts.clock.now_ms()
        return glance_at(
            self.engine,
            self._board,
            count,
            state=status.state_word(state, self.readiness.word),
            state_words=status.state_words(state, self.readiness.word, now_ms),
            now_ms=now_ms,
        )

    # The tasks

    def _tasks(self) -> dict[str, Any]:
        parts = self._parts
        self._left = asyncio.Event()
        tasks = {
            "control": Control(parts.state_dir, self._reply).run(),
            "feed": parts.feed.run(self.inbox),
            "driver": self._consume(),
            "stop": self._end(),
            "halt file": self._watch_halt(),
            "loop monitor": watch_loop(self._on_turn),
            "journal": self._keeper.tidy(),
            "snapshots": self._keeper.write_ahead(self._keep),
            **{name: start() for name, start in parts.others.items()},
        }
        if parts.remote is not None:
            tasks["venue"] = parts.remote.run(self.inbox)
        return tasks

    async def _consume(self) -> None:
        self._note(Notice.RUNNING)
        self._parts.notifier.ready()
        async for came in self.inbox.events():
            if type(came) is Candle:
                self._board.saw(came)
            if isinstance(came, self._parts.passed_over):
                continue
            for event in self._quiet.give_out(came):
                self._consider(event)

    def _consider(self, event: Event) -> None:
        if isinstance(event, BarsClosed):
            event = self._as_of_now(event)
            if event.live:
                self._take_timed(event)
                return
        self._take(event)
        self._after(event)

    def _take_timed(self, event: BarsClosed) -> None:
        loop, stopwatch = asyncio.get_running_loop(), self._parts.stopwatch
        stopwatch.began(event.close_ms, self.inbox.put_s, loop.time())
        self.driver.take(event)
        stopwatch.decided(loop.time())
        self._keep(lambda: self._keeper.after(event))
        self.alarms.look(started=self.readiness.started)
        self._after(event)

    def _as_of_now(self, event: BarsClosed) -> BarsClosed:
        """Return the bars for the engine: not live before the start or after a standstill, else seen now."""
        if not event.live:
            return event
        if not self.readiness.started:
            self._start_to_decide()
        if self._stood_still_s() > _STALL_S:  # events that waited are taken before the loop monitor runs
            self._stall()
        if not self.readiness.started or self._stood_still_s() > _STALL_S:
            return msgspec.structs.replace(event, live=False)
        return msgspec.structs.replace(event, seen_ms=max(event.seen_ms, self._parts.clock.now_ms()))

    def _note(self, *notices: Notice) -> None:
        for notice in notices:
            self.readiness = advance(self.readiness, notice)

    def _note_warmth(self) -> None:
        warm = any(sym.view.warm for sym in self.engine.state.symbols.values())
        self._note(Notice.WARM if warm else Notice.COLD)

    def _start_to_decide(self) -> None:
        """Allow entries once bars arrive in real time and the account has been read."""
        self._note_warmth()
        if self.inbox.oldest_age_ms < _CAUGHT_UP_MS:
            self._note(Notice.KEEPING_UP)
        if self.readiness.started:
            self._take(LinkUp(self._parts.clock.now_ms(), Line.START))
            self._parts.log.info("trading", **self._short())
            self._tell_dropped()

    def _tell_dropped(self) -> None:
        """Say once how many positions the strategy asked for while it was only shown past bars."""
        parts = self._parts
        dropped = self.engine.state.refusals[LATE] - self._late_before
        if dropped:
            name = parts.identity.get("strategy")
            parts.log.info("warm_up_targets_dropped", strategy=name, targets=dropped)

    async def _end(self) -> None:
        """Wait for a stop, end in order, and release the other tasks."""
        stop, parts = self._stop, self._parts
        if parts.duration_s is not None:
            asyncio.get_running_loop().call_later(parts.duration_s, stop.ask, "duration")
        reason = await stop.wait()
        self._note(Notice.STOP)
        parts.notifier.stopping()
        parts.log.info("stopping", reason=reason, positions=parts.settings.on_stop)
        self._take(LinkDown(parts.clock.now_ms(), Line.STOPPING))  # cancels resting entries
        if parts.settings.on_stop == "flatten":
            self._take(Command(parts.clock.now_ms(), "flatten", by="program"))
        try:
            async with asyncio.timeout(parts.settings.stop_timeout_ms / 1000.0 * 0.8):
                while not self._is_clear():  # noqa: ASYNC110 (what it waits for is the engine's state)
                    await asyncio.sleep(0.01)
        except TimeoutError:
            parts.log.warning("stop_incomplete", **status.account(self.engine))
        self._left.set()
        await asyncio.Event().wait()

    def _is_clear(self) -> bool:
        """Return True if nothing is left that a clean stop waits for."""
        state = self.engine.state
        if self._parts.settings.on_stop == "flatten":
            return not state.orders.live and not state.open
        return self._parts.remote is None or all(
            order.intent.reduce_only for order in state.orders.live.values()
        )

    async def _watch_halt(self) -> None:
        """Halt once the halt file appears: ``bot kill`` may not reach the socket."""
        while True:
            await asyncio.sleep(0.5)
            if self._parts.halt.is_set() and self.engine.state.breaker.state != "halted":
                self._halt()

    def _halt(self) -> None:
        """Halt by the halt file."""
        self.inbox.put(Command(self._parts.clock.now_ms(), "halt", by="program"))

    def _on_turn(self, late_s: float) -> None:
        parts = self._parts
        if self._is_warming:  # as of the start of this turn
            self._warmup_lag_max_s = max(self._warmup_lag_max_s, late_s)
            self._is_warming = not self.readiness.started
        else:
            self._lag_max_s = max(self._lag_max_s, late_s)
        if late_s > _LAG_WARN_S:
            parts.log.warning("loop_late", late_ms=round(late_s * 1000.0))
        if max(late_s, self._stood_still_s()) > _STALL_S:
            self._stall()
        self._turned = asyncio.get_running_loop().time(), parts.wall_ms()
        due_ms, now_ms = self.engine.state.due_ms(), parts.clock.now_ms()
        self.alarms.turn(now_ms)
        if due_ms is not None and now_ms >= due_ms:  # a quiet market tells the engine no time
            self.inbox.put(TimePassed(now_ms))
        if not self.is_stuck:
            parts.notifier.alive()

    @property
    def is_stuck(self) -> bool:
        """True if events wait for so long that their consumer must hang."""
        return self.inbox.oldest_age_ms >= _STUCK_MS

    def _stood_still_s(self) -> float:
        """Return for how long the loop has not turned; only the wall clock shows a suspended machine."""
        if self._turned is None:
            return 0.0
        turned_s, turned_ms = self._turned
        return max(asyncio.get_running_loop().time() - turned_s, (self._parts.wall_ms() - turned_ms) / 1000.0)

    def _stall(self) -> None:
        """Hold entries back until a close in time and a reading of the account: events may be missing."""
        if not self.readiness.stalled:
            self._note(Notice.STALL)
            self.inbox.put(LinkDown(self._parts.clock.now_ms(), Line.STALL))
            self._parts.on_stall()

    # After each event

    def _after(self, event: Event) -> None:
        match event:
            case BarsClosed(live=True):
                self._after_close(event)
            case LinkUp(_, Line.FEED):
                self._note(Notice.FEED_UP)
                self._collector.settle(asyncio.get_running_loop().time())
            case LinkDown(_, Line.FEED):
                self._note(Notice.FEED_DOWN)
            case Synced(first=True):
                reach("recovery.read")
                self._note(Notice.ACCOUNT_READ)
            case Command():
                self._operator.taken(event)
            case _:
                pass
        if not self.readiness.started and not len(self.inbox):
            self._start_to_decide()
        swap = self._parts.after(event)
        if swap is not None:
            taken, arguments = swap
            self._keeper.name_model(arguments)
            self._take(taken)

    def _after_close(self, event: BarsClosed) -> None:
        parts = self._parts
        was_stalled = self.readiness.stalled
        self._note(Notice.LIVE_CLOSE)
        self._note_warmth()
        if was_stalled:
            self._take(LinkUp(parts.clock.now_ms(), Line.STALL))
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._line_due_s:
            self._line_due_s = now_s + _LINE_EVERY_S
            line = self._short()
            halted = self.engine.state.breaker.state == "halted"  # nobody should have to guess for hours
            # A halt was said and is said again each hour; its closes would only fill the log.
            say = parts.log.debug if halted else parts.log.info
            say("close", bar_ms=event.close_ms, **line)
            parts.notifier.status(" ".join(f"{name}={value}" for name, value in line.items()))
        if parts.bars_max is not None and self.totals.closes >= parts.bars_max:
            self._stop.ask("bars")
        self._collector.rest(now_s)

    def _short(self) -> dict[str, object]:
        """Return the facts of a status line."""
        state = self.engine.state
        new, self._logged_fills = self.totals.fills - self._logged_fills, self.totals.fills
        return {
            "state": status.state_word(self.engine.state, self.readiness.word),
            "equity_quote": round(state.equity, 2) if state.account_known else None,
            "positions": {sym.symbol: sym.position_base for sym in state.open},
            "orders": len(state.orders.live),
            "fills": new,
        }

    # The operator

    async def _reply(self, command: str, asked: Asked, query: Mapping[str, str]) -> Answer:
        match command:
            case "status":
                return self.status()
            case "live":
                return self._live(_number(query, "since"))
            case "forecasts":
                return self._forecasts.of(query.get("symbol", ""), _number(query, "since"))
            case "pause" | "resume" | "flatten":
                await self._operator.give(command, asked)
            case "close":
                await self._operator.close(asked)
            case "unhalt":
                await self._operator.unhalt(asked)
            case "kill":
                survivors = await self._operator.kill(asked)
                return {**self.status(), "survivors": survivors}
        return self.status()

    def _live(self, since: int) -> Live:
        """Return what changed since an earlier answer."""
        state, totals, board = self.engine.state, self.totals, self._board
        seq, more, rows = board.rows(since)
        word = status.state_of(state.breaker, self.readiness.word)
        top = head(state, word, totals.orders, totals.fills, totals.closes, board.events)
        return Live(seq=seq, now_ms=self._parts.clock.now_ms(), more=more, head=top, rows=rows)


def _number(query: Mapping[str, str], name: str) -> int:
    """Return a number of a question; 0 if it is not given.

    Raises:
        BadInput: it is none.
    """
    text = query.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadInput(f"{name} must be a whole number, was {text[:20]!r}")
    return int(text)


def _loop_s() -> float:
    return asyncio.get_running_loop().time()
