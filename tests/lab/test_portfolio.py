"""One strategy over many symbols, from Python and on the command line."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import bot
from bot.adapters.files.candles import Candles, write_candles
from bot.adapters.files.replay import ReplayFeed
from bot.adapters.state.clock import ReplayClock
from bot.app.context import Context
from bot.app.runs.backtest import make_plan
from bot.app.wiring import assemble
from bot.cli import main
from bot.domain.errors import BadUsage, StrategyFailed
from bot.domain.ledger import fills_digest
from bot.strategy.portfolio import PortfolioView
from bot.strategy.signal import Target
from tests.lab.market import Breakout, candles

SYMBOLS = ("ADAUSDT", "BTCUSDT", "ETHUSDT")


class BreakoutOfAll:
    """``Breakout`` for all symbols of a close, in one instance."""

    def __init__(self, bars: int = 48) -> None:
        self.bars = bars
        self.each: dict[str, Breakout] = {}

    def on_close(self, view: PortfolioView) -> Mapping[str, Target | None]:
        made = {}
        for symbol, seen in view.closed.items():
            one = self.each.setdefault(symbol, Breakout(self.bars, 0.2))
            made[symbol] = one.on_bar(seen)
        return made


class Turns:
    """Moves all money to the next symbol at every tenth close."""

    def __init__(self) -> None:
        self.seen = 0

    def on_close(self, view: PortfolioView) -> Mapping[str, Target | None]:
        self.seen += 1
        if self.seen % 10:
            return {}
        chosen = SYMBOLS[self.seen // 10 % 3]
        return {symbol: Target.fraction(0.98 if symbol == chosen else 0.0) for symbol in SYMBOLS}


class Broken:
    def on_close(self, view: PortfolioView) -> None:
        raise ZeroDivisionError("rank")


class Both(Breakout):
    def on_close(self, view: PortfolioView) -> None:
        return None


def holey(bars: int = 900) -> list[Candles]:
    """Three symbols of other beginnings, with holes."""
    made = []
    for place, symbol in enumerate(SYMBOLS):
        whole = candles(bars, symbol, seed=place)
        rows = np.array([row for row in range(40 * place, bars) if row % (97 + place)])
        made.append(Candles.make(symbol, whole.interval_ms, whole.start_ms[rows], whole.ohlcv[rows]))
    return made


@pytest.fixture(scope="module")
def market() -> list[Candles]:
    return holey()


def fills(result: bot.BacktestResult) -> list[dict[str, object]]:
    return sorted(result.fills.to_pylist(), key=lambda each: (each["ts_ms"], each["symbol"]))


def test_a_rotation_of_all_the_money_loses_no_move() -> None:
    market = [candles(900, symbol, seed=place) for place, symbol in enumerate(SYMBOLS)]
    limits = {"max_leverage": 1.0, "max_drawdown_frac": 1.0, "max_daily_loss_frac": 1.0}
    result = bot.backtest(market, Turns, instrument="exact", liquidity="full", limits=limits)
    assert "leverage" not in result.numbers["refusals"]
    entered = [each["symbol"] for each in result.trades.to_pylist()]
    assert entered == [SYMBOLS[number % 3] for number in range(1, 90)][: len(entered)]
    assert len(entered) >= 88


def test_the_same_rule_makes_the_same_fills_for_one_symbol_at_a_time_and_for_all(
    market: list[Candles],
) -> None:
    each = bot.backtest(market, Breakout, bars=24, leverage=0.2, instrument="exact")
    together = bot.backtest(market, BreakoutOfAll, bars=24, instrument="exact")
    assert len(fills(each)) > 20
    assert [(f["ts_ms"], f["symbol"], f["side"]) for f in fills(each)] == [
        (f["ts_ms"], f["symbol"], f["side"]) for f in fills(together)
    ]
    assert together.numbers["net_pnl"] == pytest.approx(each.numbers["net_pnl"], rel=1e-3)


def test_a_paced_replay_makes_the_fills_of_the_backtest(market: list[Candles]) -> None:
    plan = make_plan(
        Context(), market, BreakoutOfAll, None, {"bars": 24}, None, None, None, None, None, "exact", None,
        None, "step", "path", (), (), None,
    )  # fmt: skip
    run = assemble(plan)
    driver = run.driver
    asyncio.run(driver.run(ReplayFeed(plan.history.events(), ReplayClock())))
    run.finish(driver)
    told = bot.backtest(market, BreakoutOfAll, bars=24, instrument="exact")
    assert fills_digest(run.tape.fills) == told.fills_sha256


def test_the_future_cannot_change_the_past(market: list[Candles]) -> None:
    cut_ms = int(market[0].start_ms[500])
    cut = [each.between(0, cut_ms) for each in market]
    whole = bot.backtest(market, BreakoutOfAll, bars=24, instrument="exact")
    past = bot.backtest(cut, BreakoutOfAll, bars=24, instrument="exact")
    before = [each for each in fills(whole) if int(str(each["ts_ms"])) < cut_ms]
    assert before == [each for each in fills(past) if int(str(each["ts_ms"])) < cut_ms]
    assert len(before) > 10


def test_an_instance_trades_with_a_copy_of_itself(market: list[Candles]) -> None:
    one = BreakoutOfAll(24)
    first = bot.backtest(market, one, instrument="exact")
    assert not one.each
    assert first.fills_sha256 == bot.backtest(market, one, instrument="exact").fills_sha256


def test_an_error_is_one_line_about_all_symbols(market: list[Candles]) -> None:
    line = Broken.on_close.__code__.co_firstlineno + 1
    words = rf"test_portfolio.py:{line}: ZeroDivisionError: rank \(Broken.on_close for all symbols, bar of "
    with pytest.raises(StrategyFailed, match=words):
        bot.backtest(market, Broken, instrument="exact")


def test_a_class_with_both_methods_is_refused(market: list[Candles]) -> None:
    with pytest.raises(BadUsage, match="Both has on_bar and on_close; keep one"):
        bot.backtest(market, Both)


def test_a_search_tries_it_by_its_name(
    market: list[Candles], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = []
    for each in market:
        write_candles(tmp_path / f"made_linear_{each.symbol}_5m.parquet", each)
        data += ["--data", f"made_linear_{each.symbol}_5m.parquet"]
    words = ["--strategy", "tests.lab.test_portfolio:BreakoutOfAll", "--grid", "bars=12,24", "--workers", "1"]
    assert main(["sweep", *data, *words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len({each["fills_sha256"] for each in told["table"]}) == 2
