"""Models of the user's own in a walk-forward: what they are fitted on, and what they choose and trade."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bot
from bot.adapters.files.candles import Candles
from bot.domain.errors import BadUsage
from bot.domain.market import DAY_MS, MINUTE_MS
from bot.features.fitted import Fitted
from tests.lab.market import FIVE, T0, candles
from tests.lab.test_fitting import FEATURES, Least

HOUR_MS = 60 * MINUTE_MS
FITTED: list[int] = []


class Lean(Least):
    """Notes how many rows it is fitted on, and refuses to be fitted twice."""

    def fit(self, rows: np.ndarray, targets: np.ndarray) -> None:
        assert not hasattr(self, "weights")
        FITTED.append(len(rows))
        super().fit(rows, targets)


class Follow:
    """Goes with the model's sign where it is sure."""

    def __init__(self, model: Fitted, least: float = 0.0) -> None:
        self.indicators = {"edge": model}
        self.least = least

    def on_bar(self, view: bot.View) -> bot.Target | None:
        return bot.Target.fraction(0.2 if view.ind["edge"] > self.least else -0.2)


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BOT_STATE_DIR", str(tmp_path / "state"))
    FITTED.clear()


def walked(
    series: Candles, grid: dict[str, list[float]] | None = None, model: object = Lean, **more: Any
) -> bot.WalkForwardResult:
    given = {"params": {"model": bot.unfitted(model, FEATURES)}} if model is not None else {}  # type: ignore[arg-type]
    spans = {"train": "2d", "test": "1d", "workers": 1, "growing": True}
    return bot.walkforward(series, Follow, grid or {}, **{**spans, **given, **more})


def test_each_test_is_traded_with_the_model_of_its_training_span() -> None:
    found = walked(candles())
    steps = found.numbers["steps"]
    assert [each["train_to_ms"] for each in steps] == [T0 + day * DAY_MS - HOUR_MS for day in (3, 4)]
    assert len(FITTED) == 2
    for step in steps:
        assert step["fitted_to_ms"] == step["train_to_ms"]
        fitted = bot.fit(Least(), candles(), FEATURES, until=step["train_to_ms"])
        alone = bot.backtest(
            candles(), Follow, params={"model": fitted}, start=step["test_from_ms"], end=step["test_to_ms"]
        )
        assert alone.numbers["in_sample"] is None
        assert step["test"]["total_return"] == alone.metrics["total_return"] != 0.0
    assert "fitted anew" in repr(found)
    assert walked(candles(), model=Lean(), fresh=True).results_sha256 == found.results_sha256
    assert walked(candles(), model=partial(Lean), fresh=True).results_sha256 == found.results_sha256


def test_a_moving_span_fits_on_its_own_bars_alone() -> None:
    walked(candles(), growing=False)
    assert FITTED == [2 * 288 - 12] * 2  # a target of 12 bars ends in the span


def test_parameters_are_chosen_on_bars_that_no_model_was_fitted_on() -> None:
    series = candles(2000)
    found = walked(series, {"least": [-1.0, 0.0, 1.0]}, train="3d", objective="total_return")
    steps = found.numbers["steps"]
    assert len(FITTED) == 2 * len(steps) == 4
    for step, cut_ms in zip(steps, (T0 + 2 * DAY_MS, T0 + 3 * DAY_MS), strict=True):
        fitted = bot.fit(Least(), series, FEATURES, until=cut_ms - HOUR_MS)  # the gap of the test
        alone = bot.backtest(
            series, Follow, params={"model": fitted, **step["params"]}, start=cut_ms, end=step["train_to_ms"]
        )
        assert step["train"]["total_return"] == alone.metrics["total_return"]


def test_the_future_changes_no_fit_and_no_step_of_the_past() -> None:
    whole = candles()
    ohlcv = whole.ohlcv.copy()
    ohlcv[4 * 288 :] *= 3.0
    changed = Candles.make(whole.symbol, FIVE, whole.start_ms, ohlcv)
    one, two = (
        walked(each, {"least": [0.0, 1e-5]}, objective="total_return").numbers["steps"]
        for each in (whole, changed)
    )
    assert one[0] == two[0]
    assert one[1] != two[1]


def test_a_walk_that_was_cut_off_fits_what_is_left_and_ends_equal_on_two_workers() -> None:
    grid = {"least": [0.0, 1e-5]}
    whole = walked(candles(), grid, model=Least)
    log = Path(whole.numbers["log"])
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:3]))  # the header and the trials of the first step
    again = walked(candles(), grid, model=Least, workers=2, resume=True)
    assert again.warnings == ()
    assert again.numbers["remembered"] == 2
    assert again.results_sha256 == whole.results_sha256


def test_a_class_that_workers_cannot_import_is_fitted_here_and_a_warning_says_so() -> None:
    class Mine(Least):
        pass

    with pytest.warns(UserWarning, match="Mine stands in a notebook"):
        found = walked(candles(), model=Mine, workers=2)
    assert len(found.numbers["steps"]) == 2


def test_refitted_forecasts_trade_a_strategy_that_ships() -> None:
    model = bot.unfitted(Lean, FEATURES, target="rv_60m")
    spans = {"train": "2d", "test": "1d", "workers": 1}
    found = bot.walkforward(
        candles(),
        "vol_target",
        {},
        params={"base": "constant"},
        model=model,
        **spans,  # type: ignore[arg-type]
    )
    assert len(FITTED) == 2
    assert found.numbers["trained_to_ms"] is None
    assert all(step["test"]["total_return"] for step in found.numbers["steps"])


def test_another_model_is_another_walk_forward() -> None:
    one = walked(candles())
    assert walked(candles(), model=Least).numbers["log"] != one.numbers["log"]
    assert walked(candles()).numbers["log"] == one.numbers["log"]


def knows_more(bars: Candles) -> np.ndarray:
    later = np.full(len(bars), np.nan)
    later[:-20] = bars.ohlcv[20:, 3] / bars.ohlcv[:-20, 3]
    return later


def test_what_would_leak_or_cannot_be_refitted_is_refused() -> None:
    leaking = bot.unfitted(Least, FEATURES, target=knows_more, horizon_bars=12)
    with pytest.raises(BadUsage, match="without the bars after the next 12"):
        walked(candles(), params={"model": leaking})
    with pytest.raises(BadUsage, match="purge, embargo: 30 min is less than the horizon of a model, 1 h"):
        walked(candles(), purge="30m")
    with pytest.raises(BadUsage, match="give 2 days or more"):
        walked(candles(), {"least": [0.0, 1.0]}, train="1d", growing=False)
    model = bot.unfitted(Least, FEATURES)
    with pytest.raises(BadUsage, match="model: was not fitted"):
        bot.backtest(candles(), Follow, params={"model": model})
    with pytest.raises(BadUsage, match="model: was not fitted"):
        bot.sweep(candles(), Follow, {"least": [0.0]}, params={"model": model})
    with pytest.raises(BadUsage, match="at least one"):
        walked(candles(), params={"model": bot.fit(Least(), candles(), FEATURES)})
    declared = type("Declared", (Follow,), {"indicators": {"edge": model}, "__init__": object.__init__})
    with pytest.raises(BadUsage, match="is a parameter of the constructor"):
        bot.walkforward(candles(), declared, {}, params={"x": model}, train="2d", test="1d", workers=1)
