"""A process beside the daemon: started with it, started again after a crash, and never alive without it.

The child's standard input is a pipe. Once the daemon is gone, however it ended, the pipe is closed and the
child ends. Nothing that the child does reaches the daemon, except one line at its start.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_PAUSE_S = 1.0
_PAUSE_MAX_S = 60.0
_LASTED_S = 60.0
"""A child that lived for longer is started again after the shortest pause."""
_END_S = 2.0
_FIRST_LINE_BYTES = 16 << 10


class Child:
    """Keeps one child.

    Args:
        command: its program and arguments.
        more: returns further arguments; it is given the port of the child before, None for the first.
        environ: its environment.
        log: structlog's.
        heard: is given the address that the child says once it listens; for a person who waits for it.
    """

    def __init__(
        self,
        command: Sequence[str],
        more: Callable[[int | None], Sequence[str]],
        environ: Mapping[str, str],
        log: Any,
        heard: Callable[[str], None] | None = None,
    ) -> None:
        self.pid: int | None = None
        self._command = command
        self._more = more
        self._environ = environ
        self._log = log
        self._heard = heard
        self._port: int | None = None

    async def run(self) -> None:
        """Keep the child alive until cancelled; it has ended when this returns."""
        loop = asyncio.get_running_loop()
        pause_s = _PAUSE_S
        while True:
            began_s = loop.time()
            code = await self._live_once()
            if loop.time() - began_s > _LASTED_S:
                pause_s = _PAUSE_S
            self._log.warning("web_ended", code=code, again_in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2.0, _PAUSE_MAX_S)

    async def _live_once(self) -> int | str:
        """Run the child once; return its exit code, or why it could not be started."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                *self._more(self._port),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=dict(self._environ),
                limit=_FIRST_LINE_BYTES,
            )
        except OSError as error:
            return error.strerror or type(error).__name__
        self.pid = process.pid
        try:
            await self._hear(process)
            return await process.wait()
        finally:
            self.pid = None
            await end(process)

    async def _hear(self, process: asyncio.subprocess.Process) -> None:
        """Log the address that the child says once it listens; drop whatever else it prints."""
        assert process.stdout is not None
        with contextlib.suppress(ValueError, KeyError, TypeError):
            said = json.loads(await process.stdout.readline())
            self._port = int(said["port"])
            words = f"the page: {said['url']} (opens once; `bot web --link` prints another address)"
            self._log.info("web", words=words, url=said["url"], port=self._port)
            if self._heard is not None:
                self._heard(str(said["url"]))
        while await process.stdout.read(_FIRST_LINE_BYTES):
            pass


async def end(process: asyncio.subprocess.Process) -> None:
    """End a child that still runs: ask, wait a moment, then kill."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
