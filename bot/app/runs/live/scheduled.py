"""Puts together the schedule by which a daemon retrains its model."""

from collections.abc import Callable
from typing import Any

from bot.adapters.state.disk import Disk
from bot.app.runs.live.plan import LivePlan
from bot.ports import Clock
from bot.service.retraining.kept import KeptTimetable
from bot.service.retraining.pipe import SECTIONS, Task
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
) -> Retraining | None:
    """Return the schedule of a daemon's retrainings; None if its settings have none."""
    settings, base = plan.settings, plan.base
    if not settings.retrain.schedule or base is None:
        return None
    told = settings.model_dump(mode="json", include={*SECTIONS, "state_dir", "data_dir", "seed"})

    def task(now_ms: int) -> Task:
        return Task(settings=told, base=base.hash, now_ms=now_ms)

    return Retraining(
        settings.retrain.schedule,
        KeptTimetable(settings.state_dir / FOLDER, disk),
        Worker(log).retrain,
        task=task,
        clock=clock,
        note=note,
        may_begin=may_begin,
        is_stopping=is_stopping,
    )
