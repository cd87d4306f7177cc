"""`bot report RUN BACKTEST`: a run is its backtest, or the report names where it is not, and why."""

import asyncio
import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from bot.adapters.files.candles import read_candles, write_candles
from bot.adapters.state.journal import Journal, condense
from bot.app.context import Context
from bot.app.overlay import pages
from bot.app.overlay.differences import FillCause, Overlay, lay_over
from bot.app.overlay.kept import read_run
from bot.app.overlay.same_bars import candles_of, run_backtest
from bot.app.runs.live.plan import LivePlan
from bot.app.runs.live.recovery import account_folder
from bot.app.runs.parity import exchange_process
from bot.cli import root
from bot.domain.errors import BadUsage
from bot.domain.messages import BarsClosed, Command, Event
from bot.service.moments import minute_words
from tests.app.runs import test_model_swap as swaps
from tests.app.runs.lives import MINUTE, SYMBOLS, live, plan_on, tape
from tests.cli.exchanges import daemon
from tests.helpers import T0
from tests.research import series

BARS = {"venue__fills": "bars", "venue__protective_stop_frac": Decimal(0)}
AT = T0 + 21 * MINUTE


def closes(events: Iterable[Event]) -> list[BarsClosed]:
    return [event for event in events if isinstance(event, BarsClosed)]


def files(place: Path, events: Iterable[Event]) -> list[Path]:
    """The market as candle files."""
    paths = []
    for symbol in SYMBOLS:
        bars = [bar for close in closes(events) for bar in close.bars if bar.symbol == symbol]
        paths.append(place / f"bybit_linear_{symbol}_1m.parquet")
        write_candles(paths[-1], candles_of(symbol, MINUTE, bars))
    return paths


async def lived(plan: LivePlan, seen: Iterable[Event]) -> None:
    """A whole process; its keeper sets timers, so it needs an event loop."""
    life = live(plan)
    life.see(seen)
    life.stop()


def laid(place: Path, seen: Iterable[Event], data: list[Path] | None = None, **changes: Any) -> Overlay:
    """A paper run that saw ``seen``, over its backtest of ``data``; None: of the bars in its journal."""
    plan = plan_on(place, **{**BARS, **changes})
    asyncio.run(lived(plan, seen))
    kept = read_run(Journal(account_folder(plan)))
    return lay_over(kept.run, run_backtest(kept, data or []))


def first(found: Overlay) -> tuple[int, str, FillCause]:
    difference = found.differences[0]
    return difference.opened_ms, difference.symbol, difference.cause


def test_a_run_is_the_same_as_its_backtest_from_files_and_from_its_journal(tmp_path: Path) -> None:
    market = closes(tape(60))
    found = laid(tmp_path / "a", market, files(tmp_path, market))
    assert found.equal
    assert found.same_fills > 20
    assert found.bars.same == 2 * 60
    assert found.run.equity == found.backtest.equity
    assert laid(tmp_path / "b", market).equal


# Planted differences


def without_a_bar(close: BarsClosed) -> BarsClosed:
    return msgspec.structs.replace(close, bars=close.bars[:1])


def too_late(close: BarsClosed) -> BarsClosed:
    return msgspec.structs.replace(close, live=False)


def slow(close: BarsClosed) -> BarsClosed:
    return msgspec.structs.replace(close, seen_ms=close.close_ms + 20_000)


def another(close: BarsClosed) -> BarsClosed:
    btc, eth = close.bars
    cheaper = round(btc.low * 0.999, 1)
    return msgspec.structs.replace(
        close, bars=(msgspec.structs.replace(btc, close=cheaper, low=cheaper), eth)
    )


@pytest.mark.parametrize(
    ("change", "symbol", "cause"),
    [
        (without_a_bar, "ETHUSDT", FillCause.MISSED_BAR),
        (too_late, "BTCUSDT", FillCause.LATE_BAR),
        (slow, "BTCUSDT", FillCause.LATE_SIGNAL),
        (another, "BTCUSDT", FillCause.OTHER_BAR),
    ],
)
def test_a_bar_that_the_run_saw_otherwise_is_named(
    tmp_path: Path, change: Callable[[BarsClosed], BarsClosed], symbol: str, cause: FillCause
) -> None:
    market = closes(tape(60))
    seen = [change(each) if each.close_ms == AT else each for each in market]
    found = laid(tmp_path / "a", seen, files(tmp_path, market))
    assert not found.equal
    assert first(found) == (AT, symbol, cause)
    causes = {each.cause for each in found.differences}
    assert causes <= {
        cause,
        FillCause.FOLLOWS,
        FillCause.ONLY_RUN,
        FillCause.ONLY_BACKTEST,
        FillCause.OTHER_SIZE,
    }
    assert found.bars.equal is (cause is FillCause.LATE_SIGNAL)


def test_a_limit_and_a_command_are_named(tmp_path: Path) -> None:
    market = closes(tape(60))
    seen: list[Event] = []
    for close in market:
        seen += [close]
        seen += [Command(AT - MINUTE // 2, "pause", by="page")] if close.close_ms == AT - MINUTE else []
        seen += [Command(AT + MINUTE // 2, "resume", by="page")] if close.close_ms == AT else []
    found = laid(tmp_path / "a", seen, files(tmp_path, market))
    assert first(found)[::2] == (AT, FillCause.REFUSED)
    assert "entries are held back (breaker)" in found.differences[0].words

    seen = list(market)
    seen.insert(30, Command(market[29].close_ms + 1, "flatten", by="terminal"))
    found = laid(tmp_path / "b", seen, files(tmp_path, market))
    assert found.differences[0].cause in (FillCause.OPERATOR, FillCause.REFUSED)
    assert any("`flatten` was given (terminal)" in each.words for each in found.differences)


def test_prices_of_a_book_are_named_with_their_distance(tmp_path: Path) -> None:
    market = tape(40)
    found = laid(tmp_path / "a", market, files(tmp_path, market), venue__fills="quotes")
    prices = [each for each in found.differences if each.cause is FillCause.OTHER_PRICE]
    assert prices
    assert all(
        each.worse_bps is not None and f"{abs(each.worse_bps):.2f} bps" in each.words for each in prices
    )


def test_candles_of_another_time_or_symbol_are_refused(tmp_path: Path) -> None:
    market = closes(tape(30))
    before = files(tmp_path, [replace_time(close, -3_000) for close in market])
    with pytest.raises(BadUsage, match="no bar of the run's time"):
        laid(tmp_path / "a", market, before)
    one = files(tmp_path, market)[:1]
    with pytest.raises(BadUsage, match="give one file for each"):
        laid(tmp_path / "b", market, one)


def replace_time(close: BarsClosed, minutes: int) -> BarsClosed:
    moved = [msgspec.structs.replace(bar, start_ms=bar.start_ms + minutes * MINUTE) for bar in close.bars]
    return msgspec.structs.replace(close, close_ms=close.close_ms + minutes * MINUTE, bars=tuple(moved))


# A pruned journal


@pytest.fixture
def pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A paper run of an hour whose journal has lost its oldest bars; the market as candle files."""
    monkeypatch.chdir(tmp_path)
    plan, market = plan_on(Path(".data"), **BARS), closes(tape(60))

    async def life() -> None:
        process = live(plan, segment_bytes=8_000)
        process.see(market)
        process.stop()

    asyncio.run(life())
    journal = Journal(account_folder(plan))
    for number in journal.numbers()[: len(journal.numbers()) // 2]:
        condense(journal, number)
    return files(tmp_path, market)


def test_bars_that_were_pruned_are_not_called_missed(pruned: list[Path]) -> None:
    kept = read_run(Journal(Path(".data/journal/paper-1")))
    found = lay_over(kept.run, run_backtest(kept, pruned))
    assert found.equal  # orders and fills are kept
    ((_, after_ms),) = kept.run.pruned
    assert found.bars.pruned == 2 * (after_ms - kept.run.first_ms) // MINUTE > 20
    assert found.bars.pruned + found.bars.same == 2 * 60
    (note, *_) = pages.notes(kept, found)
    assert f"from {minute_words(kept.run.first_ms)} up to {minute_words(after_ms)} are missing" in note
    assert note in pages.notes(kept)


def test_over_the_bars_that_are_left_the_comparison_begins_with_them(pruned: list[Path]) -> None:
    kept = read_run(Journal(Path(".data/journal/paper-1")))
    found = lay_over(kept.run, run_backtest(kept, []))
    ((_, after_ms),) = kept.run.pruned
    assert found.backtest.first_ms == after_ms
    assert all(each.opened_ms >= after_ms for each in found.differences)
    words = told("paper-1", "journal")
    assert f"note: the backtest begins at {minute_words(after_ms)}" in words
    assert "give candle files of the whole run" in words
    assert "missed" not in words
    numbers = json.loads(told("paper-1", "journal", "--json"))
    assert numbers["pruned"] == [{"from_ms": kept.run.first_ms, "to_ms": after_ms}]
    assert numbers["notes"] == pages.notes(kept, found)


def test_candles_that_begin_after_the_run_are_compared_from_there_on_and_it_says_so(tmp_path: Path) -> None:
    market = closes(tape(60))
    found = laid(tmp_path / "a", market, files(tmp_path, market[30:]))
    assert found.backtest.first_ms == market[30].close_ms
    assert all(each.opened_ms >= market[30].close_ms for each in found.differences)
    kept = read_run(Journal(tmp_path / "a/journal/paper-1"))
    begins = f"the backtest begins at {minute_words(market[30].close_ms)}"
    assert pages.notes(kept, found)[0].startswith(begins)
    assert not any("begins at" in note for note in pages.notes(kept))


def test_bars_that_are_shown_again_at_a_restart_do_not_hide_that_they_were_pruned(tmp_path: Path) -> None:
    plan, market = plan_on(tmp_path, **BARS), closes(tape(40))

    async def lives() -> None:
        for begin, seen in ((0, market[:20]), (20, [too_late(each) for each in market[10:20]] + market[20:])):
            process = live(plan, up=begin == 0)
            process.see(seen)
            process.stop()

    asyncio.run(lives())
    journal = Journal(account_folder(plan))
    condense(journal, journal.numbers()[0])
    assert read_run(journal).run.pruned == [(-1, market[20].close_ms)]


# The command


def told(*words: str) -> str:
    done = CliRunner().invoke(root, ["report", *words], obj=Context(), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_pages_stand_alone_and_show_what_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    market = closes(tape(60))
    laid(Path(".data"), [too_late(each) if each.close_ms == AT else each for each in market])
    alone = told()
    assert "report: paper-1.html" in alone
    page = Path("paper-1.html").read_text()
    assert "random on BTCUSDT, ETHUSDT" in page
    data = [str(path) for path in files(tmp_path, market)]
    words = told("paper-1", *data, "--out", "both.html")
    assert "1 late bar" in words or "2 late bar" in words
    page = Path("both.html").read_text()
    for text in ("Equity of both", "late bar", "Why fills differ", "Price and fills of the backtest"):
        assert text in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    numbers = json.loads(told("paper-1", *data, "--json"))
    assert numbers["equal"] is False
    assert numbers["causes"]["late bar"] >= 1
    assert [each["close_ms"] for each in numbers["bars"]["late"]] == [AT, AT]
    assert json.loads(told("--json"))["fills"] == numbers["fills"]


def test_a_paper_run_at_the_local_exchange_and_its_backtest_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    synth = ["--symbol", "BTCUSDT", "--price", "90000", "--interval", "1m", "--days", "1", "--out", "candles"]
    done = CliRunner().invoke(root, ["data", "synth", *synth], obj=Context(), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (candles,) = [path for path in Path("candles").iterdir() if "funding" not in path.name]
    rates = {"BOT_RISK__MAX_SIGNAL_AGE_MS": "3600000", "BOT_RISK__MAX_DATA_AGE_MS": "86400000"}
    first_ms = read_candles(candles).first_ms
    market = f"--data {candles} --fills bars --no-funding --start {first_ms + 1_100 * MINUTE} --speed 200"
    with exchange_process(Context(), market.split()) as url:
        run = f"--feed local --venue paper --exchange {url} --symbol BTCUSDT --fills bars --interval 1m"
        run += " --strategy random --param hold_bars=2 --bars 20"
        with daemon(tmp_path, *run.split(), env={**rates, "BOT_FEED__QUOTES": "none"}) as bot:
            assert bot.process.wait(60) == 0, "".join(bot.said)
    numbers = json.loads(told("paper-1", str(candles), "--json"))
    assert numbers["differences"] == []
    assert numbers["equal"]
    assert numbers["fills"] > 5
    assert numbers["fills_sha256"] == numbers["backtest"]["fills_sha256"]
    assert json.loads(told("paper-1", "journal", "--json"))["equal"]


def test_a_model_that_took_over_takes_over_in_the_backtest_too(tmp_path: Path) -> None:
    base, market = series.saved_model(tmp_path / "base"), swaps.closes(0, swaps.COUNT)
    changes: dict[str, Any] = {"feed__interval": "15m", "model__path": base, **BARS}
    plan = swaps.begun(plan_on(tmp_path / "state", strategy=swaps.TURNING, **changes))

    async def lived_on() -> None:
        first = live(plan)
        first.see(market[: swaps.COUNT - 40])
        newer = swaps.promoted(plan)
        swaps.swapped(first, plan, newer, market[: swaps.COUNT - 40], market[swaps.COUNT - 40])
        first.see(market[swaps.COUNT - 39 :])
        first.stop()

    asyncio.run(lived_on())
    kept = read_run(Journal(account_folder(plan)))
    assert len(kept.run.swaps) == 1
    assert not kept.changed
    found = lay_over(kept.run, run_backtest(kept, []))
    assert found.equal
    assert found.same_fills > 20
