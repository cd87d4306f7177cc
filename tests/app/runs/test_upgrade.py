"""An account goes on with its open position: after an upgrade, after a restore, under new order names."""

import asyncio
import copy
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from bot.adapters.state.backup import RENAMED, pack, unpack
from bot.adapters.state.clock import ReplayClock
from bot.app.runs.live.arguments import arguments_of
from bot.app.runs.live.recovery import account_folder
from bot.app.state import journals
from bot.cli import main
from bot.domain.messages import PlaceOrder
from bot.domain.snapshots import lost_in, seal
from bot.journal.entries import Effects, Forgiven, Place
from tests.app.runs.lives import Life, live, plan_on, tape
from tests.helpers import T0, instrument

EARLIER = Path(__file__).parent / "journals" / "earlier.tar.gz"
"""A paper account of an earlier version, killed after 26 minutes of ``tape`` with two open positions.

``bot backup`` has packed it. Its snapshot knows fewer fields, and its settings fewer tables, than today.
"""
CROSS = {"fast": "3", "slow": "8", "size": "1.0"}
HOUR = 3_600_000


def restored(archive: Path, place: Path) -> Path:
    place.mkdir()
    unpack(archive, place, ts_ms=T0 + HOUR)
    return place


def held(life: Life) -> dict[str, Decimal]:
    return {sym.symbol: sym.position.qty for sym in life.standing.engine.state.symbols.values()}


async def test_a_journal_of_an_earlier_version_with_open_positions_goes_on(tmp_path: Path) -> None:
    plan = plan_on(restored(EARLIER, tmp_path / "state"), strategy="ema_cross", params=CROSS)
    life = live(plan, now_ms=T0 + HOUR)
    assert (life.standing.known, life.standing.halts) == (True, [])
    assert held(life) == {"BTCUSDT": Decimal("1.0"), "ETHUSDT": Decimal("1.0")}
    assert life.account["stops"] == {"BTCUSDT": (Decimal("99.0"), None), "ETHUSDT": (Decimal("49.3"), None)}
    assert all(sym.strategy.state() for sym in life.standing.engine.state.symbols.values())  # type: ignore[attr-defined]
    life.see(event for event in tape(120) if event.ts_ms > T0 + HOUR)
    assert set(held(life).values()) != {Decimal("1.0")}  # it went on to trade
    life.stop()
    assert [
        each.difference for each in journals.replay(journals.choose_journal(plan.settings.state_dir, None))
    ] == [None] * 3


async def test_a_restored_account_is_the_account_of_the_moment_of_its_backup(tmp_path: Path) -> None:
    plan = plan_on(tmp_path / "a", strategy="ema_cross", params=CROSS)
    life, events = live(plan), tape(120)
    life.see(events[:700])
    pack(tmp_path / "a", tmp_path / "b.tar.gz", code="1", ts_ms=T0)
    then, then_ms = str(life.account), life.standing.engine.state.now_ms
    life.see(events[700:])
    life.kill()
    assert str(life.account) != then
    back = plan_on(restored(tmp_path / "b.tar.gz", tmp_path / "c"), strategy="ema_cross", params=CROSS)
    again = live(back, up=False, now_ms=then_ms)
    assert str(again.account) == then
    again.kill()


async def test_under_another_order_name_the_state_is_the_same_and_the_strategy_remembers(
    tmp_path: Path,
) -> None:
    plan = plan_on(tmp_path / "a", strategy="ema_cross", params=CROSS)
    life, events = live(plan), tape(120)
    life.see(events[:700])
    account = life.account
    life.kill()
    (account_folder(plan) / RENAMED).write_text("r1abc\n")
    again = live(plan, up=False)
    assert again.account == account
    memory = [sym.strategy.state() for sym in life.standing.engine.state.symbols.values()]  # type: ignore[attr-defined]
    assert [s.strategy.state() for s in again.standing.engine.state.symbols.values()] == memory  # type: ignore[attr-defined]
    again.kill()
    third = live(plan)
    third.see(events[700:])
    ids = {
        effect.order_id.partition("-")[0]
        for segment in third.standing.writer.journal.all()
        for each in segment.entries
        if isinstance(each.entry, Effects)
        for effect in each.entry.effects
        if isinstance(effect, PlaceOrder)
    }
    assert ids == {"bot1", "bot1r1abc"}
    third.kill()


def test_a_state_that_has_lost_something_is_named() -> None:
    whole, less = seal("x", Place(1, 2, 3)), seal("x", Forgiven(1))
    assert lost_in(whole, whole) == ""
    assert lost_in(whole, less) == "segment"
    assert lost_in(whole, seal("x", Place(1, 2, 4))) == "crc"


def test_a_setting_that_an_earlier_version_did_not_have_counts_with_its_default(tmp_path: Path) -> None:
    plan = plan_on(tmp_path, strategy="ema_cross", params=CROSS)
    rules = {symbol: instrument(symbol) for symbol in plan.symbols}
    today = arguments_of(plan, rules, ReplayClock(T0), "bot1")
    earlier = copy.deepcopy(today.settings)
    del earlier["notify"], earlier["risk"]["max_slippage_bps"], earlier["execution"]
    older = msgspec.structs.replace(today, settings=earlier, settings_hash="of other values")
    assert older.decides_as(today)
    assert older.name_of_settings() == today.name_of_settings() == today.settings_hash
    gone = msgspec.structs.replace(older, settings=earlier | {"colour": "red"})
    assert gone.name_of_settings() == "of other values"
    earlier["risk"]["max_leverage"] = "1"
    assert not msgspec.structs.replace(today, settings=earlier).decides_as(today)
    assert not msgspec.structs.replace(today, settings={"gone": 1}).decides_as(today)


def test_backup_and_restore_are_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def traded() -> None:
        life = live(plan_on(tmp_path / ".data"))
        life.see(tape(30))
        life.kill()

    monkeypatch.chdir(tmp_path)
    asyncio.run(traded())
    assert main(["backup", "b.tar.gz"]) == 0
    assert "paper-1: " in capsys.readouterr().out
    assert main(["backup", "b.tar.gz"]) == 2
    assert main(["restore", "b.tar.gz"]) == 2
    assert "--replace" in capsys.readouterr().err
    assert main(["restore", "b.tar.gz", "--replace"]) == 0
    assert main(["journal", "verify"]) == 0
    monkeypatch.setenv("BOT_STATE_DIR", "elsewhere")
    assert main(["restore", "nothing"]) == 5
    assert main(["restore", "b.tar.gz", "--json"]) == 0
