"""Where trials run: in this process, or spread over several. The order of results is no one's promise.

A worker is a fresh interpreter, not a fork: a fork of a process with threads (pyarrow's, a compiler's) may
hang. ``multiprocessing`` does not start it, because that runs the caller's script again in each worker: a
script that searches without ``if __name__ == "__main__"`` would search in its workers, too. So classes are
found by import alone, and ``recipe_bytes`` says which recipe can travel.
"""

import io
import os
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from types import FunctionType
from typing import Any

from bot.app.search.trial import Job, Outcome, Recipe, attempt
from bot.app.wiring import RunPlan
from bot.domain.errors import BotError

DEATHS_MAX = 3
"""A trial during which so many workers died ends the search."""


class WorkersDied(BotError):
    """Worker processes end without a word in one trial: killed, or out of memory."""


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class NotPortable(BotError):
    """A part of a recipe has no import path, so that another process cannot have it."""


_BEGIN = """\
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.path[:] = sys.argv[2:]
from bot.app.search.workers import serve
serve(int(sys.argv[1]))
"""
"""What a worker runs. It ignores Ctrl-C: the terminal tells all processes, and the first ends the others."""


def recipe_bytes(recipe: Recipe) -> bytes:
    """Return a recipe for a worker of this program.

    Raises:
        NotPortable: it holds a class or a function of a notebook, of the script that runs, or of a function's
            inside; or an object that cannot be copied.
    """
    found = io.BytesIO()
    try:
        _Portable(found).dump(recipe)
    except NotPortable:
        raise
    except Exception as error:  # the code of a user may raise anything
        raise NotPortable(f"a worker process cannot have it ({error})") from error
    return found.getvalue()


class _Portable(ForkingPickler):
    """How a line sends values, but for what a fresh interpreter cannot import."""

    def reducer_override(self, found: object) -> Any:  # as its base class has it
        if isinstance(found, type | FunctionType) and (
            found.__module__ == "__main__" or "<locals>" in found.__qualname__
        ):
            raise NotPortable(
                f"{found.__qualname__} stands in a notebook, in the script that runs or inside a function, "
                "where worker processes cannot import it; move it into a file and import it from there"
            )
        return NotImplemented


def run_jobs(recipe: Recipe, plan: RunPlan, jobs: Sequence[Job], workers: int) -> Iterator[Outcome]:
    """Run the trials in ``workers`` processes, or here if that is as good; yield each as it ends."""
    if workers == 1 or len(jobs) < 2:
        return run_here(plan, jobs)
    return run_in_processes(recipe, jobs, workers)


def run_here(plan: RunPlan, jobs: Sequence[Job]) -> Iterator[Outcome]:
    """Run the trials one after the other in this process."""
    for job in jobs:
        yield attempt(plan, job)


def run_in_processes(recipe: Recipe, jobs: Sequence[Job], count: int) -> Iterator[Outcome]:
    """Run the trials in ``count`` processes, which read the data once each.

    A trial whose worker dies is tried again.

    Raises:
        WorkersDied: a trial's workers died ``DEATHS_MAX`` times.
        NotPortable: see ``recipe_bytes``.
        BotError: a worker could not make the plan.
    """
    waiting, deaths = deque(jobs), Counter[int]()
    packed = recipe_bytes(recipe)
    workers = [_Worker.begin() for _ in range(min(count, len(jobs)))]
    try:
        for worker in workers:  # all have begun: a long recipe waits for its reader
            worker.tell(packed)
        while waiting or any(worker.job is not None for worker in workers):
            for worker in workers:
                if waiting and worker.job is None:
                    worker.give(waiting.popleft())
            heard = wait([worker.line for worker in workers if worker.job is not None])
            for at, worker in enumerate(workers):
                if worker.line not in heard or worker.job is None:
                    continue
                try:
                    outcome, error = worker.line.recv()
                except (EOFError, ConnectionError):
                    workers[at] = _again(worker, worker.job, packed, waiting, deaths)
                    continue
                if outcome is None:
                    raise BotError(f"a worker ended: {error}")
                worker.job = None
                yield outcome
    finally:
        for worker in workers:
            worker.end()


def _again(
    worker: "_Worker", job: Job, packed: bytes, waiting: deque[Job], deaths: Counter[int]
) -> "_Worker":
    """Put a dead worker's trial back; return a new worker."""
    worker.end()
    deaths[job.index] += 1
    if deaths[job.index] >= DEATHS_MAX:
        given = ", ".join(f"{name}={value}" for name, value in job.params.items())
        code = worker.process.returncode
        raise WorkersDied(
            f"{DEATHS_MAX} workers died in the trial {given} (last exit code {code}); if "
            "memory is short, use fewer --workers; --resume goes on"
        )
    waiting.appendleft(job)
    new = _Worker.begin()
    new.tell(packed)
    return new


@dataclass
class _Worker:
    """A process, the line to it, and the trial it has."""

    process: "subprocess.Popen[bytes]"
    line: "Connection[Job, tuple[Outcome | None, str | None]]"
    job: Job | None = None

    @classmethod
    def begin(cls) -> "_Worker":
        ours, theirs = Pipe()
        with theirs:
            number = theirs.fileno()
            process = subprocess.Popen(  # noqa: S603 - this program
                [sys.executable, "-c", _BEGIN, str(number), *sys.path],
                stdin=subprocess.DEVNULL,
                pass_fds=[number],
            )
        return cls(process, ours)

    def give(self, job: Job) -> None:
        self.job = job
        with suppress(OSError):  # it is dead, which the end of its line will tell
            self.line.send(job)

    def tell(self, recipe: bytes) -> None:
        with suppress(OSError):
            self.line.send_bytes(recipe)

    def end(self) -> None:
        self.line.close()
        self.process.kill()
        self.process.wait()


def serve(number: int) -> None:
    """Be a worker on this file descriptor: make the plan, then answer trials until the line ends."""
    line: Connection[tuple[Outcome | None, str | None], Job | Recipe] = Connection(number)
    try:
        recipe = line.recv()
        assert isinstance(recipe, Recipe)
        plan = recipe.plan()
        while True:
            job = line.recv()
            assert isinstance(job, Job)
            line.send((attempt(plan, job), None))
    except (EOFError, ConnectionError):
        return
    except Exception as error:
        line.send((None, f"{type(error).__name__}: {error}"))
