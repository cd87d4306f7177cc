"""The process that retrains: started for one retraining, at low priority, and never alive without the daemon.

Its standard input is a pipe: one line says what to do, and the end of the pipe, however the daemon ended,
ends the process. What it prints is read line by line.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from bot.service.process.child import end
from bot.service.process.environ import plain_environment
from bot.service.retraining.pipe import LINE_MAX, PLACE, Ended, Task, line_of, read_up
from bot.service.retraining.timetable import Outcome

LONGEST_S = 24 * 3_600.0
"""A retraining that takes longer hangs, and is ended."""
_PRINTED_MAX = 20
"""Lines for nobody, such as a traceback or a library's, that one retraining writes to the log."""
_WORDS_MAX = 300
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


class Worker:
    """Runs one retraining at a time.

    Args:
        log: structlog's; what the process says goes there.
        command: what to start instead, for a test.
        longest_s: it is ended after this time.
    """

    def __init__(self, log: Any, command: Sequence[str] | None = None, longest_s: float = LONGEST_S) -> None:
        self.pid: int | None = None
        self._log = log
        self._command = command or (sys.executable, "-P", "-m", PLACE)
        self._longest_s = longest_s

    async def retrain(self, task: Task) -> Outcome:
        """Run a retraining to its end; one that is cancelled has ended when this returns."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=STDOUT,
                limit=LINE_MAX,
                start_new_session=True,  # Ctrl-C ends the daemon, and the daemon ends the process
                env={**plain_environment(), **_ONE_THREAD},
            )
        except OSError as error:
            return _failed(f"the process could not be started: {error.strerror or type(error).__name__}")
        self.pid = process.pid
        try:
            async with asyncio.timeout(self._longest_s):
                return await self._heard(process, task)
        except TimeoutError:
            return _failed(f"it took longer than {self._longest_s / 3600.0:g} hours and was ended")
        finally:
            self.pid = None
            await end(process)

    async def _heard(self, process: Process, task: Task) -> Outcome:
        """Say the task, log what the process says, and return its outcome."""
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(ConnectionError):  # it has ended already; its last words say why
            process.stdin.write(line_of(task))
            await process.stdin.drain()
        outcome, printed, last = None, 0, ""
        while line := await _line_from(process.stdout):
            try:
                told = read_up(line)
            except msgspec.MsgspecError:
                last = line.decode(errors="replace").strip()[:_WORDS_MAX] or last
                printed += 1
                if printed <= _PRINTED_MAX:
                    self._log.warning("retrain_printed", text=last)
                continue
            if isinstance(told, Ended):
                outcome = told.outcome
            else:
                self._log.info("retrain_said", text=told.text)
        code = await process.wait()
        return outcome or _failed(_died(code, last))


async def _line_from(stream: asyncio.StreamReader) -> bytes:
    """Return the next line; one that is too long is dropped."""
    try:
        return await stream.readline()
    except ValueError:
        return b"(a long line)\n"


def _died(code: int, last: str) -> str:
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    hint = "; is there enough memory?" if code == -9 else ""
    return f"the process {how} without a result{hint}" + (f": {last}" if last else "")


def _failed(reason: str) -> Outcome:
    return Outcome(verdict="failed", reason=reason)
