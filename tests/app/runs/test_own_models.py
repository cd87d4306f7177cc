"""Models of the user's own on a strategy's class: live, in a backtest, and over a restart."""

from math import isnan
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import bot
from bot.adapters.state.chart import ChartIndex
from bot.app.runs.live.plan import plan_of
from bot.app.runs.parity import parity_plan
from bot.app.state import journals
from bot.cli.views.glance import _next_hour
from bot.domain.errors import BadUsage
from bot.domain.market import MINUTE_MS, Bar, Forecast
from bot.domain.messages import BarsClosed
from bot.engine.core import Engine
from bot.features.indicators import close, rsi, sma
from bot.strategy import VolTarget
from bot.strategy.signal import Target, View
from bot.web.server.candles import band
from tests.app.runs.lives import Life, live, plan_on
from tests.lab.test_fitting import Least
from tests.research import series

BARS = series.candles(400)
FEATURES = {"rsi": rsi(close, 5), "gap": close / sma(close, 10)}


class Failing(Least):
    fails = False

    def predict(self, rows: np.ndarray) -> np.ndarray:
        if self.fails:
            raise ZeroDivisionError("a bug of the user's")
        return super().predict(rows)


MODEL = Failing()
FITTED = bot.fit(MODEL, BARS, FEATURES, target="rv_60m", until=int(BARS.start_ms[300]))


class Turning:
    """Turns its position around every few bars, once it has forecasts."""

    needs_forecast: ClassVar[bool] = True
    forecaster = FITTED

    def on_bar(self, view: View) -> Target | None:
        if not view.warm or view.bar.start_ms // view.bar.interval_ms % 4:
            return None
        return Target(-1.0 if view.position > 0.0 else 1.0)


class Noting(Turning):
    seen: ClassVar[dict[int, Forecast | None]] = {}

    def on_bar(self, view: View) -> Target | None:
        self.seen[view.bar.start_ms] = view.forecast
        return None


class Both(VolTarget):
    forecaster = "a name"


def closes(first: int, last: int) -> list[BarsClosed]:
    bars = [
        Bar("BTCUSDT", BARS.interval_ms, int(BARS.start_ms[at]), *BARS.ohlcv[at].tolist())
        for at in range(first, last)
    ]
    return [BarsClosed(bar.close_ms, 15 * MINUTE_MS, (bar,), seen_ms=bar.close_ms) for bar in bars]


def life(place: Path) -> Life:
    plan = plan_on(
        place,
        strategy="tests.app.runs.test_own_models:Turning",
        feed__interval="15m",
        feed__symbols=["BTCUSDT"],
        venue__fills="bars",
    )
    return live(plan)


async def test_live_forecasts_are_those_of_a_backtest_and_a_journal_goes_on(tmp_path: Path) -> None:
    bot.backtest(BARS, Noting)
    first = life(tmp_path)
    assert first.standing.engine.state.forecasters[BARS.interval_ms].model == FITTED.hash
    first.see(closes(0, 200))
    first.kill()
    second = life(tmp_path)
    assert second.standing.known
    second.see(closes(200, 300))
    shown = second.standing.engine.state.symbols["BTCUSDT"].view.forecast
    second.stop()
    expected = Noting.seen[int(BARS.start_ms[299])]
    assert shown is not None
    assert expected is not None
    assert shown.rv_60m == pytest.approx(expected.rv_60m, rel=1e-9)
    done = journals.replay(journals.choose_journal(tmp_path, None))
    assert {each.difference for each in done} == {None}
    chart = ChartIndex(second.standing.writer.journal)
    chart.refresh()
    forecasts = chart.forecasts("BTCUSDT", 0)
    assert len(forecasts) > 200
    assert all(isnan(each.ret_60m) for each in forecasts)
    assert len(band(chart.bars("BTCUSDT", 500), forecasts, BARS.interval_ms)) > 200
    assert _next_hour(shown).startswith("± ")


@pytest.mark.parametrize("target", ["rv_60m", "ret_60m"])
def test_its_drift_is_measured_and_only_told(target: str) -> None:
    bars = series.candles(2500)

    class Watched(Noting):
        forecaster = bot.fit(Least(), bars, FEATURES, target=target, until=int(bars.start_ms[1500]))

    told = bot.backtest(bars, Watched).numbers["drift"]
    assert told["psi"] < 0.5
    assert {each["feature"] for each in told["worst_features"]} == {repr(op) for op in FEATURES.values()}
    assert (told["reduces"], told["bands"], told["band_gap_frac"]) == (False, [], None)
    assert told["words"].endswith("only told, as the model is your own")
    knows_skill = target == "rv_60m"
    if knows_skill:  # a straight line forecasts variances below 0, and says so
        assert 0.0 < told["not_positive_frac"] < 0.2
        assert "of its variances are 0 or less" in told["words"]
    assert ("skill unknown" in told["words"]) is not knows_skill
    assert (told["qlike"] is not None, told["qlike_har_hour"] is not None) == (knows_skill, knows_skill)


def test_a_parity_check_asks_bar_by_bar_as_a_live_run_does(tmp_path: Path) -> None:
    settings = plan_on(tmp_path).settings
    data = series.saved_candles(tmp_path, BARS)
    plan = parity_plan(settings, [data], "tests.app.runs.test_own_models:Turning", (), tmp_path, 5)
    assert not plan.own_at_once
    assert plan.trained_to_ms == FITTED.trained_to_ms


async def test_a_model_that_raises_stops_the_strategy_and_not_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = life(tmp_path)
    one.see(closes(0, 150))
    monkeypatch.setattr(MODEL, "fails", True)
    one.see(closes(150, 160))
    engine: Engine = one.standing.engine
    assert "test_own_models.py" in engine.state.stopped["BTCUSDT"].error
    assert engine.state.symbols["BTCUSDT"].view.forecast is None
    one.stop()


def test_a_class_whose_models_are_none_is_refused(tmp_path: Path) -> None:
    settings = plan_on(tmp_path).settings
    with pytest.raises(BadUsage, match=r"Both.forecaster: must be what bot.fit returns"):
        plan_of(settings, strategy="tests.app.runs.test_own_models:Both", params={})


def test_models_of_the_users_own_are_not_retrained_by_schedule(tmp_path: Path) -> None:
    with pytest.raises(
        BadUsage, match=r"has a model of its own, which only your code can fit; leave the sch"
    ):
        plan_on(
            tmp_path,
            strategy="tests.app.runs.test_own_models:Turning",
            feed__interval="15m",
            retrain__schedule="7d",
        )
