"""An event loop in virtual time that runs several processes, and can end one of them as a power cut does.

Time moves only when nothing is ready, straight to the next timer. Every callback carries the process that
made it in its context, so a process can be frozen, or vanish: its callbacks are dropped and its coroutines
never run again, not even their ``finally`` blocks.
"""

import asyncio
import contextvars
import heapq
import math
import socket
import sys
import warnings
from asyncio import base_events, events
from collections.abc import Callable, Coroutine
from gc import collect  # the real one: a story has another
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

if TYPE_CHECKING:
    from tests.sim.net import Network

THREAD_S = 0.01
"""How long the work of a thread takes."""
CURRENT: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)
"""The simulated process whose code runs; None outside of all."""


class Deadlock(RuntimeError):
    """Nothing is ready and no timer is set: the program would hang for ever."""


class Process:
    """A simulated process: what runs in its context, until it ends.

    Attributes:
        alive: False once it was killed; what it still holds can do nothing.
        lag_s: how far its steady time is behind the loop's, because its machine was suspended.
        frozen_until_s: it does not run before; 0 if it is not frozen.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.lag_s = 0.0
        self.frozen_until_s = 0.0
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._context = contextvars.copy_context()
        self._context.run(CURRENT.set, self)

    def start(self, loop: "SimLoop", work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run ``work`` as code of this process."""
        return self._context.run(loop.create_task, work, name=self.name)


class SimLoop(base_events.BaseEventLoop):
    """The loop. ``net`` must be set before anything connects."""

    net: "Network"

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.turns = 0
        self.errors: list[dict[str, Any]] = []
        """What callbacks raised and nobody caught."""
        self._clock_resolution = 1e-9
        self._selector = None
        self._timers: list[tuple[float, int, events.TimerHandle]] = []
        self._numbers = self._given = 0
        self._graveyard: list[object] = []
        self._meant: WeakKeyDictionary[socket.socket, Any] = WeakKeyDictionary()
        self.set_exception_handler(lambda _, context: self.errors.append(context))
        self.set_task_factory(_task)

    def number(self) -> int:
        """Return a number that was never given before."""
        self._given += 1
        return self._given

    def create_future(self) -> "asyncio.Future[Any]":
        """Return a future of this loop."""
        return _Future(loop=self)

    # Time

    def time(self) -> float:
        """Return the steady time of the process that asks."""
        process = CURRENT.get()
        return self.now_s if process is None else self.now_s - process.lag_s

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> events.TimerHandle:
        """Run ``callback`` at ``when``, in the steady time of the process that asks."""
        process = CURRENT.get()
        at_s = when
        if process is not None and process.lag_s:
            at_s += process.lag_s
            while (
                at_s - process.lag_s < when
            ):  # a timer that comes a rounding too early would be set for ever
                at_s = math.nextafter(at_s, math.inf)
        return self.at(at_s, callback, *args, context=context)

    def at(self, when_s: float, callback: Any, *args: Any, context: Any = None) -> events.TimerHandle:
        """Run ``callback`` at ``when_s`` of the loop's own time."""
        timer = events.TimerHandle(when_s, callback, args, self, context)
        self._numbers += 1
        heapq.heappush(self._timers, (when_s, self._numbers, timer))
        return timer

    def _run_once(self) -> None:
        """Run what is ready; if nothing is, go to the next timer. Timers of one moment run in their order."""
        self.turns += 1
        ready, timers = self._ready, self._timers
        if not ready and not self._stopping:
            while timers and timers[0][2]._cancelled:
                heapq.heappop(timers)
            if not timers:
                raise Deadlock("nothing is ready and no timer is set")
            self.now_s = max(self.now_s, timers[0][0])
        now_s = self.now_s
        while timers and timers[0][0] <= now_s:
            timer = heapq.heappop(timers)[2]
            if not timer._cancelled:
                ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _timer_handle_cancelled(self, handle: events.TimerHandle) -> None:
        """Do nothing: a cancelled timer goes when its time comes."""

    def _write_to_self(self) -> None:
        return None

    def _process_events(self, event_list: object) -> None:
        return None

    # Processes

    def kill(self, process: Process) -> None:
        """End a process as the power does: nothing of it runs again. See ``Network.end`` for its sockets."""
        process.alive = False
        for handle in [*self._ready, *(timer for _, _, timer in self._timers)]:
            if _owner(handle) is process:
                # A cancelled handle forgets its callback; the callback may hold the last reference to a
                # coroutine, whose finally blocks would run when it is collected.
                self._graveyard.append((handle._callback, handle._args))
                handle.cancel()
        self._graveyard += list(process.tasks)

    def freeze(self, process: Process, for_s: float, *, suspended: bool) -> None:
        """Let a process stand still; ``suspended``: its steady time stands still, too."""
        until_s = process.frozen_until_s = self.now_s + for_s
        held = [handle for handle in self._ready if _owner(handle) is process and not handle._cancelled]
        for handle in held:
            self._ready.remove(handle)
        self._timers = [
            (when_s, number, timer)
            if _owner(timer) is not process
            else (when_s + for_s if suspended else max(when_s, until_s), number, timer)
            for when_s, number, timer in self._timers
        ]
        heapq.heapify(self._timers)
        if suspended:
            process.lag_s += for_s
        self.at(until_s, self._thaw, process, held, context=contextvars.Context())

    def _thaw(self, process: Process, held: list[events.Handle]) -> None:
        process.frozen_until_s = 0.0
        if process.alive:
            self._ready.extend(held)

    def bury(self) -> None:
        """Free what killed processes held, at the very end, without a word from their ``finally`` blocks."""
        self.set_exception_handler(lambda _, context: None)
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._graveyard.clear()
                self.errors.clear()
                self.net.forget()
                self._ready.clear()
                self._timers.clear()
                for _ in range(3):  # a coroutine that is thrown away may make others while it ends
                    collect()
                    self._ready.clear()
                    self._timers.clear()
            self.close()
        finally:
            sys.unraisablehook = hook

    def close(self) -> None:
        """Close the loop."""
        self._closed = True

    def _check_closed(self) -> None:
        """Do nothing: what is thrown away after the end may still schedule something, which never runs."""

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """Let a generator that nobody holds any more go in silence: no seed chooses when that is."""
        self._asyncgens.discard(agen)

    # The world outside

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:  # type: ignore[override]
        """Every name is an address."""
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Note what is dialled; ``create_connection`` dials it. The real socket is closed unused."""
        self._meant[sock] = address
        sock.close()

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, *, sock: Any = None, **_: Any
    ) -> Any:
        """Dial a simulated address, or the one for which a socket is meant."""
        address = (host, port)
        if sock is not None:
            address = self._meant.pop(sock)
        return await self.net.connect(protocol_factory, address)

    async def create_unix_connection(self, protocol_factory: Any, path: Any = None, **_: Any) -> Any:
        """Dial a simulated socket file."""
        return await self.net.connect(protocol_factory, str(path))

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        """Listen at a simulated address."""
        return self.net.listen(protocol_factory, (host, port))

    async def create_unix_server(
        self, protocol_factory: Any, path: Any = None, *, sock: Any = None, **_: Any
    ) -> Any:
        """Listen at a simulated socket file; a real socket that was bound for it is only a name."""
        return self.net.listen(protocol_factory, str(path or sock.getsockname()), sock)

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> Any:
        """Run ``func`` a moment later: what a thread does takes time, and other tasks run meanwhile."""
        done = self.create_future()

        def work() -> None:
            if done.cancelled():
                return
            try:
                done.set_result(func(*args))
            except Exception as error:
                done.set_exception(error)

        self.call_later(THREAD_S, work)
        return done


def _owner(handle: events.Handle) -> Process | None:
    return handle._context.get(CURRENT)


class _Future(asyncio.Future[Any]):
    """A future whose place in a set depends on its number, not on its address in memory."""

    def __init__(self, *, loop: "SimLoop") -> None:
        super().__init__(loop=loop)
        self._number = loop.number()

    def __hash__(self) -> int:
        return self._number


class _Task(asyncio.Task[Any]):
    """A task of which the same is true: a task group ends its tasks in the order of a set."""

    def __init__(self, work: Any, *, loop: "SimLoop", **options: Any) -> None:
        self._number = loop.number()  # the base class enters it into a set
        super().__init__(work, loop=loop, **options)

    def __hash__(self) -> int:
        return self._number


def _task(loop: Any, work: Any, **options: Any) -> "asyncio.Task[Any]":
    task = _Task(work, loop=loop, **options)
    process = CURRENT.get()
    if process is not None:
        process.tasks.add(task)
    return task
