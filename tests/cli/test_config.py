import json
from pathlib import Path

import pytest

from bot.cli import main
from bot.settings import FIELDS, to_toml


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_show_lists_every_setting_with_its_origin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOT_SEED", "7")
    monkeypatch.setenv("BOT_VENUE__API_KEY", "canary-canary")
    assert main(["config", "show", "--json"]) == 0
    text = capsys.readouterr().out
    shown = json.loads(text)
    assert set(shown["settings"]) == set(FIELDS)
    assert shown["settings"]["seed"] == {"value": 7, "origin": "BOT_SEED"}
    assert shown["settings"]["costs.taker_bps"] == {"value": 5.5, "origin": "default"}
    assert shown["settings"]["venue.api_key"] == {"value": "(hidden)", "origin": "BOT_VENUE__API_KEY"}
    assert "canary" not in text
    assert len(shown["hash"]) == 64


def test_show_is_readable(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["key", "value", "from"]
    assert ["costs.slippage_bps", "unset", "default"] in [line.split() for line in lines]


def test_init_writes_the_commented_file_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "init"]) == 0
    assert (tmp_path / "bot.toml").read_text() == to_toml()
    assert main(["-c", "bot.toml", "config", "show"]) == 0
    assert main(["config", "init"]) == 2
    assert "already there" in capsys.readouterr().err
    assert main(["config", "init", "no/such/folder/bot.toml"]) == 2


def test_what_is_passed_over_is_told_on_stderr_and_the_command_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOT_TOKEN", "x")
    assert main(["config", "show", "--json"]) == 0
    shown = capsys.readouterr()
    json.loads(shown.out)
    assert "BOT_TOKEN: no setting has this name" in shown.err
    assert shown.err.count("BOT_TOKEN") == 1
