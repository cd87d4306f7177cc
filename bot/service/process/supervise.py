"""Watch over the daemon: tasks that end, signals that must end it in time, a loop that stalls."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from bot.domain.errors import BotError, Broken
from bot.logs import Stderr

FORCED = 130
"""Exit code after a second signal or a stop that took too long; stops of positions rest at the venue."""
_GRACE_S = 1.0
_LAST_WORDS_S = 0.5
"""How long the reason of a forced end may take to be written."""


class Stop:
    """The reason why the run must end: the name of a signal, or another word. The first one counts.

    ``heeded`` is True once a task waits for the stop and will end the run in order.
    """

    def __init__(self) -> None:
        self.reason: str | None = None
        self.heeded = False
        self._asked = asyncio.Event()

    def ask(self, reason: str) -> None:
        """Ask the run to end."""
        if self.reason is None:
            self.reason = reason
        self._asked.set()

    async def wait(self) -> str:
        """Return the reason once there is one."""
        await self._asked.wait()
        assert self.reason is not None
        return self.reason


@contextmanager
def signals(stop: Stop, timeout_ms: int) -> Iterator[None]:
    """Let SIGTERM and SIGINT ask for a stop. A second signal, or a late stop, ends the process at once.

    The system's own timer keeps the time, so it works even if the event loop is stuck.
    """
    handled = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in (*handled, signal.SIGALRM)}
    loop = asyncio.get_running_loop()

    def ask(name: str) -> None:
        if stop.reason is not None:
            os._exit(FORCED)
        signal.setitimer(signal.ITIMER_REAL, timeout_ms / 1000.0 + _GRACE_S)
        stop.ask(name)

    signal.signal(signal.SIGALRM, _too_late)
    for number in handled:
        loop.add_signal_handler(number, ask, number.name)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number in handled:
            loop.remove_signal_handler(number)
        for number, handler in before.items():
            signal.signal(number, handler)


def _too_late(number: int, frame: FrameType | None) -> None:
    print("error: the clean stop took too long; ended without it", file=sys.stderr, flush=True)  # noqa: T201
    if isinstance(sys.stderr, Stderr):
        sys.stderr.drain(_LAST_WORDS_S)
    os._exit(FORCED)


async def together(tasks: Mapping[str, Coroutine[object, object, None]], until: asyncio.Event) -> None:
    """Run ``tasks`` until ``until`` is set; a task that ends before that is an error.

    Raises:
        BotError: the first failure, or that a task ended without one.
        Exception: whatever a task raised that is no ``BotError``.
    """
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(_without_end(name, each), name=name) for name, each in tasks.items()]
            await until.wait()
            for task in running:
                task.cancel()
    except BaseExceptionGroup as failed:
        raise first_cause(failed) from None


async def _without_end(name: str, task: Coroutine[object, object, None]) -> None:
    await task
    raise Broken(f"{name} ended although nobody asked it to; start again")


def first_cause(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the failure that explains the others: the first ``BotError``, else the first of all."""
    leaves = list(_leaves(failed))
    return next((leaf for leaf in leaves if isinstance(leaf, BotError)), leaves[0])


def _leaves(failed: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for each in failed.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield each


async def watch_loop(on_turn: Callable[[float], None], every_s: float = 0.25) -> None:
    """Call ``on_turn`` every ``every_s`` with how late the event loop was, in seconds."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + every_s
        await asyncio.sleep(every_s)
        on_turn(loop.time() - due)
