"""A paper account survives any end: each start goes on exactly where the journal ends."""

import json
import random
import time
from pathlib import Path

import pytest

from bot.adapters.state.index import JournalIndex
from bot.adapters.state.journal import Journal
from bot.app.runs.live.recovery import account_folder
from bot.app.state import exports, journals
from bot.domain.errors import StoreFailed
from bot.domain.messages import BarsClosed, Command
from bot.engine.orders.protection import ProtectiveStops
from bot.engine.orders.takes import TakePlan
from bot.engine.state import EngineState
from bot.journal.entries import Quarantined
from bot.strategy.signal import Target
from tests.app.runs.lives import MINUTE, fills_of, live, plan_on, tape
from tests.helpers import T0

TAPE = tape(90)


async def whole(place: Path, **settings: object) -> tuple[dict[str, object], str]:
    """The account after the tape without a break, and the hash of its fills."""
    plan = plan_on(place, **settings)
    life = live(plan)
    life.see(TAPE)
    account = life.account
    life.stop()
    return account, fills_of(plan)


@pytest.mark.fault(53, 60)
@pytest.mark.parametrize("fills", ["quotes", "bars"])
@pytest.mark.parametrize("end", ["kill", "stop"])
@pytest.mark.fault(67)
async def test_killed_anywhere_the_account_and_its_fills_are_those_of_a_run_without_a_break(
    tmp_path: Path, fills: str, end: str
) -> None:
    account, digest = await whole(tmp_path / "whole", venue__fills=fills)
    assert account["cash"].fees > 0  # type: ignore[attr-defined]
    rng = random.Random(7)
    cuts = sorted(rng.sample(range(1, len(TAPE)), 12))
    plan = plan_on(tmp_path / "parts", venue__fills=fills)
    for first, last in zip([0, *cuts], [*cuts, len(TAPE)], strict=True):
        life = live(plan)
        life.see(TAPE[first:last])
        before = life.account
        getattr(life, end)()
        again = live(plan, up=False)
        assert again.account == before
        again.kill()
    life = live(plan)
    assert _without_ids(life.account) == _without_ids(account)
    life.stop()
    assert fills_of(plan) == digest


def _without_ids(account: dict[str, object]) -> dict[str, object]:
    orders = account["orders"]
    assert isinstance(orders, dict)
    return {**account, "orders": [(o.intent, o.state, o.filled_qty) for o in orders.values()]}


@pytest.mark.fault(67)
async def test_a_kill_and_a_stop_leave_the_same_state(tmp_path: Path) -> None:
    digests = []
    for end in ("kill", "stop"):
        plan = plan_on(tmp_path / end)
        life = live(plan)
        life.see(TAPE[:400])
        getattr(life, end)()
        again = live(plan, up=False)
        digests.append(again.standing.engine.state.digest())
        again.kill()
    assert digests[0] == digests[1]


@pytest.mark.fault(56, 60)
async def test_halt_pause_flatten_and_peak_stand_after_a_kill(tmp_path: Path) -> None:
    for what, held in (("halt", "halting"), ("pause", "paused"), ("flatten", "paused")):
        plan = plan_on(tmp_path / what)
        life = live(plan)
        life.see([*TAPE[:300], Command(T0, what)])  # type: ignore[arg-type]
        before = life.account
        assert before[held]
        life.kill()
        again = live(plan)
        assert again.account == before
        again.see(TAPE[300:])
        assert again.standing.engine.state.breaker.state != "active"
        again.kill()


async def test_resting_orders_outlive_a_kill(tmp_path: Path) -> None:
    plan = plan_on(tmp_path, strategy="tests.app.runs.strategies:Rests")
    life = live(plan)
    life.see(TAPE[:100])
    resting = life.account["orders"]
    assert resting
    life.kill()
    again = live(plan, up=False)
    assert again.account["orders"] == resting
    assert again.standing.venue.exchange.open_orders(None)  # type: ignore[union-attr]
    again.kill()


@pytest.mark.parametrize("fills", ["quotes", "bars"])
async def test_a_kill_forgets_neither_when_an_entry_ends_nor_a_trailing_stop_nor_takes(
    tmp_path: Path, fills: str
) -> None:
    params = {"near_frac": "0.002", "trail_frac": "0.004"}
    plan = plan_on(tmp_path, strategy="tests.sim.strategies:Brackets", params=params, venue__fills=fills)
    ends = trails = takes = 0
    for first in range(0, len(TAPE), 41):
        life = live(plan)
        life.see(TAPE[first : first + 41])
        kept = protection(life.standing.engine.state)
        life.kill()
        again = live(plan, up=False)
        assert protection(again.standing.engine.state) == kept
        again.kill()
        ends += len(kept[0])
        trails += sum(stops.trail is not None for stops in kept[1])
        takes += sum(bool(plan.levels) for plan in kept[2])
    assert min(ends, trails, takes) > 5


def protection(state: EngineState) -> tuple[dict[str, int], list[ProtectiveStops], list[TakePlan]]:
    symbols = state.symbols.values()
    return dict(state.expiring), [sym.stops for sym in symbols], [sym.takes for sym in symbols]


@pytest.mark.parametrize("name", ["Forgets", "ForgetsAll", "KeepsAll", "Declares"])
async def test_a_strategy_goes_on_after_a_kill_and_without_a_state_it_sees_its_history_again(
    tmp_path: Path, name: str
) -> None:
    account, digest = await whole(tmp_path / "whole", strategy=f"tests.app.runs.strategies:{name}")
    plan = plan_on(tmp_path / "parts", strategy=f"tests.app.runs.strategies:{name}")
    for first in range(0, len(TAPE), 137):
        life = live(plan)
        life.see(TAPE[first : first + 137])
        life.kill()
    assert fills_of(plan) == digest
    assert account["cash"].fees > 0  # type: ignore[attr-defined]


@pytest.mark.fault(62)
@pytest.mark.invariant(15)
async def test_cut_at_every_byte_of_its_end_the_state_is_one_that_was(tmp_path: Path) -> None:
    plan = plan_on(tmp_path)
    life = live(plan)
    digests = []
    for event in TAPE[:200]:
        life.see([event])
        digests.append(life.standing.engine.state.digest())
    life.kill()
    journal = Journal(account_folder(plan))
    path = journal.path(1)
    data = path.read_bytes()
    lines = data[:-1].rsplit(b"\n", 6)
    for cut in range(len(lines[0]), len(data), 3):
        path.write_bytes(data[:cut])
        again = live(plan, up=False)
        writer_numbers = journal.numbers()
        assert again.standing.halts == [], cut
        again.kill()
        for number in writer_numbers[1:]:
            journal.path(number).unlink()
            journal.snapshot_path(number).unlink()
        replayed = list(journals.replay(journal))
        assert replayed[0].difference is None


@pytest.mark.fault(65)
async def test_segments_rotate_and_each_replays_from_its_snapshot(tmp_path: Path) -> None:
    plan = plan_on(tmp_path)
    life = live(plan, segment_bytes=30_000)
    life.see(TAPE)
    life.stop()
    journal = Journal(account_folder(plan))
    assert len(journal.numbers()) > 4
    checked = journals.verify(journal)
    assert (checked.torn_bytes, checked.closed) == (0, True)
    replayed = list(journals.replay(journal))
    assert [each.difference for each in replayed] == [None] * len(replayed)
    assert sum(each.inputs for each in replayed) >= len(TAPE)


async def test_a_decision_that_comes_out_otherwise_is_named_and_halts_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_on(tmp_path)
    life = live(plan)
    life.see(TAPE)
    life.kill()
    from bot.strategy.shipped.baselines import RandomSignal

    monkeypatch.setattr(RandomSignal, "on_bar", lambda self, view: Target(0.001))
    (done,) = journals.replay(Journal(account_folder(plan)))
    assert "the journal has Effects" in str(done.difference)
    again = live(plan)
    assert again.standing.engine.state.breaker.halting[0].startswith("replay: entry ")
    again.kill()


async def test_a_strategy_that_raises_stays_stopped_after_a_kill_and_trades_on_once_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_on(tmp_path, strategy="tests.app.runs.strategies:Fragile")
    life = live(plan)
    life.see(TAPE[:200])
    bad = next(event for event in TAPE[200:] if isinstance(event, BarsClosed))
    monkeypatch.setattr("tests.app.runs.strategies.POISON_MS", bad.close_ms)
    life.see([bad])
    held = life.account["positions"]
    life.kill()
    monkeypatch.setattr("tests.app.runs.strategies.POISON_MS", -1)  # mended while the bot is off
    again = live(plan)
    assert again.standing.halts == []
    state = again.standing.engine.state
    assert set(state.stopped) == {"BTCUSDT", "ETHUSDT"}
    again.see(TAPE[210:300])
    assert again.account["positions"] == held
    again.kill()
    rows = JournalIndex(Journal(account_folder(plan))).columns("events")
    said = [text for kind, text in zip(rows["kind"], rows["text"], strict=True) if kind == "strategy_stopped"]
    assert len(said) == 2
    assert all("strategies.py:" in str(each) and "ZeroDivisionError: a bug" in str(each) for each in said)
    assert journals.lift_halts(tmp_path) == ["strategy of BTCUSDT", "strategy of ETHUSDT"]
    assert journals.lift_halts(tmp_path) == []
    lifted = live(plan)
    assert not lifted.standing.engine.state.stopped
    lifted.kill()
    monkeypatch.setattr("tests.app.runs.strategies.POISON_MS", bad.close_ms)  # the code of that time
    assert {each.difference for each in journals.replay(Journal(account_folder(plan)))} == {None}


async def test_an_event_that_cannot_be_handled_is_left_out_and_halts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_on(tmp_path)
    life = live(plan)
    life.see(TAPE[:200])
    bad = next(event for event in TAPE[200:] if isinstance(event, BarsClosed))
    value = EngineState.remark

    def breaks(state: EngineState) -> None:
        if state.now_ms == bad.close_ms:
            raise ZeroDivisionError("a bug")
        value(state)

    monkeypatch.setattr(EngineState, "remark", breaks)
    with pytest.raises(ZeroDivisionError):
        life.see([bad])
    life.kill()
    for _ in range(2):  # it crashes no more, and says why it is halted
        again = live(plan)
        halts = again.standing.engine.state.breaker.halting
        assert len(halts) == 1, halts
        (halting,) = halts
        assert halting.startswith("poison: BarsClosed of entry ")
        again.see(TAPE[210:220])
        again.kill()
    entries = [e.entry for s in Journal(account_folder(plan)).all() for e in s.entries]
    (kept,) = (entry for entry in entries if isinstance(entry, Quarantined))
    assert "ZeroDivisionError" in kept.error
    replayed = list(journals.replay(Journal(account_folder(plan))))
    assert {each.difference for each in replayed} == {None}


@pytest.mark.fault(97)
async def test_crashed_starts_halt_in_the_end_and_clean_ends_and_outages_do_not_count(tmp_path: Path) -> None:
    for end in ("stopped", "outage"):
        plan = plan_on(tmp_path / end)
        for number in range(8):
            life = live(plan, wall_ms=T0 + number)
            life.keeper.close(T0, end, "")  # type: ignore[arg-type]
            life.kill()
            assert life.standing.engine.state.breaker.halting == ()
    plan = plan_on(tmp_path / "crash")
    for number in range(5):
        life = live(plan, wall_ms=T0 + number)
        assert life.standing.engine.state.breaker.halting == ()
        life.kill()
    life = live(plan, wall_ms=T0 + 6)
    assert life.standing.engine.state.breaker.halting == ("crash_loop",)
    life.kill()
    assert journals.lift_halts(plan.settings.state_dir) == ["crash_loop"]
    assert journals.lift_halts(plan.settings.state_dir) == []
    life = live(plan, wall_ms=T0 + 7)
    assert life.standing.engine.state.breaker.halting == ()
    life.kill()
    later = live(plan_on(tmp_path / "crash"), wall_ms=T0 + 700_000)
    assert len(later.standing.header.starts_ms) == 1
    later.kill()


async def test_the_halt_file_halts_the_next_start(tmp_path: Path) -> None:
    plan = plan_on(tmp_path)
    life = live(plan, halted=True)
    assert life.standing.engine.state.breaker.halting == ("operator",)
    life.kill()


async def test_a_fresh_account_leaves_the_old_journal_as_it_was(tmp_path: Path) -> None:
    plan = plan_on(tmp_path)
    life = live(plan)
    life.see(TAPE[:300])
    old = life.account
    life.kill()
    fresh = plan_on(tmp_path, fresh=True)
    begun = live(fresh)
    assert begun.account["equity"] == 10_000.0
    assert begun.standing.writer.journal.account == "paper-2"
    begun.kill()
    assert [each.account for each in journals.journals(tmp_path)] == ["paper-1", "paper-2"]
    assert old["equity"] != 10_000.0


async def test_other_settings_take_the_account_over(tmp_path: Path) -> None:
    plan = plan_on(tmp_path)
    life = live(plan)
    life.see(TAPE[:300])
    before = life.account
    life.kill()
    other = {"strategy": "ema_cross", "params": {"fast": "2", "slow": "5"}, "risk__max_leverage": "2"}
    changed = plan_on(tmp_path, **other)  # type: ignore[arg-type]
    again = live(changed, up=False)
    assert again.account == before
    again.see(TAPE[300:])
    again.kill()
    third = live(changed, up=False)
    assert third.standing.halts == []
    third.kill()


async def test_a_symbol_with_a_position_cannot_be_left_behind(tmp_path: Path) -> None:
    plan = plan_on(tmp_path)
    life = live(plan)
    life.see(TAPE)
    held = {s for s, p in life.account["positions"].items() if p.qty}  # type: ignore[attr-defined]
    life.kill()
    assert held
    others = tuple({"BTCUSDT", "ETHUSDT", "SOLUSDT"} - held)
    with pytest.raises(StoreFailed, match=r"position or orders in .*USDT.*bot run --fresh"):
        live(plan_on(tmp_path, feed__symbols=others))


@pytest.mark.fault(53)
async def test_exports_agree_with_the_run(tmp_path: Path) -> None:
    plan = plan_on(tmp_path)
    life = live(plan, segment_bytes=40_000)
    life.see(TAPE[:400])
    journal = Journal(account_folder(plan))
    early = exports.read(journal, "fills")  # beside the running daemon
    life.see(TAPE[400:])
    cash = life.standing.engine.state.cash
    life.stop()
    fills = exports.read(journal, "fills")
    assert fills["exec_id"][: len(early["exec_id"])] == early["exec_id"]
    assert sum(fills["fee_quote"]) == cash.fees  # type: ignore[arg-type]
    assert len(exports.read(journal, "equity")["ts_ms"]) == 90
    trades = exports.read(journal, "trades")
    assert trades["pnl_quote"]
    orders = exports.read(journal, "orders")
    assert set(orders["state"]) <= {"filled", "accepted", "cancelled", "rejected"}
    for name in ("fills", "trades", "orders", "equity", "funding", "events"):
        for ending in ("csv", "parquet"):
            out = tmp_path / f"{name}.{ending}"
            rows = exports.write(exports.read(journal, name), out)  # type: ignore[arg-type]
            assert rows == len(next(iter(exports.read(journal, name).values())))  # type: ignore[arg-type]
    (account_folder(plan) / "index.sqlite").write_bytes(b"no database")
    assert exports.read(journal, "fills") == fills  # it is built again


@pytest.mark.fault(65)
@pytest.mark.invariant(24)
async def test_thirty_days_of_ten_symbols_start_within_five_seconds(tmp_path: Path) -> None:
    symbols = tuple(f"S{number}USDT" for number in range(10))
    plan = plan_on(
        tmp_path, strategy="ema_cross", params={"fast": "3", "slow": "9"}, feed__symbols=symbols,
        feed__interval="5m", venue__fills="bars", feed__quotes="none",
    )  # fmt: skip
    life = live(plan)
    rng = random.Random(3)
    from bot.domain.market import Bar

    prices = dict.fromkeys(symbols, 100.0)
    step = 5 * MINUTE
    for index in range(30 * 288):
        bars = []
        for symbol in symbols:
            was, now = prices[symbol], prices[symbol] * (1 + rng.gauss(0, 0.002))
            prices[symbol] = now
            bars.append(Bar(symbol, step, T0 + index * step, was, max(was, now), min(was, now), now, 1e6))
        close_ms = T0 + (index + 1) * step
        life.see([BarsClosed(close_ms, step, tuple(bars), seen_ms=close_ms)])
    life.kill()
    began = time.process_time()
    again = live(plan, up=False)
    took_s = time.process_time() - began
    size = sum(path.stat().st_size for path in account_folder(plan).iterdir())
    print(json.dumps({"start_cpu_s": took_s, "bytes_a_symbol_and_day": size / 300}))  # noqa: T201
    assert again.account == life.account
    again.kill()
    assert took_s < 5.0


async def test_an_account_does_not_go_on_with_another_market_or_in_the_past(tmp_path: Path) -> None:
    plan = plan_on(tmp_path)
    life = live(plan)
    life.see(TAPE[:100])
    life.kill()
    with pytest.raises(StoreFailed, match="paper-1 was traded on the candles of local, not of mainnet"):
        live(plan_on(tmp_path, feed__kind="mainnet"))
    with pytest.raises(StoreFailed, match=r"paper-1 has seen events .* s later than .* --fresh"):
        live(plan, now_ms=T0 - 3_600_000)
    live(plan).kill()


@pytest.mark.fault(66)
async def test_the_store_of_an_earlier_version_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "store-paper.jsonl").write_text("anything")
    with pytest.raises(StoreFailed, match=r"store-paper\.jsonl: was kept by an earlier version"):
        live(plan_on(tmp_path))
    (tmp_path / "store-paper.jsonl").unlink()
    live(plan_on(tmp_path)).kill()
