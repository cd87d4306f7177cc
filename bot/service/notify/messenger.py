"""The daemon's side of messages: a ``ports.Alarm`` that hands alerts to the sender process and never waits.

``sound`` puts an alert in a bounded queue; a task writes the queue to the sender's pipe. A sender that dies
is started again. What it tells goes to the daemon's log, its counts to the status.
"""

import asyncio
import contextlib
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bot.domain.addresses import Address
from bot.domain.alerts import Alert
from bot.service.notify.pipe import LINE_MAX, PLACE, Bye, Counts, Sound, Task, line_of, read_up
from bot.service.process.environ import plain_environment

_AGAIN_S = 0.5
_AGAIN_MAX_S = 60.0
"""First and longest wait before a sender that has ended is started again."""
CLOSE_S = 2.0
"""How long the end of the daemon waits for its last messages."""


class Messenger:
    """Keeps a sender running, and hands it the alerts that an address wants.

    Args:
        task: what the sender is told first.
        log: what the sender tells goes there.
        redact: takes secrets out of every alert before it leaves the process.
        command: what to start, other than the sender.
    """

    def __init__(
        self, task: Task, log: Any, redact: Callable[[str], str] = str, command: Sequence[str] | None = None
    ) -> None:
        self._task = task
        self._log = log
        self._redact = redact
        self._command = command or (sys.executable, "-P", "-m", PLACE)
        self._addresses = [Address.of(url) for url in task.urls]
        self._waiting: deque[bytes] = deque()
        self._dropped = 0
        self._came = asyncio.Event()
        self._closing = asyncio.Event()
        self._within_s = CLOSE_S
        self._counts: tuple[dict[str, Any], ...] = ()
        self._running: asyncio.Task[None] | None = None

    def sound(self, alert: Alert) -> None:
        """Take an alert; returns at once."""
        task = self._task
        if not any(address.wants(alert, task.level, task.events) for address in self._addresses):
            return
        if len(self._waiting) >= task.waiting_max:
            self._dropped += 1
            if self._dropped.bit_count() == 1:
                self._log.warning("messages_dropped", target="all", so_far=self._dropped)
            return
        line = self._redact(line_of(Sound(alert)).decode()).encode()
        if len(line) <= LINE_MAX:
            self._waiting.append(line)
            self._came.set()

    def facts(self) -> dict[str, object]:
        """Return what the status says about messages."""
        return {"messages": [dict(each) for each in self._counts], "messages_dropped": self._dropped}

    def start(self) -> None:
        """Start the sender, and keep it running until ``close``."""
        self._running = asyncio.create_task(self._run(), name="messages")

    async def close(self, within_s: float = CLOSE_S) -> None:
        """Let the sender send what waits; end it after ``within_s`` at the latest."""
        if self._running is None:
            return
        self._within_s = within_s
        self._closing.set()
        self._came.set()
        done, _ = await asyncio.wait((self._running,), timeout=within_s + 0.5)
        if not done:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
        left = len(self._waiting)
        if left:
            self._log.warning("messages_unsent", target="all", alerts=left)

    # The task

    async def _run(self) -> None:
        wait_s = _AGAIN_S
        while not self._closing.is_set():
            began_s = asyncio.get_running_loop().time()
            try:
                await self._with_sender()
            except OSError as error:
                self._log.error("message_sender_failed", reason=error.strerror or type(error).__name__)
            if self._closing.is_set():
                return
            lasted_s = asyncio.get_running_loop().time() - began_s
            wait_s = _AGAIN_S if lasted_s > _AGAIN_MAX_S else wait_s
            self._log.warning("message_sender_ended", again_in_s=wait_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), wait_s)
            wait_s = min(wait_s * 2.0, _AGAIN_MAX_S)

    async def _with_sender(self) -> None:
        """Start a sender, and write and read until it ends."""
        sender = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL if sys.stderr is None else asyncio.subprocess.STDOUT,
            limit=2 * LINE_MAX,
            start_new_session=True,  # Ctrl-C ends the daemon, and the daemon ends the sender
            env=plain_environment(),
        )
        writing = asyncio.create_task(self._write(sender))
        try:
            await self._read(sender)
            await sender.wait()
        finally:
            writing.cancel()
            if sender.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    sender.kill()
                await sender.wait()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await writing

    async def _write(self, sender: Process) -> None:
        assert sender.stdin is not None
        sender.stdin.write(line_of(self._task))
        await sender.stdin.drain()
        while True:
            while self._waiting:
                sender.stdin.write(self._waiting[0])
                await sender.stdin.drain()
                self._waiting.popleft()
            if self._closing.is_set():
                sender.stdin.write(line_of(Bye(self._within_s)))
                await sender.stdin.drain()
                return
            self._came.clear()
            await self._came.wait()

    async def _read(self, sender: Process) -> None:
        assert sender.stdout is not None
        while line := await _line_from(sender.stdout):
            try:
                told = read_up(line)
            except msgspec.MsgspecError:  # a traceback, or a library that prints
                self._log.warning("message_sender_said", text=line.decode(errors="replace").rstrip())
                continue
            if isinstance(told, Counts):
                self._counts = told.targets
            else:
                say = {"info": self._log.info, "warning": self._log.warning, "error": self._log.error}
                say[told.level](told.name, **told.facts)


async def _line_from(stream: asyncio.StreamReader) -> bytes:
    """Return the next line; a line that is too long is cut."""
    try:
        return await stream.readline()
    except ValueError:
        return b"(a long line)\n"
