"""Fitted models of the user's own as the model of ``view.forecast``, and histories predicted in one call."""

from collections.abc import Sequence
from math import isnan, nan

import numpy as np
import pytest

import bot
from bot.adapters.files.candles import Candles
from bot.adapters.model.own import own_history, own_model
from bot.domain.errors import BadUsage, StrategyFailed, TooFewBars
from bot.domain.horizons import HOUR, Horizons
from bot.domain.market import HOUR_MS, Forecast
from bot.features.fitted import Fitted
from bot.features.indicators import atr, close, rsi, sma
from bot.research.dataset import targets
from tests.lab.market import FIVE, T0, candles, part
from tests.lab.test_fitting import FEATURES, NOTED, UNTIL, Follow, Least

SEEN: list[tuple[int, bool, Forecast | None]] = []
ROWS: list[list[float]] = []


class Noting:
    """Notes the forecasts that it is shown, and the features that they are made of."""

    needs_forecast = True
    indicators = FEATURES

    def on_bar(self, view: bot.View) -> bot.Target | None:
        SEEN.append((view.bar.start_ms, view.warm, view.forecast))
        ROWS.append([view.ind[name] for name in FEATURES])
        return bot.Target.fraction(0.1 if view.forecast is not None else 0.0)


class Counting(Least):
    """Counts its answers."""

    calls = 0

    def predict(self, rows: np.ndarray) -> np.ndarray:
        self.calls += 1
        return super().predict(rows)


class Centred(Least):
    """Subtracts the mean of the rows that it is asked for at once: it knows later rows."""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return super().predict(rows - rows.mean(axis=0) if len(rows) > 1 else rows)


class Single(Least):
    """Takes one row at a time."""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        (row,) = rows
        return super().predict(row[None])


class Raising(Least):
    armed = False

    def predict(self, rows: np.ndarray) -> np.ndarray:
        if self.armed:
            raise ZeroDivisionError("a bug of the user's")
        return super().predict(rows)


def volatility(model: Least, until: int = UNTIL, series: Candles | None = None) -> Fitted:
    return bot.fit(model, series or candles(), FEATURES, target="rv_60m", until=until)


SERIES = part(candles(), 0, 1100)


def values(model: Fitted) -> tuple[list[float], list[float]]:
    """Return what a strategy sees at each close as a forecast, and as an indicator."""
    seen = [nan if told is None else getattr(told, str(model.forecasts)) for *_, told in notes(SERIES, model)]
    NOTED.clear()
    bot.backtest(SERIES, Follow, params={"model": model})
    return seen, [edge for _, _, edge in NOTED]


def notes(series: Candles, model: Fitted | Sequence[Fitted]) -> list[tuple[int, bool, Forecast | None]]:
    SEEN.clear()
    ROWS.clear()
    bot.backtest(series, Noting, model=model)
    return list(SEEN)


def test_a_fitted_volatility_trades_vol_target_and_its_headline_begins_where_the_fit_ended() -> None:
    fitted = volatility(Least())
    result = bot.backtest(candles(), "vol_target", params={"base": "constant"}, model=fitted)
    assert result.numbers["trained_to_ms"] == UNTIL == result.numbers["in_sample"]["to_ms"]
    assert result.numbers["model_hash"] == fitted.hash
    assert result.fills.num_rows
    assert fitted.hash == volatility(Least()).hash != volatility(Least(), UNTIL - FIVE).hash


def test_a_forecast_is_what_the_models_predict_and_nan_where_no_model_predicts() -> None:
    one, two = Least(), Least()
    returns = bot.fit(two, candles(), {"close": close}, target="ret_60m", until=UNTIL + 3 * FIVE)
    seen = notes(candles(), [volatility(one), returns])
    warmup = max(op.warmup for op in FEATURES.values())
    assert [warm for _, warm, _ in seen] == [False] * (warmup - 1) + [True] * (1500 - warmup + 1)
    told = [each for *_, each in seen[warmup - 1 :] if each is not None]
    prices = candles().ohlcv[warmup - 1 :, 3:4]
    np.testing.assert_allclose([each.rv_60m for each in told], one.predict(np.array(ROWS[warmup - 1 :])))
    np.testing.assert_allclose([each.ret_60m for each in told], two.predict(prices))
    assert all(isnan(each.ret_15m) and isnan(each.rv_log_sd) for each in told)
    result = bot.backtest(candles(), "performer", model=[volatility(one), returns])
    assert result.numbers["trained_to_ms"] == UNTIL + 3 * FIVE


def test_a_target_that_is_named_is_the_one_that_the_shipped_model_learns() -> None:
    model = Least()
    fitted = bot.fit(model, candles(), {"close": close}, target="ret_15m", until=UNTIL)
    known = targets(candles().start_ms, candles().ohlcv[:, 3], FIVE)
    np.testing.assert_array_equal(model.targets, known[: 900 - 3, 1])
    assert fitted.forecasts == "ret_15m"


def test_other_horizons_are_read_by_their_names() -> None:
    one, two = Least(), Least()
    variance = bot.fit(one, candles(), FEATURES, target="rv_240m", until=UNTIL)
    returns = bot.fit(two, candles(), {"close": close}, target="ret_30m", until=UNTIL)
    known = targets(candles().start_ms, candles().ohlcv[:, 3], FIVE, Horizons.of_minutes([30, 240]))
    np.testing.assert_array_equal(two.targets, known[: 900 - 6, 1])
    seen = notes(candles(), [variance, returns])
    warmup = max(op.warmup for op in FEATURES.values())
    told = [each for *_, each in seen[warmup - 1 :] if each is not None]
    predicted = one.predict(np.array(ROWS[warmup - 1 :]))
    np.testing.assert_allclose([each["rv_240m"] for each in told], predicted)
    assert all(isnan(each["ret_240m"]) and isnan(each.rv_60m) and each["ret_30m"] != 0.0 for each in told)
    judged = bot.evaluate(candles(), [variance, returns], start=UNTIL)
    assert judged.numbers["horizons_minutes"] == [30, 240]
    assert judged.numbers["files"][0]["qlike_rv_240m"]["value"] is not None


@pytest.mark.parametrize(("name", "minutes"), [("rv_240m", (5, 240)), ("ret_5m", (5, 10))])
def test_one_model_of_another_horizon_is_enough(name: str, minutes: tuple[int, int]) -> None:
    fitted = bot.fit(Least(), candles(), FEATURES, target=name, until=UNTIL)
    assert own_model([fitted], FIVE).horizons.minutes == minutes
    assert {told is None or told[name] == told[name] for *_, told in notes(SERIES, fitted)} == {True}


def test_bars_as_long_as_the_usual_horizon_keep_it() -> None:
    hourly = Candles.make("BTCUSDT", HOUR_MS, T0 + HOUR_MS * np.arange(1500), candles().ohlcv)
    fitted = bot.fit(Least(), hourly, FEATURES, target="ret_60m")
    assert own_model([fitted], HOUR_MS).horizons == HOUR


def test_three_horizons_or_a_variance_over_the_shorter_one_make_no_forecast() -> None:
    made = {
        name: bot.fit(Least(), candles(), FEATURES, target=name, until=UNTIL)
        for name in ("ret_30m", "ret_60m", "ret_240m", "rv_60m")
    }
    for names in (("ret_30m", "ret_60m", "ret_240m"), ("rv_60m", "ret_240m")):
        with pytest.raises(BadUsage, match=f"cannot forecast {', '.join(names)} together: a forecast has"):
            bot.backtest(candles(), Noting, model=[made[name] for name in names])


@pytest.mark.parametrize("name", ["rv60m", "rv_0m", "ret_1h", "rv_1m", "ret_20000m", ""])
def test_a_target_that_no_forecast_has_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(BadUsage, match=r"^target: "):
        bot.fit(Least(), candles(), FEATURES, target=name, until=UNTIL)


def test_a_history_is_predicted_in_one_call_with_the_decisions_of_row_by_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Counting()
    fitted = bot.fit(model, SERIES, FEATURES, target="ret_60m", until=UNTIL)
    model.calls = 0
    quick, follow = values(fitted)
    assert model.calls == 2 * (1 + 16) + 1  # and a rehearsal on made-up input
    monkeypatch.setattr(Fitted, "predict_all", lambda self, rows: None)
    slow, slowly = values(fitted)
    assert model.calls > 2 * 1000
    np.testing.assert_allclose(quick, slow, rtol=1e-5)
    np.testing.assert_allclose(follow, slowly, rtol=1e-5)
    np.testing.assert_allclose(follow, quick, rtol=1e-5)


@pytest.mark.parametrize("kind", [Centred, Single])
def test_a_model_that_answers_otherwise_for_many_rows_is_asked_row_by_row_and_the_result_says_so(
    kind: type[Least],
) -> None:
    fitted = volatility(kind())
    assert np.isnan(fitted.predict_all(np.full((3, 2), np.nan))).all()  # type: ignore[arg-type]
    for run in (
        bot.backtest(SERIES, Noting, model=fitted),
        bot.backtest(SERIES, Follow, params={"model": fitted}),
    ):
        assert any(f"<fitted {kind.__name__}, " in each and "bar by bar" in each for each in run.warnings)
    for one, two in zip(values(volatility(Least())), values(fitted), strict=True):
        np.testing.assert_allclose(one, two)


def test_after_a_hole_no_forecast_is_given_until_every_feature_is_known_again() -> None:
    whole = candles()
    start_ms = whole.start_ms.copy()
    start_ms[1000:] += 4 * FIVE
    holed = Candles.make(whole.symbol, FIVE, start_ms, whole.ohlcv)
    seen = notes(holed, volatility(Least()))
    warmup = max(op.warmup for op in FEATURES.values())
    assert [warm for _, warm, _ in seen[999:]] == [True] + [False] * (warmup - 1) + [True] * (501 - warmup)


def test_two_symbols_get_their_own_forecasts() -> None:
    series = [part(candles(seed=2, symbol="ETHUSDT"), 0, 950), part(candles(), 0, 950)]
    fitted = bot.fit(Least(), series, FEATURES, target="rv_60m", until=UNTIL)
    SEEN.clear()
    bot.backtest(series, Noting, model=fitted)
    both = [each for each in SEEN if each[2] is not None]
    alone = [each for one in series for each in notes(one, fitted) if each[2] is not None]
    assert sorted(map(repr, both)) == sorted(map(repr, alone))


def test_an_error_in_predict_is_one_line_with_the_place_of_the_user() -> None:
    model = Raising()
    fitted = volatility(model)
    model.armed = True
    with pytest.raises(StrategyFailed, match=r"test_own_forecaster.py:\d+: ZeroDivisionError"):
        bot.backtest(candles(), Noting, model=fitted)


def test_models_that_make_no_forecast_of_these_bars_are_refused() -> None:
    fitted = volatility(Least())
    with pytest.raises(BadUsage, match=r"performer reads ret_60m .* target='ret_60m'"):
        bot.backtest(candles(), "performer", model=fitted)
    with pytest.raises(BadUsage, match="two models forecast rv_60m"):
        bot.backtest(candles(), "vol_target", model=[fitted, fitted])
    with pytest.raises(BadUsage, match="has a target of your own, which is no forecast"):
        bot.backtest(candles(), "vol_target", model=bot.fit(Least(), candles(), FEATURES))
    hourly = Candles.make("BTCUSDT", HOUR_MS, T0 + HOUR_MS * np.arange(1500), candles().ohlcv)
    with pytest.raises(BadUsage, match="was fitted on bars of 5m, these are of 1h"):
        bot.backtest(hourly, "vol_target", model=fitted)
    with pytest.raises(BadUsage, match="bars of 1h do not fit into 15m"):
        bot.fit(Least(), hourly, FEATURES, target="ret_15m")
    with pytest.raises(BadUsage, match="did you mean 'rv_60m'"):
        bot.fit(Least(), candles(), FEATURES, target="rv_60")
    with pytest.raises(BadUsage, match="has its own horizon"):
        bot.fit(Least(), candles(), FEATURES, target="rv_60m", horizon_bars=3)
    with pytest.raises(TooFewBars, match="first forecast needs"):
        bot.backtest(candles(8), "vol_target", model=fitted)
    with pytest.raises(BadUsage, match="cannot take a Least"):
        bot.backtest(candles(), "vol_target", model=Least())  # type: ignore[arg-type]
    with pytest.raises(BadUsage, match="has no fit"):
        bot.fit(object(), candles(), {"a": rsi(sma(atr(3), 3), 3)})  # type: ignore[arg-type]


def test_a_forecast_of_a_history_is_found_wherever_a_run_begins() -> None:
    model = Counting()
    own = own_model([volatility(model)], FIVE)
    rows = np.random.default_rng(1).normal(50.0, 10.0, (40, 2))
    rows[:3] = np.nan
    predictor, slots = own_history(own, rows), np.zeros(1, np.int64)
    model.calls = 0
    for at in (30, 5, 31):  # a run may begin late, and two symbols take turns
        (told,) = predictor.step(rows[at : at + 1], slots)
        assert told is not None
        assert told.rv_60m == pytest.approx(model.predict(rows[at : at + 1])[0])
    assert model.calls == 3
    (told,) = predictor.step(rows[30:31] + 1.0, slots)
    assert told is not None
    assert told.rv_60m == pytest.approx(model.predict(rows[30:31] + 1.0)[0])
