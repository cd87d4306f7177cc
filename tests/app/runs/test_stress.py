"""``bot backtest --stress``: other costs, one bar later, and tests of luck, through the engine."""

import json
from pathlib import Path

import numpy as np
import pytest

import bot
from bot.adapters.files.candles import write_candles
from bot.app.runs.stress import stress
from bot.cli import main
from bot.domain.errors import BadUsage
from bot.strategy import PortfolioView, Target, View
from tests.lab.market import Breakout, candles

NAME = "bybit_linear_BTCUSDT_5m.parquet"
KNOWN = candles(900)
NEXT = dict(zip(KNOWN.start_ms.tolist(), np.diff(KNOWN.ohlcv[:, 3], append=np.nan).tolist(), strict=True))


class Skilled:
    """Knows the next bar's move, and is right in three of four."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(4)

    def on_bar(self, view: View) -> Target | None:
        right = 1.0 if self.rng.random() < 0.75 else -1.0
        return Target(view.worth(0.5 * right * np.sign(NEXT[view.bar.start_ms] or 1.0)))


def stressed(strategy: object, **words: object) -> dict:
    """Return what a stressed run tells, with limits that only watch, so that runs cover the same span."""
    return bot.backtest(KNOWN, strategy, stress=True, risk="observe", **words).numbers["stress"]  # type: ignore[arg-type]


def test_a_strategy_with_planted_skill_is_more_than_luck_and_needs_its_bar() -> None:
    told = stressed(Skilled)
    assert told["signal"]["p_value"] < 0.01
    as_it_is, free, double, later = (each["total_return"] for each in told["variants"])
    assert double < as_it_is < free
    assert free > 0.5
    assert later < 0.0  # knowledge of a bar that is over by then
    assert any("may be luck" not in words and "permutation" in words for words in told["words"])


def test_noise_strategies_look_like_noise() -> None:
    p = []
    for seed in range(40):
        one = bot.backtest(KNOWN, "random", params={"seed": seed, "hold_bars": 6}, risk="observe")
        judged = stress(one._plan, one._result, lambda words, plan, one=one: one._result)
        assert judged.signal is not None
        p.append(judged.signal.p_value)
    # Binomial with n = 40 and 0.05: more than 7 has a chance of 0.2 %.
    assert sum(each <= 0.05 for each in p) <= 7
    assert 0.3 < float(np.median(p)) < 0.7


def test_costs_are_scaled_and_the_strategy_still_weighs_the_usual_ones() -> None:
    seen = []

    class Counts(Breakout):
        def on_bar(self, view: View) -> Target | None:
            seen.append(view.round_trip_bps)
            return super().on_bar(view)

    result = bot.backtest(KNOWN, Counts, bars=12, stress=True, risk="observe")
    assert result.stress is not None
    assert len(set(seen)) == 1
    assert len({each.trades for each in result.stress.variants[:3]}) == 1  # the same decisions
    free = result.stress.variants[1].total_return
    paid = (float(result.numbers["fees"]) + float(result.numbers["slippage"])) / 10_000
    assert free == pytest.approx(result.metrics["total_return"] + paid, rel=0.1)


def test_one_bar_later_is_one_bar_later() -> None:
    class Once:
        """Buys at the tenth close."""

        def __init__(self) -> None:
            self.bars = 0

        def on_bar(self, view: View) -> Target | None:
            self.bars += 1
            return Target(0.01) if self.bars == 10 else None

    result = bot.backtest(KNOWN, Once(), stress=True, fee_bps=0, slippage_bps=0)
    assert result.stress is not None
    as_it_is, later = result.stress.variants[0], result.stress.variants[3]
    opens = KNOWN.ohlcv[:, 0]
    missed = 0.01 * (opens[11] - opens[10]) / 10_000
    assert as_it_is.total_return - later.total_return == pytest.approx(missed, abs=1e-9)


def test_a_strategy_of_all_symbols_is_a_bar_later_too() -> None:
    class All:
        """Holds from the tenth close to the thirteenth."""

        def __init__(self) -> None:
            self.closes = 0

        def on_close(self, view: PortfolioView) -> dict[str, Target]:
            self.closes += 1
            return {"BTCUSDT": Target(0.01 if 10 <= self.closes < 13 else 0.0)}

    result = bot.backtest(KNOWN, All, stress=True, fee_bps=0, slippage_bps=0)
    assert result.stress is not None
    opens = KNOWN.ohlcv[:, 0]
    got = [each.total_return for each in result.stress.variants]
    assert got[0] == pytest.approx(0.01 * (opens[13] - opens[10]) / 10_000, abs=1e-9)
    assert got[3] == pytest.approx(0.01 * (opens[14] - opens[11]) / 10_000, abs=1e-9)


def test_an_instance_that_cannot_be_delayed_is_told() -> None:
    class Slotted:
        __slots__ = ()

        def on_bar(self, view: View) -> Target | None:
            return None

    with pytest.raises(BadUsage, match="give the class"):
        bot.backtest(KNOWN, Slotted(), stress=True)


def test_terminal_json_and_report_carry_the_stress_and_it_is_off_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_candles(NAME, KNOWN)
    words = ["backtest", "--data", NAME, "--strategy", "random", "--risk", "observe"]
    assert main([*words, "--stress", "--report", "page.html"]) == 0
    said = capsys.readouterr().out
    assert "one bar later" in said
    assert "stress: permutation of the signal: p = " in said
    assert "stress: trades drawn again 2,000 times" in said
    page = Path("page.html").read_text()
    assert "Robustness" in page
    assert "one bar later" in page
    assert main([*words, "--stress", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["stress"]
    assert [each["name"] for each in told["variants"]] == [
        "as it is",
        "without costs",
        "double costs",
        "one bar later",
    ]
    assert main([*words, "--json"]) == 0
    assert "stress" not in json.loads(capsys.readouterr().out)
