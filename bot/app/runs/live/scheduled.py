"""Puts together the schedule by which a daemon retrains its model."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bot.adapters.state.disk import Disk
from bot.app.runs.live.plan import LivePlan
from bot.app.runs.live.successors import lineage_at
from bot.domain.errors import StoreFailed
from bot.ports import Clock
from bot.service.retraining.kept import KeptTimetable
from bot.service.retraining.pipe import SECTIONS, Task
from bot.service.retraining.timetable import Outcome
from bot.service.retraining.watch import Retraining
from bot.service.retraining.worker import Worker
from bot.settings.models import FOLDER


def retraining_of(
    plan: LivePlan,
    *,
    log: Any,
    clock: Clock,
    disk: Disk,
    note: Callable[[str, dict[str, object]], None],
    may_begin: Callable[[], bool],
    is_stopping: Callable[[], bool],
    is_rolled_back: Callable[[str], bool],
) -> Retraining | None:
    """Return the schedule of a daemon's retrainings; None if its settings have none."""
    settings, base = plan.settings, plan.base
    if not settings.retrain.schedule or base is None:
        return None
    told = settings.model_dump(mode="json", include={*SECTIONS, "state_dir", "data_dir", "seed"})

    def task(now_ms: int) -> Task:
        return Task(settings=told, base=base.hash, now_ms=now_ms)

    def ended(began_ms: int) -> Outcome | None:
        with suppress(StoreFailed):  # a damaged record is told where models are taken
            for each in lineage_at(settings.state_dir).line(base.hash).attempts:
                if each.began_ms == began_ms and each.verdict != "rolled back":
                    promoted = each.verdict == "promoted"
                    return Outcome(
                        verdict=each.verdict,
                        reason=each.reason,
                        candidate=each.candidate if promoted else "",
                        judged=promoted or bool(each.figures),
                    )
        return None

    return Retraining(
        settings.retrain.schedule,
        KeptTimetable(settings.state_dir / FOLDER, disk),
        Worker(log).retrain,
        task=task,
        ended=ended,
        clock=clock,
        note=note,
        may_begin=may_begin,
        is_stopping=is_stopping,
        is_rolled_back=is_rolled_back,
    )
