"""The daemon beside a stderr that nobody reads, and what its key leaves behind."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.service.commands import NoDaemon, ask
from tests.cli.exchanges import BOT, daemon, exchange
from tests.logs.test_line_queue import Pipe

COIN = ["--strategy", "random", "--param", "hold_bars=2", "--param", "leverage=0.2"]
END_S = 11.0
"""The clean stop has ten seconds."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with exchange() as address:
        yield address


def words(url: str) -> list[str]:
    where = ["--feed", "local", "--venue", "local", "--exchange", url]
    return [*where, "--symbol", "BTCUSDT", "--interval", "1m", *COIN, "--json"]


def status(state_dir: Path) -> dict[str, object]:
    try:
        return ask(state_dir, "status")
    except NoDaemon:
        return {}


@pytest.mark.fault(75)
@pytest.mark.parametrize("where", ["full pipe", "closed pipe", "/dev/full"])
def test_it_trades_and_ends_in_time_though_nobody_reads_its_log(url: str, where: str, tmp_path: Path) -> None:
    pipe = Pipe()
    if where == "full pipe":
        pipe.fill()
    else:
        os.close(pipe.reader)
    command = [*BOT, "-v", "run", *words(url)]
    with (
        open("/dev/full", "w") as full,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=full if where == "/dev/full" else pipe.writer,
            cwd=tmp_path,
            text=True,
        ) as process,
    ):
        os.close(pipe.writer)
        try:
            by_s = time.monotonic() + 60.0
            while not (told := status(tmp_path / ".data")).get("fills"):
                assert process.poll() is None
                assert time.monotonic() < by_s
                time.sleep(0.1)
            dropped = told["log_lines_dropped"]
            assert isinstance(dropped, int)
            assert (
                (dropped == 0) if where == "full pipe" else (dropped > 0)
            )  # the queue still has room for all
            began = time.monotonic()
            os.kill(process.pid, signal.SIGTERM)
            out, _ = process.communicate(timeout=END_S)
            assert process.returncode == 0
            assert time.monotonic() - began < END_S
            assert json.loads(out)["ended"] == "SIGTERM"
        finally:
            process.kill()
            if where == "full pipe":
                os.close(pipe.reader)


def test_an_error_is_no_longer_waited_for_than_its_deadline(tmp_path: Path) -> None:
    pipe = Pipe()
    pipe.fill()
    ended = subprocess.run(
        [*BOT, "no-such-command"], stderr=pipe.writer, timeout=20, check=False, cwd=tmp_path
    )
    pipe.close()
    assert ended.returncode == 2


@pytest.mark.fault(83)
@pytest.mark.invariant(25)
def test_key_and_secret_are_in_nothing_that_the_daemon_writes(url: str, tmp_path: Path) -> None:
    with daemon(tmp_path, *words(url)) as running:
        running.until("trading")
        while not (told := ask(tmp_path / ".data", "status"))["fills"]:
            running.until("close")
        _, out = running.end()
    written = {path: path.read_bytes() for path in (tmp_path / ".data").rglob("*") if path.is_file()}
    assert len(written) >= 3
    said = {"stderr": "".join(running.said), "stdout": out, "status": json.dumps(told)}
    for where, text in {**written, **{name: text.encode() for name, text in said.items()}}.items():
        for secret in (b"test-secret", b"test-key", b"X-BAPI-SIGN"):
            assert secret not in text, f"{secret!r} is in {where}"
