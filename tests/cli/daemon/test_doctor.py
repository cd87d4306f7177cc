"""``bot doctor`` names what is wrong, what to do, and ends with that thing's code; offline too."""

import json
from pathlib import Path

import pytest

from bot.adapters.state.directory import HaltFile, StateDir
from bot.adapters.state.journal import JournalWriter
from bot.cli import main
from tests.service.daemons import HEADER


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str]]:
    told = json.loads(capsys.readouterr().out)["findings"]
    return {each["name"]: (each["level"], each["text"]) for each in told}


def test_a_fresh_machine_is_fine_without_a_network(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--offline", "--json"]) == 0
    told = findings(capsys)
    assert told["model"][0] == "ok"
    assert told["keys"] == ("ok", "paper needs none")
    assert not (place / ".data").exists()  # looking changes nothing


@pytest.mark.parametrize(
    ("environment", "name", "code", "words"),
    [
        ({"BOT_RISK__MAX_LEVERAGE": "-1"}, "settings", 3, "BOT_RISK__MAX_LEVERAGE"),
        ({"BOT_VENUE__KIND": "demo"}, "keys", 3, "BOT_VENUE__API_KEY"),
        ({"BOT_FEED__INTERVAL": "1m"}, "model", 5, "feed.interval is 1m"),
        ({"BOT_MODEL__PATH": "nowhere"}, "model", 5, "nowhere"),
        ({"BOT_NOTIFY__URLS": "json://h.example tgramm://x"}, "messages", 3, "address 2: tgramm://"),
        ({"BOT_FEED__KIND": "local", "BOT_LOCAL__URL": "http://127.0.0.1:9"}, "network", 4, "bot exchange"),
    ],
)
def test_each_wrong_thing_is_named_with_its_code(
    environment: dict[str, str],
    name: str,
    code: int,
    words: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    offline = [] if name == "network" else ["--offline"]
    assert main(["doctor", "--json", *offline]) == code
    level, text = findings(capsys)[name]
    assert level == "wrong"
    assert words in text


def test_a_halt_and_a_damaged_journal_are_seen(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = StateDir(place / ".data")
    writer = JournalWriter(place / ".data/journal/demo-1")
    writer.begin(HEADER)
    writer.close()
    HaltFile(place / ".data").set()
    state.close()
    assert main(["doctor", "--offline", "--json"]) == 0
    assert findings(capsys)["halt"][0] == "warn"
    (place / ".data/journal/demo-1/000001.jsonl").write_bytes(b"damage\n")
    assert main(["doctor", "--offline", "--json"]) == 1
    assert "000001.jsonl: line 1" in findings(capsys)["state"][1]


def test_people_get_a_line_a_thing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--offline"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.split()[0] in ("ok", "warn", "wrong") for line in lines)
    assert len(lines) >= 5


@pytest.mark.parametrize(("equity", "kind", "warned"), [("50000", "paper", False), ("60000", "paper", True)])
def test_limits_that_a_simulated_account_has_outgrown_are_named_before_it_trades(
    equity: str,
    kind: str,
    warned: bool,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BOT_ACCOUNT__EQUITY_QUOTE", equity)
    for command in (["check", "config"], ["doctor", "--offline"]):
        assert main([*command, "--json"]) == 0
        found = findings(capsys)
        assert ("limits" in found) == warned
        if warned:
            level, text = found["limits"]
            assert level == "warn"
            assert "risk.max_order_notional_quote = 50000" in text
            assert "set each of them" in text
