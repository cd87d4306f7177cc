"""What runs beside the trading: messages, the page, the check of the journal, newer models, glances."""

import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.adapters.net.public_rest import follow
from bot.adapters.state.clock import FollowedClock
from bot.app.notify import make_messenger
from bot.app.page import page_beside
from bot.app.runs.live.connecting import Ground
from bot.app.runs.live.plan import LivePlan
from bot.app.runs.live.recovery import Standing
from bot.app.runs.live.scheduled import retraining_of
from bot.app.runs.live.watcher import Watcher
from bot.ports import Alarm
from bot.service.daemon import Daemon
from bot.service.daemon.older_segments import OlderSegments
from bot.service.notify.messenger import Messenger
from bot.service.process.supervise import Stop
from bot.service.retraining.watch import Retraining
from bot.service.views.glance import glances

if TYPE_CHECKING:  # the model's modules load a compiler: only runs with a model pay for it
    from bot.app.context import Context
    from bot.app.runs.live.succession import Succession

Tasks = dict[str, Callable[[], Coroutine[Any, Any, None]]]


class DaemonToCome:
    """The daemon, for the parts that are made before it and ask it later."""

    def __init__(self) -> None:
        self._daemon: Daemon | None = None

    def has_come(self, daemon: Daemon) -> None:
        """Give the daemon, once it is made."""
        self._daemon = daemon

    def get(self) -> Daemon:
        """Return the daemon; only its own tasks may ask."""
        assert self._daemon is not None, "a task of the daemon runs after it is made"
        return self._daemon

    def lives(self) -> bool:
        """Return False for one that hangs: it must not look alive from outside."""
        return self._daemon is None or not self._daemon.is_stuck

    def may_retrain(self) -> bool:
        """Return False while the start goes on, or a close is near."""
        daemon = self.get()
        return daemon.readiness.started and daemon.may_glance()


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What runs beside the trading of one daemon; None where a run has none of it."""

    tasks: Tasks
    older: OlderSegments
    messenger: Messenger | None
    succession: "Succession | None"
    retraining: Retraining | None
    alarms: Sequence[Alarm]

    def facts(self) -> dict[str, object]:
        """Return what these parts add to the status."""
        facts: dict[str, object] = dict(self.older.facts())
        for each in (self.messenger, self.succession, self.retraining):
            if each is not None:
                facts |= each.facts()
        return facts


def begin_beside(
    open_: contextlib.AsyncExitStack,
    context: "Context",
    plan: LivePlan,
    ground: Ground,
    standing: Standing,
    *,
    trouble: str,
    to_come: DaemonToCome,
    stop: Stop,
    watcher: Watcher,
) -> Beside:
    """Start the messenger, which ends with ``open_``; make the rest, whose tasks the daemon runs.

    ``trouble``: what is wrong with a promoted model, in words; empty if nothing is.
    """
    messenger = _messenger(open_, context, plan, ground, standing)
    older = OlderSegments(standing.writer.journal, standing.writer.end.segment, ground.notes)
    tasks = {**_clock_and_page(context, plan, ground, watcher), "older segments": older.run}
    succession = _succession(plan, ground, standing, trouble)
    if succession is not None:
        tasks["succession"] = succession.run
    retraining = retraining_of(
        plan,
        log=context.log,
        clock=ground.clock,
        disk=ground.machine.disk,
        note=ground.notes,
        may_begin=to_come.may_retrain,
        is_stopping=lambda: stop.reason is not None,
        is_rolled_back=lambda model: succession is not None and succession.is_rolled_back(model),
    )
    if retraining is not None:
        tasks["retraining"] = retraining.run
    if watcher.show is not None:
        tasks["glances"] = glances(to_come.get, watcher.show, context.log)
    return Beside(
        tasks=tasks,
        older=older,
        messenger=messenger,
        succession=succession,
        retraining=retraining,
        alarms=(watcher,) if messenger is None else (watcher, messenger),
    )


def _messenger(
    open_: contextlib.AsyncExitStack,
    context: "Context",
    plan: LivePlan,
    ground: Ground,
    standing: Standing,
) -> Messenger | None:
    messenger = make_messenger(
        plan.settings,
        standing.writer.journal.folder,
        pid=ground.machine.pid,
        log=context.log,
        redact=context.redactor,
    )
    if messenger is not None:
        messenger.start()
        open_.push_async_callback(messenger.close)
    return messenger


def _succession(plan: LivePlan, ground: Ground, standing: Standing, trouble: str) -> "Succession | None":
    """Return the way of promoted models into this run; None without a model that could be retrained."""
    if plan.base is None:
        return None
    from bot.app.runs.live.succession import Succession

    return Succession(standing.engine, plan, ground.rest, standing.header.arguments, ground.notes, trouble)


def _clock_and_page(context: "Context", plan: LivePlan, ground: Ground, watcher: Watcher) -> Tasks:
    tasks: Tasks = {}
    rest, clock = ground.rest, ground.clock
    if isinstance(clock, FollowedClock):
        tasks["clock"] = lambda: follow(rest, clock)
    if plan.settings.web.port is not None:
        tasks["web"] = page_beside(
            context, plan.settings, insecure=plan.web_insecure, heard=watcher.on_page
        ).run
    return tasks
