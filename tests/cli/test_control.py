"""The operator's commands without a daemon: one line, the right code, and halts that stand."""

import json
from pathlib import Path

import pytest

from bot.adapters.state.directory import HaltFile, StateDir
from bot.adapters.state.store import FileStore
from bot.cli import main
from bot.risk.breaker import Breaker


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", ["status", "pause", "resume", "flatten"])
def test_without_a_daemon_there_is_one_line_and_exit_1(
    command: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command]) == 1
    assert (
        capsys.readouterr().err
        == "error: no daemon runs on .data; start one with `bot run`, or set state_dir\n"
    )


def test_kill_of_a_paper_bot_that_is_dead_halts_the_next_start(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["kill", "--venue", "paper", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["survivors"] == []
    assert HaltFile(place / ".data").is_set()
    assert main(["unhalt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lifted"] == ["operator"]
    assert not HaltFile(place / ".data").is_set()


def test_kill_without_keys_still_halts_and_says_what_it_could_not_do(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["kill", "--venue", "demo"]) == 3
    assert "demo needs a key" in capsys.readouterr().err
    assert HaltFile(place / ".data").is_set()


def test_kill_with_a_venue_out_of_reach_still_halts(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOT_LOCAL__URL", "http://127.0.0.1:9")
    assert main(["kill", "--venue", "local"]) == 4
    assert HaltFile(place / ".data").is_set()


def test_unhalt_of_a_stopped_bot_lifts_what_it_was_halted_by(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state_dir = StateDir(place / ".data")
    store = FileStore(place / ".data", "demo")
    breaker = Breaker()
    breaker.halt("drawdown")
    store.save_breaker(breaker.encode())
    store.close()
    assert main(["unhalt"]) == 1  # somebody holds the directory
    assert "another bot runs" in capsys.readouterr().err
    state_dir.close()
    assert main(["unhalt"]) == 0
    assert "lifted: drawdown" in capsys.readouterr().out
    assert main(["unhalt"]) == 0
    assert "it was not halted" in capsys.readouterr().out
