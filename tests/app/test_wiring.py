import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from bot.adapters.files.candles import Candles, read_candles, write_candles
from bot.adapters.files.shipped import instruments
from bot.app.inputs import detail_bars, mark_bars
from bot.app.runs.live.plan import check_pair, stop_frac_of
from bot.app.runs.notes import limit_fill_words
from bot.app.runs.results import record
from bot.app.wiring import RunPlan
from bot.cli import main
from bot.domain.errors import BadSettings, BadUsage
from bot.domain.ledger import Position
from bot.domain.margin import exact_tiers, liquidation_price
from bot.domain.market import MINUTE_MS
from bot.features import matrix
from bot.features.indicators import close, ema
from bot.features.spec import FeatureSet
from bot.service.backtest.history import History
from bot.settings import load
from bot.strategy import Flat, View
from tests.helpers import T0


def plan(**costs: object) -> RunPlan:
    settings = load(
        overrides={f"costs.{name}": value for name, value in costs.items()},
        environ={},
        dotenv=Path(os.devnull),
    )
    return RunPlan(
        settings=settings,
        history=History(()),
        instruments={},
        strategy=Flat,
        strategy_name="flat",
        params={},
    )


def test_a_round_trip_costs_fee_and_half_spread_twice() -> None:
    assert plan(taker_bps=5.5, slippage_bps=1).round_trip_bps("BTCUSDT") == pytest.approx(13.0)


def test_without_a_given_slippage_each_symbol_has_its_measured_spread() -> None:
    terms = plan().terms
    assert terms.half_spread_frac("BTCUSDT") < terms.half_spread_frac("ADAUSDT")
    assert terms.half_spread_frac("NEVERSEEN") == terms.half_spread_frac("NEITHER") > 0


def test_no_slippage_means_neither_spread_nor_impact() -> None:
    terms = plan(slippage_bps=0).terms
    assert (terms.half_spread_frac("BTCUSDT"), terms.impact_frac) == (0, 0.0)
    assert plan(slippage_bps=1).terms.impact_frac == 1.0


def test_the_queue_of_limit_orders_is_set_told_and_part_of_the_settings_hash() -> None:
    queued = plan(limit_fills="queue", queue_ahead_ms=90_000)
    assert (queued.terms.limit_fills, queued.terms.queue_ahead_ms) == ("queue", 90_000)
    assert record("backtest", queued)["costs"]["limit_fills"] == "queue"  # type: ignore[index]
    assert "90 s of average trading" in limit_fill_words(queued.terms)
    assert limit_fill_words(plan().terms) == "fill once a price goes beyond theirs"
    assert queued.settings.hash != plan().settings.hash
    with pytest.raises(BadSettings, match="liquidity = full ignores it"):
        _ = plan(limit_fills="queue", liquidity="full").terms


def test_live_quotes_do_not_say_what_a_queue_is_made_of() -> None:
    told: dict[str, object] = {"costs.limit_fills": "queue"}
    nowhere = Path(os.devnull)
    with pytest.raises(BadSettings, match=r"venue\.fills = bars"):
        check_pair(load(overrides=told, environ={}, dotenv=nowhere))
    check_pair(load(overrides=told | {"venue.fills": "bars"}, environ={}, dotenv=nowhere))


def stop_of(**told: object) -> Decimal | None:
    keys: dict[str, object] = {"feed.kind": "local", "venue.kind": "local"}
    given = {name.replace("__", "."): value for name, value in told.items()}
    settings = load(overrides=keys | given, environ={}, dotenv=Path(os.devnull))
    check_pair(settings)
    return stop_frac_of(settings)


def test_a_stop_that_nobody_set_acts_before_the_liquidation() -> None:
    assert stop_of(account__leverage=50) == Decimal("0.1")  # all of the account's money holds the position
    assert stop_of(account__margin_mode="isolated", account__leverage=2) == Decimal("0.1")
    assert stop_of(account__margin_mode="isolated", account__leverage=10) == Decimal("0.04")
    assert stop_of(account__margin_mode="isolated", venue__protective_stop_frac=0) is None
    assert stop_of(venue__kind="paper") is None


def test_the_stop_that_nobody_set_passes_the_risk_check_at_every_leverage_of_every_contract() -> None:
    for rules in instruments().values():
        tiers = exact_tiers(rules.tiers)
        for tier in rules.tiers:
            leverage = min(tier.max_leverage, rules.max_leverage)
            stop = stop_of(account__margin_mode="isolated", account__leverage=leverage)
            position = Position(Decimal(1), tier.limit_quote)
            level = liquidation_price(position, leverage, tiers)
            assert stop is not None
            assert level is not None
            assert tier.limit_quote * (1 - stop) > level


def test_a_stop_behind_the_liquidation_is_refused() -> None:
    terms: dict[str, object] = {"account__margin_mode": "isolated", "venue__protective_stop_frac": "0.1"}
    assert stop_of(**terms, account__leverage=9) == Decimal("0.1")
    with pytest.raises(BadSettings, match="never acts"):
        stop_of(**terms, account__leverage=10)


def candles(minutes: int, closes: list[float], symbol: str = "BTCUSDT", spread: float = 0.0) -> Candles:
    close = np.array(closes)
    ohlcv = np.column_stack([close, close + spread, close - spread, close, np.full(len(close), 1e6)])
    start_ms = T0 + minutes * MINUTE_MS * np.arange(len(close), dtype=np.int64)
    return Candles.make(symbol, minutes * MINUTE_MS, start_ms, ohlcv)


def written(place: Path, name: str, each: Candles) -> Path:
    write_candles(place / name, each)
    return place / name


def test_finer_and_mark_candles_must_belong_to_what_is_traded(tmp_path: Path) -> None:
    traded = [candles(5, [100.0] * 4)]
    fine = written(tmp_path, "bybit_linear_BTCUSDT_1m.parquet", candles(1, [100.0] * 20))
    other = written(tmp_path, "bybit_linear_ETHUSDT_1m.parquet", candles(1, [100.0] * 20, "ETHUSDT"))
    marks = written(tmp_path, "bybit_linear_BTCUSDT_5m_mark.parquet", candles(5, [100.0] * 4))
    assert list(detail_bars([fine], traded)["BTCUSDT"]) == [T0 + i * 5 * MINUTE_MS for i in range(4)]
    assert len(mark_bars([marks], traded)["BTCUSDT"]) == 4
    for refused in (other, marks):
        with pytest.raises(BadUsage, match="--detail"):
            detail_bars([refused], traded)
    for refused in (other, fine):
        with pytest.raises(BadUsage, match="--mark"):
            mark_bars([refused], traded)


def test_a_position_is_liquidated_on_mark_candles_where_they_are_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Last prices hardly move; the mark falls by 37 %, which 2.9 times equity does not survive.
    data = written(tmp_path, "bybit_linear_BTCUSDT_5m.parquet", candles(5, [60_000.0] * 12, spread=10.0))
    fallen = candles(5, [60_000.0] * 6 + [38_000.0] * 6)
    marks = written(tmp_path, "bybit_linear_BTCUSDT_5m_mark.parquet", fallen)
    words = [
        "backtest",
        "--strategy",
        "buy_and_hold",
        "--param",
        "leverage=2.9",
        "--data",
        str(data),
        "--json",
    ]
    said = []
    for more in ([], ["--mark", str(marks)]):
        assert main([*words, *more]) == 0
        said.append(" ".join(json.loads(capsys.readouterr().out)["warnings"]))
    assert "last prices, not mark prices" in said[0]
    assert "1 liquidations" in said[1]
    assert "not mark prices" not in said[1]


DECLARING = """
from bot.features.indicators import close, ema, past
from bot.strategy import Target
SEEN = []
class Long:
    def __init__(self, bars: int = 200):
        self.indicators = {"long": ema(close, bars), "mine": past(len, 3)}
    def on_bar(self, view):
        SEEN.append((view.bar.start_ms, view.warm, view.ind["long"]))
        return Target(1.0 if view.ind["long"] > view.bar.close else 0.0)
"""


@pytest.fixture
def declaring(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(DECLARING)
    walk = 100.0 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.002, 3_000)))
    written(tmp_path, "bybit_linear_BTCUSDT_5m.parquet", candles(5, walk.tolist(), spread=0.01))
    return tmp_path


def backtested(place: Path, *words: str) -> list[tuple[int, bool, float]]:
    data, mine = str(place / "bybit_linear_BTCUSDT_5m.parquet"), f"{place}/mine.py:Long"
    options = ["--instrument", "exact", "--json", "--funding", "none"]
    assert main(["backtest", "--data", data, "--strategy", mine, *options, *words]) == 0
    seen: list[tuple[int, bool, float]] = sys.modules["strategy_file_mine"].SEEN
    return seen


def test_a_backtest_reads_as_many_bars_as_the_indicators_need(declaring: Path) -> None:
    start_ms = T0 + 2_500 * 5 * MINUTE_MS
    begin = np.datetime64(start_ms, "ms").astype("datetime64[m]")
    seen = backtested(declaring, "--start", str(begin))
    need = ema(close, 200).warmup
    assert need > 1_000
    assert seen[0][0] == start_ms - need * 5 * MINUTE_MS
    first_warm = next(ms for ms, warm, _ in seen if warm)
    assert first_warm == start_ms - 5 * MINUTE_MS  # the bar before the first that may be traded on


def test_what_a_backtest_computes_at_once_is_what_a_stream_sees(declaring: Path) -> None:
    told = backtested(declaring)
    each = read_candles(declaring / "bybit_linear_BTCUSDT_5m.parquet")
    streamed = matrix.replay(
        FeatureSet("one", 5 * MINUTE_MS, (("long", ema(close, 200)),)),
        each.start_ms,
        each.ohlcv,
        np.empty(0, np.int64),
        np.empty(0),
    )
    assert repr([value for _, _, value in told]) == repr(streamed[:, 0].tolist())


def test_too_few_bars_for_the_indicators_is_an_error_that_says_how_many(
    declaring: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, mine = str(declaring / "bybit_linear_BTCUSDT_5m.parquet"), f"{declaring}/mine.py:Long"
    words = ["--data", data, "--strategy", mine, "--instrument", "exact", "--param", "bars=600"]
    assert main(["backtest", *words]) == 5
    told = capsys.readouterr().err
    assert "3,000 unbroken bars of 5m, but the strategy's indicators need 4,745" in told
    assert "give at least 1,745 more" in told


class Needing:
    indicators: Mapping[str, object] = {"long": ema(close, 50)}

    def __init__(self, bars: int) -> None:
        self.indicators = {"long": ema(close, bars)}

    def on_bar(self, view: View) -> None:
        """Want nothing."""


def test_a_plan_whose_parameters_a_search_will_give_knows_the_indicators_of_the_class() -> None:
    without = replace(plan(), strategy=Needing)
    assert without.indicator_bars == ema(close, 50).warmup
    assert replace(without, params={"bars": 70}).indicator_bars == ema(close, 70).warmup
