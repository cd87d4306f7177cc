"""``bot status`` of a bot that is stopped or dead: what it left, as its next start finds it."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from bot.adapters.state.directory import HaltFile
from bot.app.state.left_behind import left_behind, of_stopped
from bot.cli import main
from bot.domain.account import AccountSnapshot
from bot.domain.messages import Line, LinkUp, PlaceOrder, Synced
from bot.domain.orders import OrderState
from bot.journal.entries import Effects
from tests.app.runs.lives import Life, live, plan_on, tape
from tests.engine.scripted import holding, stranger
from tests.helpers import T0

KEYS = {"venue__api_key": "a-test-key", "venue__api_secret": "a-test-secret"}
RESTS = "tests.app.runs.strategies:Rests"


def killed(place: Path, **changes: object) -> Life:
    """A paper bot that was killed in the midst of a tape, with what it then had."""
    life = live(plan_on(place, **changes))  # type: ignore[arg-type]
    life.see(tape(40)[:401])
    life.kill()
    return life


def files(place: Path) -> dict[str, tuple[bytes, int]]:
    found = (path for path in place.rglob("*") if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


async def test_a_killed_paper_bot_left_what_it_had_and_asking_changes_no_file(tmp_path: Path) -> None:
    life, before = killed(tmp_path), files(tmp_path)
    (told,) = left_behind(tmp_path)
    state = life.standing.engine.state
    held = {
        sym.symbol: (str(sym.position.qty), sym.view.entry_price, sym.stops.at_venue[0])
        for sym in state.symbols.values()
        if sym.position.qty
    }
    assert held
    rows = told["positions"]
    assert isinstance(rows, list)
    assert {
        row["symbol"]: (row["qty"], row["entry_price"], Decimal(row["stop_loss"])) for row in rows
    } == held
    assert (told["account"], told["as_of_ms"]) == ("paper-1", state.now_ms)
    assert told["equity"] == state.equity
    assert (told["ended"], told["unknown"]) == ("crashed or killed", None)
    assert files(tmp_path) == before


async def test_an_order_that_rests_is_named(tmp_path: Path) -> None:
    killed(tmp_path, strategy=RESTS)
    (told,) = left_behind(tmp_path)
    rows = told["open_orders"]
    assert isinstance(rows, list)
    assert {(row["symbol"], row["side"], row["state"]) for row in rows} == {
        ("BTCUSDT", "Buy", "open"),
        ("ETHUSDT", "Buy", "open"),
    }


def a_remote_bot_with_a_foreign_part(place: Path) -> Life:
    """Two of five are ours; then somebody sells one, and an order of ours gets no answer."""
    plan = plan_on(place, strategy="buy_and_hold", venue__kind="local", **KEYS)
    life = live(plan)
    held = (holding("5", stop="90", own="2"),)
    life.see([Synced(T0, AccountSnapshot(Decimal(10_000), held), first=True), LinkUp(T0, Line.VENUE)])
    life.see([stranger("Sell", "1"), *tape(2)])
    life.kill()
    return life


async def test_what_others_hold_is_told_apart_from_what_is_ours(tmp_path: Path) -> None:
    a_remote_bot_with_a_foreign_part(tmp_path)
    told = of_stopped(tmp_path)
    rows = told["positions"]
    assert isinstance(rows, list)
    assert [(row["symbol"], row["qty"], row["entry_price"], row["stop_loss"]) for row in rows] == [
        ("BTCUSDT", "2", 100.0, "90")
    ]
    assert told["foreign_positions"] == [{"symbol": "BTCUSDT", "qty": "2"}]
    assert "the venue may have changed since" in str(told["note"])


async def test_an_order_whose_answer_was_not_heard_is_of_unknown_fate(tmp_path: Path) -> None:
    life = a_remote_bot_with_a_foreign_part(tmp_path)
    assert [order.state for order in life.standing.engine.state.orders.live.values()] == [OrderState.SENT]
    (told,) = left_behind(tmp_path)
    assert told["unknown_orders"] == 1


async def test_an_account_that_was_never_read_is_unknown_and_not_empty(tmp_path: Path) -> None:
    live(plan_on(tmp_path, strategy="flat", venue__kind="local", **KEYS)).kill()
    (told,) = left_behind(tmp_path)
    assert (told["positions"], told["equity"]) == (None, None)
    assert told["unknown"] == "the bot ended before it had read the venue's account"


async def test_a_strategy_that_is_gone_makes_the_account_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone.py").write_text("class Flat:\n    def on_bar(self, view):\n        return None\n")
    monkeypatch.chdir(tmp_path)
    killed(tmp_path / "state", strategy="gone.py:Flat")
    (tmp_path / "gone.py").unlink()
    (told,) = left_behind(tmp_path / "state")
    assert told["positions"] is None
    assert "--strategy gone.py:Flat: no such file" in str(told["unknown"])


async def test_a_replay_that_decides_otherwise_makes_the_account_unknown(tmp_path: Path) -> None:
    life = live(plan_on(tmp_path, strategy="buy_and_hold"))

    def twice(effects: Effects) -> Effects:
        placed = [each for each in effects.effects if isinstance(each, PlaceOrder)]
        return Effects((*effects.effects, *placed))

    append = life.standing.writer.append
    life.standing.writer.append = lambda entry: append(twice(entry) if isinstance(entry, Effects) else entry)  # type: ignore[method-assign]
    life.see(tape(3))
    life.kill()
    (told,) = left_behind(tmp_path)
    assert told["positions"] is None
    assert "its journal replays otherwise" in str(told["unknown"])


async def test_status_says_it_to_people_and_programs_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_remote_bot_with_a_foreign_part(tmp_path)
    HaltFile(tmp_path).set()
    monkeypatch.chdir(tmp_path.parent)
    monkeypatch.setenv("BOT_STATE_DIR", str(tmp_path))
    assert main(["status"]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("error: no daemon runs on ")
    out = " ".join(shown.out.split())
    for words in (
        "LOCAL account local-1, ended: crashed or killed; as of 2025-01-01 00:02:00 UTC",
        "halted: operator; no entries until `bot unhalt`",
        "BTCUSDT long 2 100",
        "BTCUSDT 2 is not ours",
        "orders of unknown fate: 1",
        "the venue may have changed since",
    ):
        assert words in out
    assert main(["status", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["mode"], told["halt_reason"]) == ("stopped", "local", "operator")
    assert [row["qty"] for row in told["positions"]] == ["2"]
    assert told["others"] == []


async def test_what_cannot_be_replayed_is_said_to_be_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    killed(tmp_path)
    (tmp_path / "journal" / "paper-1" / "000001.jsonl").write_text("nonsense\n")
    monkeypatch.setenv("BOT_STATE_DIR", str(tmp_path))
    assert main(["status"]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "positions and orders are UNKNOWN; look at the account yourself. Why: " in shown
    assert "no position" not in shown
