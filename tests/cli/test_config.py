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


def test_check_tells_every_wrong_setting_of_every_place_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text(
        "sedd = 1\n[costs]\ntaker_bps = true\n[risk]\nmax_leverage = -1\nmax_levrage = 2\n"
    )
    (tmp_path / ".env").write_text("BOT_FEED__INTERVAL=7m\n")
    monkeypatch.setenv("BOT_RISK__ON_HAT", "flatten")
    assert main(["-c", "mine.toml", "check", "config", "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert {each["text"].split(": ")[0] for each in told["findings"] if each["level"] == "wrong"} == {
        "BOT_RISK__ON_HAT",
        ".env:BOT_FEED__INTERVAL",
        "mine.toml:sedd",
        "mine.toml:costs.taker_bps",
        "mine.toml:risk.max_leverage",
        "mine.toml:risk.max_levrage",
    }


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"BOT_STRATEGY__NAME": "emacross"}, "BOT_STRATEGY__NAME: no strategy 'emacross'"),
        (
            {"BOT_STRATEGY__NAME": "ema_cross", "BOT_STRATEGY__PARAMS__FASST": "3"},
            "BOT_STRATEGY__PARAMS__FASST: EmaCross has no",
        ),
        ({"BOT_COSTS__LIMIT_FILLS": "queue", "BOT_COSTS__LIQUIDITY": "full"}, "set one"),
        ({"BOT_DRIFT__MIN_DAYS": "30"}, "drift.min_days must be at most"),
        ({"BOT_WEB__HOST": "0.0.0.0"}, "web.tls_cert"),
        ({"BOT_VENUE__KIND": "demo"}, "BOT_VENUE__API_KEY"),
        ({"BOT_NOTIFY__URLS": "json://h.example tgramm://x"}, "address 2: tgramm://"),
    ],
)
def test_check_refuses_settings_that_a_run_would_refuse(
    environment: dict[str, str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["check", "config"]) == 3
    shown = capsys.readouterr().out
    assert words in shown
    assert "wrong" in shown


def test_check_of_the_defaults_finds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "config"]) == 0
    assert "wrong" not in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
