"""Starts background tasks in a task group, also while the group is ending."""

import asyncio
from collections.abc import Coroutine


def spawn(
    group: asyncio.TaskGroup | None, work: Coroutine[object, object, None]
) -> asyncio.Task[None] | None:
    """Start ``work`` in ``group``; return None if there is no group or it is ending."""
    if group is not None:
        try:
            return group.create_task(work)
        except RuntimeError:  # it is being left
            pass
    work.close()
    return None
