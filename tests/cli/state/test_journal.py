"""``bot journal`` and its short forms: what a paper account has kept, read from the command line."""

import csv
import json
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet
import pytest

from bot.app.runs.live.recovery import account_folder
from bot.app.state.exports import What
from bot.cli import main
from bot.cli.state.journal import _counted
from tests.app.runs.lives import live, plan_on, tape


@pytest.fixture
async def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The journal of a paper account that traded for an hour and was then killed."""
    monkeypatch.chdir(tmp_path)
    plan = plan_on(tmp_path / ".data")
    life = live(plan)
    life.see(tape(60))
    life.kill()
    return account_folder(plan)


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return dict(json.loads(capsys.readouterr().out))


async def test_a_journal_is_verified_and_replayed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journal", "verify", "--json"]) == 0
    checked = told(capsys)
    assert (checked["account"], checked["segments"], checked["torn_bytes"]) == ("paper-1", 1, 0)
    assert main(["journal", "replay", "--json"]) == 0
    replayed = told(capsys)
    assert replayed["difference"] is None
    assert main(["journal", "replay"]) == 0
    assert "every decision came out the same" in capsys.readouterr().out


async def test_damage_is_named_by_file_and_line_with_exit_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "000001.jsonl"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for command in (["journal", "verify"], ["journal", "replay"], ["trades"]):
        assert main(command) == 1
        assert "000001.jsonl: line " in capsys.readouterr().err


@pytest.mark.parametrize("what", ["trades", "fills", "orders", "equity", "funding", "events"])
async def test_everything_is_exported_as_csv_and_parquet(
    what: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for ending in ("csv", "parquet"):
        assert main(["journal", "export", "--what", what, "--out", f"out.{ending}", "--json"]) == 0
        rows = told(capsys)["rows"]
        if ending == "csv":
            with Path("out.csv").open(newline="") as file:  # noqa: ASYNC230 (nobody waits for it)
                assert len(list(csv.DictReader(file))) == rows
        else:
            assert pyarrow.parquet.read_table("out.parquet").num_rows == rows
        assert what == "funding" or rows
    assert main(["journal", "export", "--what", what, "--out", "out.xlsx"]) == 2
    assert "must end in .csv or .parquet" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["trades", "orders", "equity"])
async def test_the_latest_rows_are_shown(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--last", "2", "--json"]) == 0
    rows = told(capsys)[command]
    assert isinstance(rows, list)
    assert len(rows) == 2
    assert main([command, "--last", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


async def test_tables_are_written_for_people_and_csv_for_programs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trades", "--csv"]) == 0
    trades = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert main(["trades", "--last", "1"]) == 0
    title, header, row = capsys.readouterr().out.splitlines()
    total = sum(Decimal(each["pnl_quote"]) for each in trades)
    assert title.startswith(f"paper-1: {len(trades)} trades, the latest 1 (UTC); all: {total:+,.2f} USDT")
    assert header.split()[:6] == ["closed", "2025", "symbol", "side", "size", "entry"]
    last = trades[-1]
    assert row.split()[2:4] == [last["symbol"], "long" if last["side"] == "Buy" else "short"]
    assert f"{Decimal(last['pnl_quote']):+,.2f}" in row
    assert {"entry_reason", "exit_reason"} <= last.keys()
    assert main(["trades", "--csv", "--last", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["trades", "--csv", "--json"]) == 2
    assert "contradict" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "what", "words"),
    [
        (1, "trades", "1 trade"),
        (2, "trades", "2 trades"),
        (1, "equity", "1 close"),
        (1_234, "equity", "1,234 closes"),
        (0, "orders", "0 orders"),
        (1, "funding", "1 funding payment"),
        (3, "funding", "3 funding payments"),
    ],
)
def test_rows_are_counted_with_their_noun(count: int, what: What, words: str) -> None:
    assert _counted(count, what) == words


async def test_what_was_kept_is_shown_while_the_settings_are_wrong(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BOT_RISK__MAX_LEVERAGE", "no number")
    for command in ("trades", "orders", "equity"):
        assert main([command]) == 0
    assert "60 closes, the latest 20 (UTC); all: from " in capsys.readouterr().out


async def test_an_unknown_account_names_those_there_are(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["journal", "verify", "--account", "paper-7"]) == 2
    assert "no account 'paper-7'; there are paper-1" in capsys.readouterr().err


def test_without_a_journal_the_way_to_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["trades"]) == 2
    assert "no journal yet; `bot run` begins one" in capsys.readouterr().err


async def test_a_fresh_account_is_asked_about_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--feed", "local", "--venue", "paper", "--fresh"]) == 2
    assert "nobody can answer here; add --yes" in capsys.readouterr().err
    assert [each.name for each in folder.parent.iterdir()] == ["paper-1"]
