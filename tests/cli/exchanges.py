"""A local exchange as a program of its own, for tests of the daemon as one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

BOT = [sys.executable, "-m", "bot", "--log-format", "json"]


@contextmanager
def exchange(*arguments: str, speed: float = 60.0, symbols: int = 2) -> Iterator[str]:
    """Its REST address."""
    words = [*BOT, "exchange", "--port", "0", "--speed", str(speed), "--symbols", str(symbols), *arguments]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield str(json.loads(process.stdout.readline())["http"])
        finally:
            process.terminate()


@contextmanager
def daemon(place: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator["Daemon"]:
    """``bot run`` with ``arguments``, in ``place``; ended, if it has not, by SIGKILL.

    ``env`` is added to this process's environment.
    """
    with subprocess.Popen(
        [*BOT, "run", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=place,
        env={**os.environ, **(env or {})},
    ) as process:
        try:
            yield Daemon(process)
        finally:
            process.kill()


class Daemon:
    """A daemon under test."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.said: list[str] = []

    def until(self, word: str) -> dict[str, object]:
        """Read its log up to the event ``word``; returns that line."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if f'"event": "{word}"' in line:
                return dict(json.loads(line))
        raise AssertionError(f"it ended without {word}: {''.join(self.said[-5:])}")

    def end(self, number: int = signal.SIGTERM, timeout_s: float = 11.0) -> tuple[int, str]:
        """Signal it; returns its exit code and what it printed."""
        os.kill(self.process.pid, number)
        out, err = self.process.communicate(timeout=timeout_s)
        self.said.append(err)
        return self.process.returncode, out
