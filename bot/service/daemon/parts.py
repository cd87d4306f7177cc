"""What a daemon is made of, and how its run ended."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from bot.adapters.net.inbox import Inbox
from bot.adapters.net.stopwatch import Stopwatch
from bot.adapters.state.clock import WallClock
from bot.adapters.state.directory import HaltFile
from bot.domain.messages import Event, ModelSwapped
from bot.engine.core import Engine
from bot.journal.entries import Quarantined
from bot.ports import Alarm, Clock, Recorder, Venue
from bot.service.journaling import JournalKeeper
from bot.service.process.notify import Notifier
from bot.service.process.supervise import Stop
from bot.settings import DaemonSettings


class EventSource(Protocol):
    """A feed or a remote venue: puts events in the inbox until it is cancelled."""

    async def run(self, inbox: Inbox) -> None:
        """Run until cancelled; returning is a failure."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Everything that a daemon is made of.

    Args:
        remote: the loop of a remote venue; None for a venue in this process.
        facts: returns what feed and venue add to the status.
        opening: the first events of this process.
        redact: takes secrets out of words that are written to disk.
        quarantined: events of earlier processes that no process handles again.
        record: sees the run beside the journal; None for none.
        others: further tasks to run.
        quiet_every_ms: least time between two prices of a symbol in which nothing is at stake.
        passed_over: kinds of events that the engine must not see.
        clear: cancels every order of ours at the venue and returns the ids of survivors; None if the
            engine's own cancels are enough.
        stopwatch: the one that feed and venue use too.
        on_stall: called when this process, or its machine, stood still for a while.
        alarms: hear every alert, beside the log.
        after: hears each event that was handled; returns the swap of a model to take now, with the arguments
            of the engine after it, or None.
        ended_before: how the process before this one ended; None if there was none, empty if it did not say.
    """

    engine: Engine
    feed: EventSource
    venue: Venue
    remote: EventSource | None
    keeper: JournalKeeper
    halt: HaltFile
    clock: Clock
    record: Recorder | None
    state_dir: Path
    settings: DaemonSettings
    log: Any
    redact: Callable[[str], str] = str
    opening: Sequence[Event] = ()
    quarantined: Sequence[Quarantined] = ()
    identity: Mapping[str, object] = field(default_factory=dict)
    facts: Callable[[], Mapping[str, object]] = dict
    passed_over: tuple[type[Event], ...] = ()
    others: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=dict)
    clear: Callable[[], Awaitable[Sequence[str]]] | None = None
    notifier: Notifier = field(default_factory=lambda: Notifier({}, 0))
    quiet_every_ms: int = 0
    duration_s: float | None = None
    bars_max: int | None = None
    stop: Stop = field(default_factory=Stop)
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    wall_ms: Callable[[], int] = WallClock().now_ms
    on_stall: Callable[[], None] = lambda: None
    alarms: Sequence[Alarm] = ()
    after: Callable[[Event], tuple[ModelSwapped, msgspec.Raw] | None] = lambda event: None
    ended_before: str | None = None


@dataclass(frozen=True)
class Ending:
    """Why a run ended, and its last status."""

    reason: str
    status: Mapping[str, object]
