"""The process of one retraining: what it says is heard, however it ends, and it never outlives the daemon."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.state.alive import Sign
from bot.service.retraining.pipe import LINE_MAX, Ended, Said, Task, line_of
from bot.service.retraining.timetable import Outcome
from bot.service.retraining.worker import Worker

WAIT_S = 20.0
TASK = Task(settings={"seed": 7}, base="b", now_ms=1)
REFUSED = Outcome(verdict="refused", reason="no better", candidate="", judged=True)
LAST = f"import os; os.write(1, {line_of(Ended(REFUSED))!r})"
"""What a process does that has come to its end."""


class Log:
    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **facts: Any) -> None:
        self.said.append((event, facts))

    warning = info


async def outcome_of(code: str, log: Log, longest_s: float = WAIT_S) -> Outcome:
    return await Worker(log, [sys.executable, "-c", code], longest_s).retrain(TASK)


def exists(pid: int) -> bool:
    return Sign(pid, 0).process_exists


async def test_it_is_told_its_task_and_its_outcome_is_returned() -> None:
    log = Log()
    code = f"import sys; line = sys.stdin.buffer.readline(); assert line == {line_of(TASK)!r}, line; {LAST}"
    assert await outcome_of(code, log) == REFUSED
    assert log.said == []


async def test_its_lines_are_logged_and_what_it_only_prints_is_a_warning_and_bounded() -> None:
    log, said = Log(), line_of(Said("judging ..."))
    assert await outcome_of(f"import os; os.write(1, {said!r}); print('x\\n' * 900); {LAST}", log) == REFUSED
    assert ("retrain_said", {"text": "judging ..."}) in log.said
    assert [name for name, _ in log.said].count("retrain_printed") == 20


async def test_a_line_without_end_takes_no_memory() -> None:
    log = Log()
    code = f"print('x' * {3 * LINE_MAX}); {LAST}"
    assert (await outcome_of(code, log)).verdict in ("refused", "failed")
    assert len(str(log.said)) < 20 * 400


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit(3)", "the process ended with code 3 without a result"),
        ("raise ValueError('no bars')", "ended with code 1 without a result: ValueError: no bars"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "was ended by signal 9 without a result; is there enough memory?",
        ),
    ],
)
async def test_one_that_dies_has_failed_with_its_last_words(code: str, reason: str) -> None:
    outcome = await outcome_of(code, Log())
    assert outcome.verdict == "failed"
    assert reason in outcome.reason


async def test_one_that_hangs_is_ended_and_so_is_one_that_ignores_the_request() -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(99)"
    began = time.monotonic()
    outcome = await outcome_of(code, Log(), longest_s=0.5)
    assert "it took longer than" in outcome.reason
    assert time.monotonic() - began < 15.0


async def test_a_program_that_is_not_there_is_a_failure() -> None:
    outcome = await Worker(Log(), ["/no/such/program"]).retrain(TASK)
    assert outcome.reason == "the process could not be started: No such file or directory"


async def test_one_that_is_cancelled_has_ended() -> None:
    log = Log()
    worker = Worker(log, [sys.executable, "-c", "print('here', flush=True); input(); input()"])
    task = asyncio.create_task(worker.retrain(TASK))
    async with asyncio.timeout(WAIT_S):
        while not log.said:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    pid = worker.pid
    assert pid is not None
    task.cancel()
    await asyncio.wait([task])
    assert not exists(pid)


async def test_no_secret_is_in_its_arguments_or_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT_VENUE__API_SECRET", "canary-in-the-environment")
    log = Log()
    await outcome_of(f"import os, sys; print(sys.orig_argv, dict(os.environ)); {LAST}", log)
    assert "canary" not in str(log.said)
    assert "retrain_printed" in str(log.said)


def test_a_daemon_that_is_killed_takes_the_real_one_along(tmp_path: Path) -> None:
    """It fetches from a server that never answers; the pipe is all that ties it to the daemon."""
    program = f"""
import asyncio, socket
from bot.adapters.model import checkpoint
from bot.adapters.files import shipped
from bot.service.retraining.pipe import Task
from bot.service.retraining.worker import Worker
class Log:
    def info(self, event, **facts):
        print(worker.pid, flush=True)
    warning = info
async def main():
    settings = {{"state_dir": {str(tmp_path)!r}, "feed": {{"kind": "local"}}, "local": {{"url": URL}}}}
    base = checkpoint.load(shipped.model_path()).hash
    await worker.retrain(Task(settings=settings, base=base, now_ms=10**12))
mute = socket.create_server(("127.0.0.1", 0))
URL = f"http://127.0.0.1:{{mute.getsockname()[1]}}"
worker = Worker(Log())
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())  # it has said that it fetches
        assert exists(pid)
        assert os.getpriority(os.PRIO_PROCESS, pid) == 19
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        by = time.monotonic() + WAIT_S
        while exists(pid):
            assert time.monotonic() < by
            time.sleep(0.01)
