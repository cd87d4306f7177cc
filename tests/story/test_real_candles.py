"""The two worst stretches of the real candles: the crash bar of 2025-10-10 and the hole in SOL's file."""

import json
import math
import os
from decimal import Decimal
from itertools import accumulate
from pathlib import Path

import pytest

import bot.app.runs.backtest
from bot.adapters.files.candles import read_candles
from bot.app.wiring import RunPlan
from bot.cli import main
from bot.cli.terminal.times import TIME
from bot.domain.ledger import Fill
from bot.domain.money import ZERO
from bot.service.backtest.run import Result, Run

DATA = os.environ.get("TEST_DATA")

pytestmark = pytest.mark.skipif(DATA is None, reason="TEST_DATA does not name a folder of real candles")

CRASH_MS = TIME.convert("2025-10-10T21:15", None, None)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


class Watched:
    """``bot backtest`` as a user calls it: the JSON it prints, and the run that it came from."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._conclude = bot.app.runs.backtest.conclude
        monkeypatch.setattr(bot.app.runs.backtest, "conclude", self._watch)

    def _watch(self, plan: RunPlan, run: Run) -> Result:
        self.model, self.tape = plan.model, run.tape
        return self._conclude(plan, run)

    def backtest(self, symbol: str, strategy: str, *options: str) -> dict[str, object]:
        self.path = Path(str(DATA)) / f"bybit_linear_{symbol}_5m.parquet"
        arguments = ["--data", str(self.path), "--strategy", strategy, *options, "--json"]
        assert main(["backtest", *arguments]) == 0
        told: dict[str, object] = json.loads(self._capsys.readouterr().out)
        return told

    @property
    def positions(self) -> list[tuple[int, Decimal]]:
        """(when, signed base held) after each fill."""
        held = accumulate(_signed(fill) for fill in self.tape.fills)
        return [(fill.ts_ms, after) for fill, after in zip(self.tape.fills, held, strict=True)]


def _signed(fill: Fill) -> Decimal:
    return fill.qty if fill.side == "Buy" else -fill.qty


@pytest.fixture
def bot_backtest(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Watched:
    return Watched(monkeypatch, capsys)


def check_account(told: dict[str, object], run: Watched) -> None:
    """Money in = money out; and the account is worth something, or its liquidation is said aloud."""
    fills = run.tape.fills
    assert run.positions[-1][1] == 0
    realised = -sum((_signed(fill) * fill.price for fill in fills), ZERO)
    fees = sum((fill.fee_quote for fill in fills), ZERO)
    funding = sum((paid.amount_quote for paid in run.tape.funding), ZERO)
    assert float(realised - fees + funding) == pytest.approx(told["net_pnl"], abs=1e-9)
    assert told["fees"] == pytest.approx(float(fees), abs=1e-9)
    assert told["funding"] == pytest.approx(float(funding), abs=1e-9)
    equity = told["final_equity"]
    assert isinstance(equity, float)
    assert equity == pytest.approx(10_000.0 + float(realised - fees + funding), abs=1e-9)
    assert all(math.isfinite(value) for value in run.tape.equity)
    assert run.tape.equity.min() > 0.0 or any("liquidation" in line for line in told["warnings"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("strategy", ["vol_target", "performer"])
def test_the_crash_bar_is_survived_with_every_cent_accounted_for(
    bot_backtest: Watched, strategy: str
) -> None:
    told = bot_backtest.backtest("ADAUSDT", strategy, "--end", "2025-10-20")
    check_account(told, bot_backtest)
    if strategy == "vol_target":  # the default of performer may have seen nothing worth its cost
        assert [held for ts_ms, held in bot_backtest.positions if ts_ms <= CRASH_MS][-1] != 0


def test_a_levered_long_in_the_crash_is_liquidated_and_the_report_says_so(
    bot_backtest: Watched,
) -> None:
    options = ["--param", "leverage=2.9", "--start", "2025-10-08", "--end", "2025-10-20"]
    told = bot_backtest.backtest("ADAUSDT", "buy_and_hold", *options)
    check_account(told, bot_backtest)
    assert "1 liquidations" in told["warnings"]  # type: ignore[operator]


@pytest.mark.parametrize("strategy", ["vol_target", "performer"])
def test_after_the_hole_nothing_is_entered_until_the_model_is_warm(
    bot_backtest: Watched, strategy: str
) -> None:
    told = bot_backtest.backtest("SOLUSDT", strategy)
    check_account(told, bot_backtest)
    ((_, resumed_ms, missing),) = read_candles(bot_backtest.path).gaps()
    assert missing == 23_988
    assert bot_backtest.model is not None
    warm_ms = resumed_ms + bot_backtest.model.warmup_bars * bot_backtest.model.interval_ms
    before = [ZERO, *(held for _, held in bot_backtest.positions)]
    cold = [
        (was, held)
        for was, (ts_ms, held) in zip(before, bot_backtest.positions, strict=False)
        if resumed_ms <= ts_ms < warm_ms
    ]
    assert all(abs(held) < abs(was) and held * was >= 0 for was, held in cold)
    assert any(ts_ms >= warm_ms for ts_ms, _ in bot_backtest.positions)
    assert told["flat_bars"]["cold"] >= 2 * (bot_backtest.model.warmup_bars - 2)  # type: ignore[index]
