"""`bot record` as a program: what SIGTERM and SIGKILL leave, and what `bot data verify` says."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.exchanges import BOT, exchange


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with exchange() as address:
        yield address


def words(url: str, symbol: str, out: Path) -> list[str]:
    where = ["--feed", "local", "--exchange", url]
    return [*BOT, "record", *where, "--symbol", symbol, "--out", str(out), "--json"]


def verify(folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [*BOT, "data", "verify", str(folder), "--json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def wait_for_files(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 30
    while sum(file.stat().st_size > 0 for file in folder.glob("*.gz")) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_recording_outlives_sigkill_and_ends_at_sigterm(url: str, tmp_path: Path) -> None:
    out = tmp_path / "btc"
    for number, end in enumerate((signal.SIGKILL, signal.SIGTERM), start=1):
        with subprocess.Popen(words(url, "BTCUSDT", out), stdout=subprocess.PIPE, text=True) as process:
            wait_for_files(out, number)
            os.kill(process.pid, end)
            told, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(told)["frames"] > 0
    done = verify(out)
    assert done.returncode == 0, done.stderr
    (facts,) = json.loads(done.stdout)["recordings"]
    assert (facts["files"], facts["symbols"], facts["problems"]) == (2, ["BTCUSDT"], [])
    assert [gap["reason"] for gap in facts["gaps"]] == ["the recorder was killed"]
    assert facts["missing_s"] > 0


def test_a_symbol_that_does_not_trade_is_an_error_with_its_name(url: str, tmp_path: Path) -> None:
    done = subprocess.run(words(url, "NOUSDT", tmp_path), capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert "NOUSDT" in done.stderr.splitlines()[-1]


def test_a_folder_without_a_recording_is_an_error(tmp_path: Path) -> None:
    done = verify(tmp_path)
    assert done.returncode == 5
    assert "bot record" in done.stderr.splitlines()[-1]
