"""Where trials run: in this process, or spread over several. The order of results is no one's promise."""

import multiprocessing
import signal
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from bot.app.search.trial import Job, Outcome, Recipe, attempt
from bot.app.wiring import RunPlan
from bot.domain.errors import BotError

DEATHS_MAX = 3
"""A trial during which so many workers died ends the search."""


class WorkersDied(BotError):
    """Worker processes end without a word in one trial: killed, or out of memory."""


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
        BotError: a worker could not make the plan.
    """
    waiting, deaths = deque(jobs), Counter[int]()
    workers = [_Worker.begin(recipe) for _ in range(min(count, len(jobs)))]
    try:
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
                    workers[at] = _again(worker, worker.job, recipe, waiting, deaths)
                    continue
                if outcome is None:
                    raise BotError(f"a worker ended: {error}")
                worker.job = None
                yield outcome
    finally:
        for worker in workers:
            worker.end()


def _again(
    worker: "_Worker", job: Job, recipe: Recipe, waiting: deque[Job], deaths: Counter[int]
) -> "_Worker":
    """Put a dead worker's trial back; return a new worker."""
    worker.end()
    deaths[job.index] += 1
    if deaths[job.index] >= DEATHS_MAX:
        given = ", ".join(f"{name}={value}" for name, value in job.params.items())
        raise WorkersDied(
            f"{DEATHS_MAX} workers died in the trial {given} (last exit code {worker.process.exitcode}); if "
            "memory is short, use fewer --workers; --resume goes on"
        )
    waiting.appendleft(job)
    return _Worker.begin(recipe)


@dataclass
class _Worker:
    """A process, the line to it, and the trial it has."""

    process: BaseProcess
    line: "Connection[Job, tuple[Outcome | None, str | None]]"
    job: Job | None = None

    @classmethod
    def begin(cls, recipe: Recipe) -> "_Worker":
        # spawn: a fork of a process with threads (pyarrow's, a compiler's) may hang
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(recipe, theirs), daemon=True)
        process.start()
        theirs.close()
        return cls(process, ours)

    def give(self, job: Job) -> None:
        self.job = job
        with suppress(OSError):  # it is dead, which the end of its line will tell
            self.line.send(job)

    def end(self) -> None:
        self.line.close()
        self.process.kill()
        self.process.join()


def _serve(recipe: Recipe, line: "Connection[tuple[Outcome | None, str | None], Job]") -> None:
    """Be a worker: make the plan, then answer trials until the line ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells all; the first process ends us
    try:
        plan = recipe.plan()
        while True:
            line.send((attempt(plan, line.recv()), None))
    except (EOFError, ConnectionError):
        return
    except Exception as error:
        line.send((None, f"{type(error).__name__}: {error}"))
