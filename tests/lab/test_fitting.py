"""A model of the user's own: what it is fitted on, what a strategy sees of it, and what is held out."""

from collections.abc import Mapping
from math import isnan

import numpy as np
import pytest

import bot
from bot.adapters.files.candles import Candles
from bot.domain.errors import BadUsage, TooFewBars
from bot.features.indicators import Past, close, high, lag, rsi, sma
from bot.features.ops import FUNDING
from tests.lab.market import FIVE, T0, candles

FEATURES = {"rsi": rsi(close, 5), "gap": close / sma(close, 10)}
UNTIL = T0 + 900 * FIVE


class Least:
    """Least squares, which notes what it is given."""

    def fit(self, rows: np.ndarray, targets: np.ndarray) -> None:
        self.rows, self.targets = rows, targets
        self.weights = np.linalg.lstsq(np.column_stack([rows, np.ones(len(rows))]), targets, rcond=None)[0]

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.column_stack([rows, np.ones(len(rows))]) @ self.weights


class Follow:
    """Goes with the model's sign."""

    def __init__(self, model: Past) -> None:
        self.indicators: Mapping[str, object] = {"edge": model}
        self.seen: list[float] = []

    def on_bar(self, view: bot.View) -> bot.Target | None:
        edge = view.ind["edge"]
        NOTED.append((view.bar.start_ms, view.warm, edge))
        return bot.Target(view.worth(0.2) if edge > 0.0 else 0.0)


NOTED: list[tuple[int, bool, float]] = []


def test_headline_figures_hold_out_what_the_model_was_fitted_on() -> None:
    fitted = bot.fit(Least(), candles(), FEATURES, until=UNTIL)
    result = bot.backtest(candles(), Follow, params={"model": fitted})
    assert result.numbers["trained_to_ms"] == UNTIL
    assert result.numbers["in_sample"]["bars"] == 900
    assert result.equity["ts_ms"].to_pylist()[-1] > UNTIL == result.numbers["in_sample"]["to_ms"]
    unseen = bot.backtest(candles(), Follow, params={"model": fitted}, start=UNTIL)
    assert unseen.numbers["in_sample"] is None


def test_a_run_on_nothing_but_training_bars_says_so() -> None:
    fitted = bot.fit(Least(), candles(), FEATURES)
    result = bot.backtest(candles(), Follow, params={"model": fitted})
    assert any("no figures on unseen data" in each for each in result.warnings)


def test_no_bar_after_until_reaches_the_fit() -> None:
    one, two = Least(), Least()
    bot.fit(one, candles(), FEATURES, until=UNTIL, horizon_bars=6)
    whole = candles()
    ohlcv = whole.ohlcv.copy()
    ohlcv[900:] *= 3.0
    changed = Candles.make(whole.symbol, FIVE, whole.start_ms, ohlcv)
    bot.fit(two, changed, FEATURES, until=UNTIL, horizon_bars=6)
    np.testing.assert_array_equal(one.rows, two.rows)
    np.testing.assert_array_equal(one.targets, two.targets)
    warmup = max(op.warmup for op in FEATURES.values())
    assert len(one.rows) == 900 - 6 - (warmup - 1)


def test_a_target_is_the_return_after_the_close_of_its_row() -> None:
    model = Least()
    bot.fit(model, candles(), {"close": close}, horizon_bars=3)
    prices = candles().ohlcv[:, 3]
    np.testing.assert_array_equal(model.rows[:, 0], prices[:-3])
    np.testing.assert_allclose(model.targets, np.log(prices[3:] / prices[:-3]))


def test_a_hole_inside_a_target_leaves_its_row_out() -> None:
    model, whole = Least(), candles()
    start_ms = whole.start_ms.copy()
    start_ms[700:] += 4 * FIVE
    holed = Candles.make(whole.symbol, FIVE, start_ms, whole.ohlcv)
    bot.fit(model, holed, {"close": close}, horizon_bars=3)
    assert len(model.rows) == 1500 - 3 - 3


def test_a_strategy_sees_what_predict_says_of_the_bar_that_closed() -> None:
    model = Least()
    fitted = bot.fit(model, candles(), {"high": high, "before": lag(close)}, until=UNTIL)
    NOTED.clear()
    bot.backtest(candles(), Follow, params={"model": fitted})
    assert not NOTED[0][1]
    assert isnan(NOTED[0][2])
    ohlcv = candles().ohlcv
    rows = np.column_stack([ohlcv[1:, 1], ohlcv[:-1, 3]])
    assert [edge for _, _, edge in NOTED[1:]] == pytest.approx(model.predict(rows).tolist())


def test_a_target_may_be_a_function_of_the_candles() -> None:
    def spread(series: Candles) -> np.ndarray:
        return np.append(series.ohlcv[1:, 1] - series.ohlcv[1:, 2], np.nan)

    model = Least()
    bot.fit(model, candles(), {"close": close}, horizon_bars=1, target=spread)
    ohlcv = candles().ohlcv
    np.testing.assert_array_equal(model.targets, ohlcv[1:, 1] - ohlcv[1:, 2])
    with pytest.raises(BadUsage, match=r"one number for each of 1500 bars, has shape \(3,\)"):
        bot.fit(Least(), candles(), {"close": close}, target=lambda series: [1.0, 2.0, 3.0])


def test_several_symbols_are_rows_of_one_fit() -> None:
    model = Least()
    bot.fit(model, [candles(), candles(symbol="ETHUSDT", seed=2)], {"close": close}, horizon_bars=3)
    assert len(model.rows) == 2 * (1500 - 3)


def test_what_cannot_be_fitted_is_one_line() -> None:
    with pytest.raises(TooFewBars, match="that takes 212 unbroken bars"):
        bot.fit(Least(), candles(100), {"rsi": rsi(close, 14)}, horizon_bars=10)
    with pytest.raises(BadUsage, match=r"features\['x'\]: give indicators"):
        bot.fit(Least(), candles(), {"x": 3.0})  # type: ignore[dict-item]
    with pytest.raises(BadUsage, match="horizon_bars: must be 1 or more, was 0"):
        bot.fit(Least(), candles(), FEATURES, horizon_bars=0)


def test_a_target_that_knows_more_than_its_horizon_is_refused() -> None:
    def ahead(bars: Candles, by: int) -> np.ndarray:
        closes = bars.ohlcv[:, 3]
        later = np.full(len(closes), np.nan)
        later[:-by] = closes[by:] / closes[:-by] - 1.0
        return later

    def scaled(bars: Candles) -> np.ndarray:
        made = ahead(bars, 3)
        return made / np.nanstd(made)

    bot.fit(Least(), candles(), FEATURES, horizon_bars=3, target=lambda bars: ahead(bars, 3))
    for leaking in (lambda bars: ahead(bars, 4), scaled):
        with pytest.raises(BadUsage, match="without the bars after the next 3"):
            bot.fit(Least(), candles(), FEATURES, horizon_bars=3, target=leaking)


def test_a_feature_of_funding_is_refused_however_deep_it_lies() -> None:
    with pytest.raises(BadUsage, match=r"features\['paid'\]: reads funding"):
        bot.fit(Least(), candles(), {"paid": sma(FUNDING + close, 3)})
