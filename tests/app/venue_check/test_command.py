"""``bot check venue`` as a program: its codes, its record, and an end half way."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.exchanges import BOT, exchange
from tests.story.test_guard import resting

NO_ORDER_PUSHES = """
seed = 1
[[fault]]
kind = "drop"
on = "private"
match = "order"
"""
"""The check waits in vain for the push of its first order."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with exchange(speed=1.0) as address:
        yield address


def command(*more: str) -> list[str]:
    return [*BOT, "check", "venue", "--venue", "local", "--symbol", "BTCUSDT", *more]


def check(place: Path, url: str, *more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*more),
        cwd=place,
        env=os.environ | {"BOT_LOCAL__URL": url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_equal_answers_are_exit_0_and_a_record_without_secrets_or_values(url: str, tmp_path: Path) -> None:
    done = check(tmp_path, url, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["equal"], told["flat"], told["differences"]) == (True, True, [])
    record = Path(tmp_path, told["record"])
    assert record.stat().st_mode & 0o777 == 0o600
    text = record.read_text()
    assert "test-key" not in text
    assert "test-secret" not in text
    steps = json.loads(text)["found"]["steps"]
    assert len(steps) == told["steps"] > 40
    kinds = {kind for step in steps for kinds in step.get("shape", {}).values() for kind in kinds}
    known = {"object", "list", "text", "blank", "null", "number", "number as text", "whole number"}
    assert kinds <= known | {"true or false"}


def test_differing_answers_are_exit_1_and_named(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(NO_ORDER_PUSHES.replace('"order"', '"wallet"'))
    with exchange("--faults", str(plan), speed=1.0) as url:
        done = check(tmp_path, url, "--json")
        assert done.returncode == 1, done.stderr
        told = json.loads(done.stdout)
        assert told["differences"] == ["pushes of wallet: none, expected some"]
        assert told["flat"]
        assert resting(url) == []


def test_nobody_there_is_exit_4(tmp_path: Path) -> None:
    done = check(tmp_path, "http://127.0.0.1:9")
    assert done.returncode == 4
    assert "does not answer" in done.stderr


def test_paper_has_no_venue_to_check(tmp_path: Path) -> None:
    done = subprocess.run(
        [*BOT, "check", "venue"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, "no venue to check" in done.stderr) == (2, True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_stopped_half_way_it_leaves_the_account_flat(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(NO_ORDER_PUSHES)
    with exchange("--faults", str(plan), speed=1.0) as url:
        environ = os.environ | {"BOT_LOCAL__URL": url}
        with subprocess.Popen(
            command(), cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as run:
            by_s = time.monotonic() + 60
            while not resting(url):
                assert run.poll() is None
                assert time.monotonic() < by_s
                time.sleep(0.05)
            os.kill(run.pid, number)
            run.communicate(timeout=40)
            assert run.returncode == code
        assert resting(url) == []
        record = json.loads((tmp_path / ".data/check-venue-local.json").read_text())
    assert (record["flat"], bool(record["error"])) == (True, True)
