"""The daemon as a program at a local exchange: it trades, obeys, ends in time, and remembers."""

import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bot.adapters.state.journal import Journal
from bot.app.state.backup import back_up, restore
from bot.domain.messages import PlaceOrder, ProcessStarted
from bot.journal.entries import Effects
from bot.service.commands import ask
from tests.cli.exchanges import BOT, daemon, exchange

COIN = ["--strategy", "random", "--param", "hold_bars=2", "--param", "leverage=0.2"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with exchange() as address:
        yield address


def words(url: str, venue: str, strategy: list[str] = COIN) -> list[str]:
    where = ["--feed", "local", "--venue", venue, "--exchange", url]
    return [*where, "--symbol", "BTCUSDT", "--interval", "1m", *strategy, "--json"]


def bot(place: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*BOT, *arguments], cwd=place, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("venue", ["paper", "local"])
def test_it_trades_and_tells_and_ends_cleanly(url: str, venue: str, tmp_path: Path) -> None:
    with daemon(tmp_path, *words(url, venue)) as running:
        running.until("trading")
        while not ask(tmp_path / ".data", "status")["fills"]:
            running.until("close")
        told = json.loads(bot(tmp_path, "status", "--json").stdout)
        assert (told["mode"], told["state"], told["unknown_orders"]) == (venue, "trading", 0)
        assert told["feed_lag_ms"] is not None
        assert "trading; entries and exits are sent" in bot(tmp_path, "status").stdout
        code, out = running.end()
    assert code == 0
    ended = json.loads(out)
    assert ended["ended"] == "SIGTERM"
    assert ended["fills"] > 0
    if venue == "local":  # the dead-man's switch rests at the venue
        assert all(position["stop_loss"] for position in ended["positions"])
    journal = Journal(tmp_path / f".data/journal/{venue}-1")
    kinds = {type(each.entry).__name__ for segment in journal.all() for each in segment.entries}
    assert {"ProcessStarted", "BarsClosed", "Effects", "Marked", "Closed"} <= kinds
    assert ("Answer" if venue == "paper" else "Filled") in kinds


def test_a_backup_of_a_running_daemon_goes_on_elsewhere_with_its_position(url: str, tmp_path: Path) -> None:
    there, archive = tmp_path / "there", tmp_path / "b.tar.gz"
    there.mkdir()
    with daemon(tmp_path, *words(url, "paper", ["--strategy", "buy_and_hold"])) as running:
        fill = running.until("fill")
        back_up(tmp_path / ".data", archive)
    restore(archive, there / ".data", replace=False)
    with daemon(there, *words(url, "paper", ["--strategy", "buy_and_hold"])) as again:
        again.until("trading")
        (position,) = ask(there / ".data", "status")["positions"]  # type: ignore[misc]
        assert position["qty"] == fill["position"]


def test_positions_outlive_the_process_and_are_taken_over(url: str, tmp_path: Path) -> None:
    with daemon(tmp_path, *words(url, "local")) as first:
        first.until("trading")
        while not (held := ask(tmp_path / ".data", "status"))["positions"]:
            first.until("close")
        os.kill(first.process.pid, signal.SIGKILL)
    killed = bot(tmp_path, "kill")
    assert killed.returncode == 0, killed.stderr
    assert "halted (no daemon runs on .data)" in killed.stdout
    assert re.search(
        r"^position BTCUSDT (long|short) [\d.]+ stays, with its stop at [\d,.]+$", killed.stdout, re.M
    )
    assert bot(tmp_path, "unhalt").returncode == 0
    with daemon(tmp_path, *words(url, "local", ["--strategy", "flat"])) as second:
        second.until("trading")
        told = ask(tmp_path / ".data", "status")
        assert told["run"] == held["run"] + 1  # type: ignore[operator]
        (position,) = told["positions"]  # type: ignore[misc]
        assert position["stop_loss"]
        assert bot(tmp_path, "flatten").returncode == 0
        while ask(tmp_path / ".data", "status")["positions"]:
            time.sleep(0.1)
        assert second.end()[0] == 0


MOMENTS, AT_ONCE = 25, 5
"""Moments of each signal, and daemons that start side by side."""


@pytest.mark.fault(72)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_ends_in_time_at_any_moment(url: str, number: int, code: int, tmp_path: Path) -> None:
    rng = random.Random(number)
    delays_s = [0.9, *(rng.uniform(0.5, 5.0) for _ in range(MOMENTS - 1))]

    def end_one(at: int) -> tuple[int, float, str]:
        place = tmp_path / str(at)
        place.mkdir()
        prefix = {"BOT_VENUE__PREFIX": f"bot{at}"}  # they share an account, and each holds its own part
        with daemon(place, *words(url, "local"), env=prefix) as running:
            time.sleep(delays_s[at])
            began = time.monotonic()
            ended, _ = running.end(number)
            return ended, time.monotonic() - began, running.said[-1]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for ended, took_s, said in pool.map(end_one, range(MOMENTS)):
            assert took_s < 10
            if not said or ("KeyboardInterrupt" in said and ", in main" not in said):
                # A signal that comes before ``main`` has begun ends Python itself, in its own words.
                assert ended in {code, -number, 1}, said
            else:
                assert ended == code, said
                assert "Traceback" not in said


@pytest.mark.fault(71)
@pytest.mark.invariant(26)
def test_a_second_daemon_is_refused_before_it_connects(url: str, tmp_path: Path) -> None:
    with daemon(tmp_path, *words(url, "paper")) as first:
        first.until("started")
        second = bot(tmp_path, "run", *words("http://127.0.0.1:9", "paper"))
        assert second.returncode == 1
        assert f"another bot runs on this state directory (process {first.process.pid})" in second.stderr
        assert first.end()[0] == 0


@pytest.mark.fault(56)
def test_kill_works_on_a_daemon_that_is_dead_and_stands_until_unhalt(url: str, tmp_path: Path) -> None:
    with daemon(tmp_path, *words(url, "local")) as first:
        first.until("trading")
        os.kill(first.process.pid, signal.SIGKILL)
    killed = bot(tmp_path, "kill", "--json")
    assert killed.returncode == 0, killed.stderr
    assert json.loads(killed.stdout)["survivors"] == []
    assert json.loads(killed.stdout)["venue"] == "local"
    with daemon(tmp_path, *words(url, "local"), "--bars", "4") as halted:
        out, err = halted.process.communicate(timeout=60)
        assert halted.process.returncode == 6
        assert err.splitlines()[-1].startswith("error: risk has halted the bot (operator)")
        assert json.loads(out)["state"] == "halted"
    entries = [each.entry for s in Journal(tmp_path / ".data/journal/local-1").all() for each in s.entries]
    (second,) = (
        n for n, each in enumerate(entries) if isinstance(each, ProcessStarted) and each.process == 2
    )
    effects = [one for each in entries[second:] if isinstance(each, Effects) for one in each.effects]
    assert all(one.intent.reduce_only for one in effects if isinstance(one, PlaceOrder))
    assert "lifted: operator" in bot(tmp_path, "unhalt").stdout
    with daemon(tmp_path, *words(url, "local")) as again:
        assert again.until("trading")["state"] == "trading"
        assert again.end()[0] == 0


def test_kill_works_on_a_daemon_that_hangs(url: str, tmp_path: Path) -> None:
    with daemon(tmp_path, *words(url, "local")) as running:
        running.until("trading")
        os.kill(running.process.pid, signal.SIGSTOP)
        killed = bot(tmp_path, "kill", "--json")
        assert killed.returncode == 0, killed.stderr
        assert "does not answer" in json.loads(killed.stdout)["daemon"]
        os.kill(running.process.pid, signal.SIGCONT)
        deadline = time.monotonic() + 5
        while ask(tmp_path / ".data", "status")["state"] != "halted":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert running.end()[0] == 0


@pytest.mark.fault(62)
def test_damage_in_an_older_segment_is_an_alarm_and_the_bot_goes_on(url: str, tmp_path: Path) -> None:
    for _ in range(2):
        with daemon(tmp_path, *words(url, "paper")) as running:
            running.until("trading")
            assert running.end()[0] == 0
    first = tmp_path / ".data" / "journal" / "paper-1" / "000001.jsonl"
    lines = first.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b"1", b"2", 1)
    first.write_bytes(b"".join(lines))
    with daemon(tmp_path, *words(url, "paper")) as running:
        told = running.until("journal_damaged")
        assert told["level"] == "error"
        assert "000001.jsonl: line 5" in told["words"]
        status = ask(tmp_path / ".data", "status")
        assert len(status["journal"]["damaged"]) == 1  # type: ignore[index]
        assert status["halt_reason"] is None
        assert running.end()[0] == 0
