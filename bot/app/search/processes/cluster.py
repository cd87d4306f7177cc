"""Trials on the machines of a Dask cluster that runs already: `--cluster tcp://HOST:PORT`.

Dask hands out the trials, and gives one again whose worker is gone. This side asks who is there, refuses
machines that would decide otherwise, and says so when nobody is left. ``parcel.py`` is the other side.
"""

import hashlib
import logging
import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, urlsplit

from bot.app.search.processes.portable import to_bytes
from bot.app.search.processes.workers import Crew, WorkersDied
from bot.domain.errors import BadUsage, BotError

if TYPE_CHECKING:
    from distributed import Client, Future

    from bot.app.search.processes.parcel import Files
    from bot.app.search.search import Search
    from bot.app.search.trial import Job, Outcome, Recipe

CONNECT_S = 10.0
"""So long a scheduler may take to answer."""
WAIT_S = 600.0
"""So long a search waits for a worker when none is left."""
LOOK_S = 1.0
"""How often it looks who is there."""
_GLANCE_S = 0.05
"""The same while nobody is there yet."""
SENT_BYTES_MAX = 500_000_000
"""Candles of more bytes are not sent: the workers must see the files."""

Say = Callable[[str], None]


class NoCluster(BotError):
    """The cluster cannot run the search: it is not there, it is another program, or all of it is gone."""


class Cluster(Crew):
    """The workers of a Dask scheduler; the cluster must be trusted, as Dask runs what it is sent."""

    def __init__(self, address: str, say: Say, *, wait_s: float = WAIT_S) -> None:
        """Connect.

        Args:
            address: ``tcp://HOST:PORT``, or ``tls://HOST:PORT``.
            say: told in words what people should know while the search runs.
            wait_s: how long to wait when no worker is left.

        Raises:
            BadUsage: the address is none, or the extra ``cluster`` is not installed.
            NoCluster: nobody listens there.
        """
        self._address, self._say, self._wait_s = address, say, wait_s
        self._client = _connect(address)
        self._looked_s = -LOOK_S
        self._threads = 0
        self._gone_s: float | None = None
        self._search: Search | None = None
        self._flight: _Flight | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(Exception):  # a scheduler that is gone cannot be told good-bye
            self._client.close(timeout=2)

    def count(self) -> int:
        """Return how many trials run at the same time, one on each worker that is there now."""
        return self._places() // 2

    def prepare(self, recipe: "Recipe") -> None:
        """Nothing: the plan is sent when it is checked."""

    def run(self, search: "Search", jobs: Iterable["Job"]) -> Iterator["Outcome"]:
        """Run trials; Dask runs a trial again whose worker is gone.

        Raises:
            NotPortable: see ``to_bytes``.
            WorkersDied: a trial takes its workers with it.
            NoCluster: a worker is another program or has other files; no worker comes back; or the scheduler
                is gone.
        """
        waiting = iter(jobs)
        ahead = next(waiting, None)
        if ahead is None:
            return
        flight = self._flight_of(search)
        try:
            while ahead is not None or len(flight):
                places = self._places()
                while ahead is not None and len(flight) < places:
                    flight.begin(ahead)
                    ahead = next(waiting, None)
                with suppress(Empty):
                    yield self._outcome(*flight.ended(LOOK_S))
        finally:
            flight.cancel()

    def _flight_of(self, search: "Search") -> "_Flight":
        """Send a search, once."""
        if self._flight is None or self._search is not search:
            self._search, self._flight = search, _Flight(self._client, self._pack(search))
        return self._flight

    def _pack(self, search: "Search") -> bytes:
        """Look at every worker; return what they need, with the candles if not all see the same files.

        Raises:
            NotPortable, NoCluster: see ``run``.
        """
        from bot.app.search.processes.parcel import SAME, Files, Parcel

        files = Files.of(search)
        found = self._look(files)
        for worker, told in found.items():
            if isinstance(told, BaseException):
                raise self._no(
                    f"the worker {worker} cannot run bot ({_words(told)}); install it there as here"
                )
            if told[0] is not None:
                raise self._no(f"the worker {worker} is unlike this machine: {told[0]}; {SAME}")
        if files is not None and all(sees for _, sees in found.values()):
            return Parcel.pack(search, files)
        packed = Parcel.pack(search, None)
        if len(packed) > SENT_BYTES_MAX:
            raise self._no(
                f"{len(packed) / 1e9:.1f} GB of candles are too much to send (at most {SENT_BYTES_MAX / 1e9} "
                "GB); put the files where every worker sees them at the same path"
            )
        return packed

    def _look(self, files: "Files | None") -> dict[str, Any]:
        """Ask every worker what it has. A worker that dies before it answers is as good as never there.

        Raises:
            NoCluster: nobody is there for too long, or the scheduler is gone.
        """
        from distributed.comm.core import CommClosedError

        from bot.app.search.processes import parcel

        while True:
            while not self._places():
                time.sleep(_GLANCE_S)
            try:
                told = self._client.run(parcel.look, parcel.program(), files, on_error="return")
            except Exception as error:  # whatever Dask raises if the cluster is going away
                raise self._gone(error) from error
            alive = {worker: each for worker, each in told.items() if not isinstance(each, CommClosedError)}
            if alive:
                return alive
            time.sleep(_GLANCE_S)

    def _places(self) -> int:
        """Return how many trials to have on the way: one for each place, and one that waits there.

        Raises:
            NoCluster: nobody is left for too long, or the scheduler is gone.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S and self._threads:
            return 2 * self._threads
        self._looked_s = now_s
        try:
            self._threads = sum(self._client.nthreads().values())
        except Exception as error:  # whatever Dask raises for a scheduler that is gone
            raise self._gone(error) from error
        if self._threads:
            if self._gone_s is not None:
                self._say(f"{self._threads} places for trials on {self._address}: going on")
            self._gone_s = None
            return 2 * self._threads
        if self._gone_s is None:
            self._gone_s = now_s
            self._say(f"no worker on {self._address}; waiting {self._wait_s:,.0f} s for one")
        if now_s - self._gone_s > self._wait_s:
            raise self._no(
                f"no worker for {self._wait_s:,.0f} s; start some with `dask worker {self._address} "
                "--nthreads 1`, then --resume goes on"
            )
        return 0

    def _outcome(self, job: "Job", future: "Future[Any]") -> "Outcome":
        if future.status == "finished":
            found = future.result()
            if isinstance(found, str):
                raise self._no(f"a worker cannot run a trial: {found}")
            return found  # type: ignore[no-any-return]  # Dask's results have no type
        if future.status != "error":
            raise self._gone(ConnectionError("the connection is lost"))
        error = future.exception()
        given = ", ".join(f"{name}={value}" for name, value in job.params.items())
        if type(error).__name__ == "KilledWorker":
            raise WorkersDied(
                f"several workers of {self._address} died in the trial {given}; if memory is short, start "
                "fewer on a machine; --resume goes on"
            )
        raise self._no(f"the trial {given} ended with {_words(error)}")

    def _gone(self, error: BaseException) -> NoCluster:
        return self._no(f"the scheduler is gone ({_words(error)}); --resume goes on when it is back")

    def _no(self, why: str) -> NoCluster:
        return NoCluster(f"--cluster {self._address}: {why}")


class _Flight:
    """Trials that the cluster has, and their ends in the order of time."""

    def __init__(self, client: "Client", packed: bytes) -> None:
        from bot.app.search.processes.parcel import program

        self._client, self._program = client, program()
        self._name = hashlib.sha256(packed).hexdigest()
        self._ended: SimpleQueue[Future[Any]] = SimpleQueue()
        self._trials: dict[object, tuple[Job, Future[Any]]] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Dask warns of 10 MB; they are sent once a worker
            # A task, not scattered data: the scheduler can make it again if its holders are gone.
            self._packed = client.submit(bytes, packed, key=f"bot-search-{self._name}")

    def __len__(self) -> int:
        return len(self._trials)

    def begin(self, job: "Job") -> None:
        from bot.app.search.processes.parcel import attempt_there

        key = f"bot-trial-{self._name}-{job.index}-{time.monotonic_ns()}"
        trial = to_bytes(job, with_files=True)
        future = self._client.submit(attempt_there, self._program, self._name, self._packed, trial, key=key)
        self._trials[key] = (job, future)
        future.add_done_callback(self._ended.put)

    def ended(self, wait_s: float) -> "tuple[Job, Future[Any]]":
        """Return the next trial that has ended.

        Raises:
            Empty: none ended for so long.
        """
        found = self._trials.pop(self._ended.get(timeout=wait_s).key, None)
        if found is None:  # it was cancelled
            raise Empty
        return found

    def cancel(self) -> None:
        """Let the cluster forget what has not ended."""
        with suppress(Exception):  # a scheduler that is gone has forgotten
            self._client.cancel([future for _, future in self._trials.values()])
        self._trials.clear()


def _connect(address: str) -> "Client":
    place = urlsplit(address)
    if place.scheme not in ("tcp", "tls") or not place.hostname or not _port_of(place):
        raise BadUsage(f"--cluster {address}: must be the address of a Dask scheduler, as tcp://host:8786")
    try:
        from distributed import Client
    except ImportError:
        raise BadUsage(
            "--cluster needs the extra `cluster`: scripts/install cluster, or pip install 'bot[cluster]'"
        ) from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said in our words
    try:
        socket.create_connection((place.hostname, place.port), timeout=CONNECT_S).close()  # Dask waits
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other versions are told by worker
            return Client(address, timeout=CONNECT_S, set_as_default=False)
    except OSError as error:  # a time-out is one, too
        raise NoCluster(
            f"--cluster {address}: no Dask scheduler answers there ({error.strerror or 'time is over'}); "
            "start `dask scheduler` and `dask worker`, or give another address"
        ) from error


def _port_of(place: SplitResult) -> int | None:
    try:
        return place.port
    except ValueError:  # no number, or too large
        return None


def _words(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no more is known'}"
