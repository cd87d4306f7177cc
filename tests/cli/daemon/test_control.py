"""The operator's commands without a daemon: one line, the right code, and halts that stand."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from bot.adapters.state.directory import HaltFile, StateDir
from bot.adapters.state.journal import JournalWriter
from bot.cli import main
from bot.domain.errors import BotError
from bot.domain.messages import RiskChanged
from bot.journal.entries import Effects
from bot.service.commands import SOCKET
from bot.service.control import Asked, Control
from tests.helpers import T0
from tests.service.daemons import HEADER


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
    writer = JournalWriter(place / ".data/journal/demo-1")
    writer.begin(HEADER)
    writer.append(Effects((RiskChanged(T0, "halted", "drawdown"),)))
    writer.close()
    assert main(["unhalt"]) == 1  # somebody holds the directory
    assert "another bot runs" in capsys.readouterr().err
    state_dir.close()
    assert main(["unhalt"]) == 0
    assert "lifted: drawdown" in capsys.readouterr().out
    assert main(["unhalt"]) == 0
    assert "it was not halted" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["status", "pause", "resume", "flatten", "unhalt", "kill"])
@pytest.mark.parametrize(
    ("variable", "meant"), [("BOT_STATE_DIRR", "BOT_STATE_DIR"), ("BOT_SED", "BOT_SEED")]
)
def test_a_misspelt_setting_is_named_where_no_daemon_answers(
    command: str,
    variable: str,
    meant: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, "1")
    assert main([command]) == 3
    assert capsys.readouterr().err == f"error: {variable}: no such setting; did you mean {meant}?\n"


def test_a_wrong_setting_does_not_keep_a_kill_from_halting_but_a_misspelt_directory_does(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOT_STATE_DIRR", "elsewhere")
    assert main(["kill", "--venue", "paper"]) == 3
    assert not (place / ".data").exists()
    monkeypatch.delenv("BOT_STATE_DIRR")
    monkeypatch.setenv("BOT_SEED", "no number")
    assert main(["kill", "--venue", "paper"]) == 3
    assert HaltFile(place / ".data").is_set()


async def test_a_daemon_is_asked_in_spite_of_a_wrong_setting(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer(command: str, asked: Asked, query: Mapping[str, str]) -> Mapping[str, object]:
        return {"state": "halted", "venue": "paper", "did": command, "survivors": []}

    task = asyncio.create_task(Control(place / "elsewhere", answer).run())
    while not (place / "elsewhere" / SOCKET).exists():  # noqa: ASYNC110 (a file cannot tell)
        await asyncio.sleep(0.001)
    monkeypatch.setenv("BOT_STATE_DIR", "elsewhere")
    monkeypatch.setenv("BOT_SEED", "no number")
    assert await asyncio.to_thread(ended, ["kill", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["did"] == "kill"
    assert HaltFile(place / "elsewhere").is_set()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_watching_prints_an_object_a_second_until_the_daemon_is_gone(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = 0

    async def answer(command: str, said: Asked, query: Mapping[str, str]) -> Mapping[str, object]:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise BotError("ended")
        return {"state": "trading", "asked": asked}

    monkeypatch.setattr("bot.cli.daemon.control._WATCH_S", 0.0)
    task = asyncio.create_task(Control(place / ".data", answer).run())
    while not (place / ".data" / SOCKET).exists():  # noqa: ASYNC110 (a file cannot tell)
        await asyncio.sleep(0.001)
    assert await asyncio.to_thread(ended, ["status", "--watch", "--json"]) == 1
    assert [json.loads(line)["asked"] for line in capsys.readouterr().out.splitlines()] == [1, 2]
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def ended(args: list[str]) -> int:
    """Run the command line away from the main thread, where no signal handler can be set."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("signal.signal", lambda number, handler: None)
        return main(args)
