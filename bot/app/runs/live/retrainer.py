"""The process that retrains for a daemon: fetches new bars, retrains, judges, promotes, says how it ended.

The daemon starts it as a module (``bot.service.retraining.worker``). It ends with the daemon, however that
ends, and a kill at any moment leaves the model in use and its record as they are.
"""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from bot.app.candles.fresh import Fresh, fetch_fresh
from bot.app.models.retraining import RetrainJob, base_of, verdict_of
from bot.domain.errors import BadModel, BotError, NotPromoted
from bot.service.process.priority import die_first, give_way
from bot.service.process.private import forbid_core_dump, private_files
from bot.service.retraining.pipe import Ended, Said, Task, line_of, read_task
from bot.service.retraining.timetable import Outcome
from bot.settings import Settings

_NICE = 19
"""The daemon goes first where cores are few."""
_GONE = 1


def retrain(task: Task, say: Callable[[str], None]) -> Outcome:
    """Fetch new bars and retrain once; each end is an outcome, and stands in the record of the models."""
    settings = Settings(**task.settings)

    def fetch(work: Path) -> Fresh:
        say(f"fetching candles of {len(settings.feed.symbols)} symbol(s) ...")
        return fetch_fresh(settings, work, task.now_ms)

    job: RetrainJob | None = None
    try:
        base = base_of(settings)
        if base.hash != task.base:
            raise BadModel(
                f"the settings name model {base.hash[:12]} now, and the daemon began with {task.base[:12]}; "
                "start the daemon again"
            )
        job = RetrainJob(settings, fetch=fetch, seed=settings.seed, began_ms=task.now_ms)
        done = job.run(say=say)
    except BotError as error:
        reason = str(error) if job is None else job.told(str(error))
        return Outcome(verdict=verdict_of(error), reason=reason, judged=isinstance(error, NotPromoted))
    return Outcome(verdict="promoted", reason=done.reason, candidate=done.model.hash, judged=True)


def main() -> None:
    """Do the task on stdin; each line of the answer on stdout is one of ``pipe.Up``."""
    forbid_core_dump()
    give_way(_NICE)
    die_first()
    task = read_task(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_daemon, args=(sys.stdin.fileno(),), daemon=True).start()
    out = sys.stdout.buffer

    def say(value: Said | Ended) -> None:
        out.write(line_of(value))
        out.flush()

    with private_files():
        outcome = retrain(task, lambda line: say(Said(line)))
    say(Ended(outcome))


def _end_with_daemon(pipe: int) -> None:
    """End this process at once when the daemon's end of the pipe is closed."""
    while os.read(pipe, 1):
        pass
    os._exit(_GONE)


if __name__ == "__main__":
    main()
