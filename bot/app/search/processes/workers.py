"""Where trials run: in this process or in several of this machine. The order of results is no one's promise.

A worker is a fresh interpreter, not a fork: a fork of a process with threads (pyarrow's, a compiler's) may
hang. ``multiprocessing`` does not start it, because that runs the caller's script again in each worker: a
script that searches without ``if __name__ == "__main__"`` would search in its workers, too. So classes are
found by import alone, and ``portable`` says what can travel.

An interpreter needs half a second until it can run a trial. So workers begin before the search is planned,
and this module imports little.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from bot.app.search.processes.portable import to_bytes
from bot.domain.errors import BadUsage, BotError

if TYPE_CHECKING:
    from bot.app.search.search import Search
    from bot.app.search.trial import Job, Outcome, Recipe

DEATHS_MAX = 3
"""A trial during which so many workers died ends the search."""


class WorkersDied(BotError):
    """Worker processes end without a word in one trial: killed, or out of memory."""


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Crew(Protocol):
    """Who runs the trials of one search. It ends with its ``with`` block."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def count(self) -> int:
        """Return how many trials run at the same time."""
        ...

    def prepare(self, recipe: "Recipe") -> None:
        """Get ready for a search that this process is planning at the same time."""

    def run(self, search: "Search", jobs: Iterable["Job"]) -> Iterator["Outcome"]:
        """Run trials, which are taken as they can begin; yield each outcome as its trial ends."""
        ...


class Here(Crew):
    """This process: one trial after the other."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def count(self) -> int:
        """Return 1."""
        return 1

    def prepare(self, recipe: "Recipe") -> None:
        """Nothing has to be ready."""

    def run(self, search: "Search", jobs: Iterable["Job"]) -> Iterator["Outcome"]:
        """Run trials in turn."""
        from bot.app.search.trial import attempt

        for job in jobs:
            yield attempt(search.plan, job)


def crew_for(
    texts: Sequence[str],
    count: int | None,
    trials: int | None = None,
    *,
    cluster: str | None = None,
    say: Callable[[str], None] = lambda words: None,
    is_plan: bool = False,
) -> Crew:
    """Return who runs ``trials`` of these axes.

    Args:
        texts: the axes.
        count: processes of this machine; 1 is this one. None: one for each core.
        trials: how many points are tried. None: all.
        cluster: address of a Dask scheduler, whose workers run the trials instead.
        say: told in words what people should know of the cluster while it runs.
        is_plan: no trial will run in earnest, so that no process begins.

    Raises:
        BadUsage: a text is no axis, or both processes and a cluster are given.
        NoCluster: nobody listens at the address.
    """
    if cluster is not None:
        from bot.app.search.processes.cluster import Cluster

        if count is not None:
            raise BadUsage(
                "--workers are processes of this machine, --cluster names others; give one of them"
            )
        return Cluster(cluster, say)
    from bot.research.search.space import parse_axis, size

    points = size([parse_axis(text) for text in texts])
    count = min(count or usable_cores(), trials or points, points)
    return Here() if count < 2 or is_plan else WorkerProcesses(count)


class WorkerProcesses(Crew):
    """Worker processes, which read the data once each. A trial whose worker dies is tried again."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._packed: bytes | None = None
        self._workers: list[_Worker] = []
        self._fill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.end()

    def count(self) -> int:
        """Return the number of processes."""
        return self._count

    def prepare(self, recipe: "Recipe") -> None:
        """Let the workers read settings and data.

        Raises:
            NotPortable: see ``to_bytes``.
        """
        self._packed = to_bytes(recipe)
        for worker in self._workers:
            worker.tell(self._packed)

    def run(self, search: "Search", jobs: Iterable["Job"]) -> Iterator["Outcome"]:
        """Run trials; a worker has its next one before the outcome of its last is yielded.

        Raises:
            WorkersDied: a trial's workers died ``DEATHS_MAX`` times.
            NotPortable: see ``to_bytes``.
            BotError: a worker could not make the plan.
        """
        if self._packed is None:
            self.prepare(search.recipe)
        waiting, deaths = iter(jobs), Counter[int]()
        self._fill()
        try:
            for worker in self._workers:
                worker.give(next(waiting, None))
            while busy := [worker for worker in self._workers if worker.job is not None]:
                heard = wait([worker.line for worker in busy])
                for worker in busy:
                    if worker.line not in heard:
                        continue
                    try:
                        outcome, error = worker.line.recv()
                    except (EOFError, ConnectionError):
                        self._replace(worker, deaths)
                        continue
                    if outcome is None:
                        raise BotError(f"a worker ended: {error}")
                    worker.give(next(waiting, None))
                    yield outcome
        finally:  # what still runs is no outcome of a later call
            for worker in [each for each in self._workers if each.job is not None]:
                self._end(worker)

    def _fill(self) -> None:
        while len(self._workers) < self._count:
            worker = _Worker()
            if self._packed is not None:
                worker.tell(self._packed)
            self._workers.append(worker)

    def _end(self, worker: "_Worker") -> int:
        self._workers.remove(worker)
        return worker.end()

    def _replace(self, worker: "_Worker", deaths: Counter[int]) -> None:
        """Let a new worker try the trial of a dead one."""
        job, code = worker.job, self._end(worker)
        assert job is not None
        deaths[job.index] += 1
        if deaths[job.index] >= DEATHS_MAX:
            given = ", ".join(f"{name}={value}" for name, value in job.params.items())
            raise WorkersDied(
                f"{DEATHS_MAX} workers died in the trial {given} (last exit code {code}); if "
                "memory is short, use fewer --workers; --resume goes on"
            )
        self._fill()
        self._workers[-1].give(job)


_BEGIN = """\
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.path[:] = sys.argv[2:]
from bot.app.search.processes.serving import serve
serve(int(sys.argv[1]))
"""
"""What a worker runs. It ignores Ctrl-C: the terminal tells all processes, and the first ends the others."""


class _Worker:
    """A process, the line to it, and the trial it has."""

    def __init__(self) -> None:
        self.line: Connection[Job, tuple[Outcome | None, str | None]]
        self.line, theirs = Pipe()
        self.job: Job | None = None
        self._telling: Thread | None = None
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(  # noqa: S603 - this program
                [sys.executable, "-c", _BEGIN, str(number), *sys.path],
                stdin=subprocess.DEVNULL,
                pass_fds=[number],
            )

    def tell(self, recipe: bytes) -> None:
        """Send the recipe; one with candles does not fit into the line, so a thread waits for its reader."""
        self._telling = Thread(target=self._tell, args=(recipe,), daemon=True)
        self._telling.start()

    def _tell(self, recipe: bytes) -> None:
        with suppress(OSError):
            self.line.send_bytes(recipe)

    def give(self, job: "Job | None") -> None:
        """Begin a trial, after the recipe; None: there is none left."""
        self.job = job
        if job is None:
            return
        assert self._telling is not None
        self._telling.join()
        with suppress(OSError):  # it is dead, which the end of its line will tell
            self.line.send(job)

    def end(self) -> int:
        """End the process; return its exit code."""
        self._process.kill()
        code = self._process.wait()
        if self._telling is not None:
            self._telling.join()
        self.line.close()
        return code
