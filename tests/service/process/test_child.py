"""A process beside the daemon: started again after a crash, and never alive without it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.state.alive import Sign
from bot.service.process import child
from bot.service.process.child import Child

WAIT_S = 20.0
SAYS = '{"url": "http://x/", "port": 7}'
READS_UNTIL_CLOSED = f"import sys; print('{SAYS}', flush=True); sys.stdin.read()"
"""What a page does as far as the daemon can see."""


class Log:
    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **facts: Any) -> None:
        self.said.append((event, facts))

    warning = info

    async def until(self, event: str, times: int = 1) -> dict[str, Any]:
        async with asyncio.timeout(WAIT_S):
            while len(found := [facts for name, facts in self.said if name == event]) < times:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return found[-1]


def made(code: str, log: Log, ports: list[int | None] | None = None) -> Child:
    def more(port: int | None) -> Sequence[str]:
        if ports is not None:
            ports.append(port)
        return []

    return Child([sys.executable, "-c", code], more, {}, log)


def exists(pid: int) -> bool:
    return Sign(pid, 0).process_exists


async def test_its_address_is_logged_and_it_ends_with_the_daemon() -> None:
    log = Log()
    kept = made(READS_UNTIL_CLOSED, log)
    task = asyncio.create_task(kept.run())
    said = await log.until("web")
    assert said == {"url": "http://x/", "port": 7, "words": said["words"]}
    assert said["words"].startswith("the page: http://x/ (opens once;")
    pid = kept.pid
    assert pid is not None
    task.cancel()
    await asyncio.wait([task])
    assert not exists(pid)


async def test_after_a_crash_it_starts_again_on_the_same_port_after_a_pause_that_grows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child, "_PAUSE_S", 0.01)
    log, ports = Log(), list[int | None]()
    kept = made(READS_UNTIL_CLOSED, log, ports)
    task = asyncio.create_task(kept.run())
    for times in (1, 2, 3):
        await log.until("web", times)
        assert kept.pid is not None
        os.kill(kept.pid, signal.SIGKILL)
        ended = await log.until("web_ended", times)
        assert ended == {"code": -signal.SIGKILL, "again_in_s": 0.01 * 2 ** (times - 1)}
    await log.until("web", 4)
    assert ports == [None, 7, 7, 7]
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize(
    "code",
    [
        "raise SystemExit(3)",
        "print('no json')",
        "print('{\"url\": 1}')",
        "print('x' * 100_000)",
        "import os; os.write(1, b'\\xff\\xfe\\n')",
    ],
)
async def test_whatever_it_says_or_does_the_daemon_lives(code: str) -> None:
    log = Log()
    task = asyncio.create_task(made(code, log).run())
    await log.until("web_ended")
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


async def test_a_program_that_is_not_there_is_said() -> None:
    log = Log()
    task = asyncio.create_task(Child(["/no/such/program"], lambda _: [], {}, log).run())
    assert (await log.until("web_ended"))["code"] == "No such file or directory"
    task.cancel()
    await asyncio.wait([task])


def test_a_daemon_that_is_killed_takes_it_along(tmp_path: Path) -> None:
    """The pipe is all that holds it: nothing in a killed process runs any more."""
    program = f"""
import asyncio, sys
from bot.service.process.child import Child
from tests.service.process.test_child import Log
async def main():
    log = Log()
    kept = Child([sys.executable, "-c", {READS_UNTIL_CLOSED!r}], lambda _: [], {{}}, log)
    asyncio.ensure_future(kept.run())
    await log.until("web")
    print(kept.pid, flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert exists(pid)
        parent.kill()
        parent.wait()
        due_s = time.monotonic() + WAIT_S
        while exists(pid) and time.monotonic() < due_s:
            time.sleep(0.02)
        assert not exists(pid)
