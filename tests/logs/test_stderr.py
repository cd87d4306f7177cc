"""What a program says on stderr: everything passes the redactor, and nobody needs to read it."""

import io
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from bot.logs import Redactor, Stderr
from tests.logs.test_line_queue import Pipe

CANARY = "cAn4ry-s3cret-0123"

PROGRAM = f"""
import asyncio, logging, sys, threading, warnings
from bot.logs import Redactor, guarded_stderr, make_logger

SECRET = "{CANARY}"
redactor = Redactor()
redactor.hide(SECRET)

def fail():
    raise ValueError(SECRET + "\\nERROR forged \\x1b[31m")

class Leaves:
    def __del__(self):
        fail()

async def forgotten():
    asyncio.get_running_loop().call_soon(fail)  # asyncio's own error log
    task = asyncio.ensure_future(asyncio.sleep(0))
    await task

def speak():
    asyncio.run(forgotten())
    thread = threading.Thread(target=fail, name="worker")
    thread.start()
    thread.join()
    Leaves()
    logging.getLogger("aiohttp.server").error("failed with %s", SECRET)
    warnings.warn(SECRET)
    print("printed", SECRET, file=sys.stderr)
    print("no end of line " + SECRET, end="", file=sys.stderr)

with guarded_stderr(redactor) as stderr:
    if "log" in sys.argv:
        stderr.log = make_logger(redactor, form=sys.argv[2])
    speak()
"""


def said(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.fault(83)
@pytest.mark.parametrize("arguments", [["plain"], ["log", "json"], ["log", "console"]], ids=str)
def test_no_way_to_stderr_shows_a_secret(arguments: list[str]) -> None:
    shown = said(*arguments).stderr
    assert "cAn4ry" not in shown
    assert shown.count("[redacted]") >= 7
    for word in (
        "ValueError",
        "worker",
        "aiohttp.server" if "log" in arguments else "failed with",
        "printed",
    ):
        assert word in shown


def test_errors_that_nobody_caught_are_one_json_line_each() -> None:
    lines = said("log", "json").stderr.splitlines()
    facts = [json.loads(line) for line in lines if line.startswith("{")]
    assert {"library", "uncaught_in_thread", "unraisable"} <= {fact["event"] for fact in facts}
    assert all("ValueError" in fact["exception"] for fact in facts if "exception" in fact)
    assert not [line for line in lines if line.startswith("ERROR forged")]


@pytest.mark.surface("logs")
def test_a_forged_line_in_an_error_stays_inside_that_error() -> None:
    shown = said("log", "console").stderr
    assert "ERROR forged" in shown
    assert not [line for line in shown.splitlines() if line.startswith("ERROR forged")]
    assert "\x1b[31m" not in shown


MANY = """
import sys, time
from bot.logs import Redactor, guarded_stderr, make_logger
with guarded_stderr(Redactor()) as stderr:
    log = make_logger(Redactor(), form="json")
    slowest = 0.0
    for number in range(30_000):
        began = time.perf_counter()
        log.info("line", number=number)
        slowest = max(slowest, time.perf_counter() - began)
    settled = stderr.drain(0.2)
    print(stderr.dropped, slowest, settled)
"""


@pytest.mark.fault(75)
@pytest.mark.parametrize("where", ["full pipe", "closed pipe", "/dev/full", "no stderr"])
def test_a_stderr_that_nobody_reads_holds_nothing_up(where: str) -> None:
    pipe = Pipe()
    began = time.monotonic()
    command = [sys.executable, "-c", MANY]
    if where == "full pipe":
        pipe.fill()
    elif where == "closed pipe":
        os.close(pipe.reader)
    elif where == "no stderr":
        command = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=full if where == "/dev/full" else pipe.writer,
            timeout=60,
            check=False,
        )
    os.close(pipe.writer)
    if where != "closed pipe":
        os.close(pipe.reader)
    assert ended.returncode == 0
    dropped, slowest_s, settled = ended.stdout.split()
    assert int(dropped) == (20_000 if where == "full pipe" else 30_000)
    assert settled == (b"False" if where == "full pipe" else b"True")
    assert float(slowest_s) < 0.5
    assert time.monotonic() - began < 30.0


@contextmanager
def on_a_terminal() -> Iterator[tuple[Stderr, Callable[[str], bool]]]:
    """Stderr on a terminal, and whether the terminal was sent just this text since it was last asked."""
    master, slave = pty.openpty()

    def shows(text: str) -> bool:
        wanted, sent = text.replace("\n", "\r\n").encode(), b""
        while len(sent) < len(wanted) and select.select([master], [], [], 10.0)[0]:  # it may come in pieces
            sent += os.read(master, 4096)
        return sent == wanted

    with os.fdopen(slave, "w") as under:
        yield Stderr(under, Redactor()), shows
    os.close(master)


def test_a_footer_stays_below_the_log_and_goes_at_the_end() -> None:
    clear = "\r\x1b[K"
    with on_a_terminal() as (stderr, shows):
        for text in ("now 1", "now 2"):
            stderr.footer(text)
            assert shows(f"{clear}{text}")
            assert stderr._queue is not None
            assert stderr._queue.drain(5.0)
        stderr.write("a line\n")
        assert stderr.drain(5.0)
        assert shows(f"{clear}a line\nnow 2{clear}")


def test_a_footer_breaks_no_line_that_has_no_end_yet() -> None:
    with on_a_terminal() as (stderr, shows):
        stderr.write("begun")
        stderr.footer("now")
        assert stderr.drain(5.0)
        assert shows("begun")


def test_a_footer_is_left_out_where_nobody_looks() -> None:
    stream = io.StringIO()
    Stderr(stream, Redactor()).footer("now")
    assert stream.getvalue() == ""
