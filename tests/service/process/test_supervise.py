"""Supervision: first causes, signals, the hard deadline, the word to the service manager."""

import asyncio
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bot.domain.errors import Broken, VenueError
from bot.service.process.notify import Notifier
from bot.service.process.supervise import first_cause, together, watch_loop


async def forever() -> None:
    await asyncio.Event().wait()


async def fails(error: Exception) -> None:
    await asyncio.sleep(0)
    raise error


async def test_tasks_end_together_when_asked() -> None:
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, done.set)
    async with asyncio.timeout(2):
        await together({"one": forever(), "two": forever()}, done)


async def test_the_error_that_explains_is_the_one_that_is_raised() -> None:
    tasks = {"a": fails(OSError("socket")), "b": fails(VenueError("key is read-only")), "c": forever()}
    with pytest.raises(VenueError, match="read-only"):
        await together(tasks, asyncio.Event())


def test_causes_are_found_in_groups_within_groups() -> None:
    inner = ExceptionGroup("i", [ValueError("x"), Broken("y")])
    assert isinstance(first_cause(ExceptionGroup("o", [KeyError("z"), inner])), Broken)
    assert isinstance(first_cause(ExceptionGroup("o", [KeyError("z"), ValueError("x")])), KeyError)


@pytest.mark.fault(69)
@pytest.mark.invariant(20)
async def test_a_loop_that_stands_still_is_measured() -> None:
    late: list[float] = []
    task = asyncio.create_task(watch_loop(late.append, 0.01))
    await asyncio.sleep(0.015)
    time.sleep(0.2)  # noqa: ASYNC251 (standing still is what is tested)
    await asyncio.sleep(0.02)
    task.cancel()
    assert max(late) > 0.15
    assert min(late) < 0.1


PROGRAM = """
import asyncio, signal, sys, time
from bot.service.process.supervise import Stop, signals

async def main():
    stop = Stop()
    with signals(stop, {timeout_ms}):
        print("up", flush=True)
        reason = await stop.wait()
        print(reason, flush=True)
        {after}
    return reason

print("ended by", asyncio.run(main()))
"""


def start(after: str, timeout_ms: int = 5000) -> subprocess.Popen[str]:
    program = PROGRAM.format(after=after, timeout_ms=timeout_ms)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def test_one_signal_asks_and_a_second_one_ends_at_once() -> None:
    with start("await asyncio.Event().wait()") as process:
        process.terminate()
        assert process.stdout is not None
        assert process.stdout.readline() == "SIGTERM\n"
        began = time.monotonic()
        process.terminate()
        assert process.wait(5) == 130
        assert time.monotonic() - began < 1


@pytest.mark.fault(72)
def test_a_stop_that_hangs_even_with_a_stuck_loop_ends_in_time() -> None:
    began = time.monotonic()
    with start("while True: pass", timeout_ms=100) as process:
        process.terminate()
        _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert err == "error: the clean stop took too long; ended without it\n"
    assert time.monotonic() - began < 5


def test_a_clean_end_takes_the_deadline_with_it() -> None:
    with start("pass", timeout_ms=100) as process:
        process.send_signal(2)
        out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert out.endswith("ended by SIGINT\n")


@pytest.fixture
def manager(tmp_path: Path) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    line.bind(str(tmp_path / "notify"))
    line.settimeout(1)
    return line


def test_the_service_manager_hears_what_it_asked_for(manager: socket.socket, tmp_path: Path) -> None:
    with manager:
        asked = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}
        notifier = Notifier(asked, pid=7)
        assert notifier.watchdog_s == 3.0
        notifier.ready()
        notifier.status("two\nlines")
        notifier.alive()
        notifier.stopping()
        assert [manager.recv(100) for _ in range(4)] == [
            b"READY=1",
            b"STATUS=two lines",
            b"WATCHDOG=1",
            b"STOPPING=1",
        ]
        Notifier(asked, pid=8).alive()  # the watchdog is another process's
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(100)


def test_without_a_manager_or_with_one_that_left_nothing_happens(tmp_path: Path) -> None:
    Notifier({}, 1).ready()
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "x"}, 1).ready()
    Notifier({"NOTIFY_SOCKET": "@nobody-listens-here"}, 1).alive()
