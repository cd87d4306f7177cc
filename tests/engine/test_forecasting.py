import numpy as np
import pytest

from bot.adapters.files import shipped
from bot.adapters.model.checkpoint import Checkpoint, load
from bot.adapters.model.predictor import KernelPredictor
from bot.domain.market import Bar, Forecast
from bot.engine.forecasting import Forecaster
from bot.features.stream import FeatureStream
from tests.helpers import walk


@pytest.fixture(scope="module")
def model() -> Checkpoint:
    return load(shipped.model_path())


@pytest.fixture(scope="module")
def bars(model: Checkpoint) -> list[Bar]:
    rng = np.random.default_rng(4)
    return walk((100.0 * np.exp(np.cumsum(rng.normal(0, 0.001, model.warmup_bars + 20)))).tolist())


def warm(model: Checkpoint, bars: list[Bar]) -> Forecaster:
    """A forecaster that has seen what it needs, and the bar after it."""
    made = Forecaster(["BTCUSDT"], FeatureStream(model.feature_set, 1), KernelPredictor(model, 1))
    for bar in bars[: model.warmup_bars]:
        forecast = step(made, bar)
        assert (forecast is not None) == (bar is bars[model.warmup_bars - 1])
    return made


def step(forecaster: Forecaster, bar: Bar) -> Forecast | None:
    return forecaster.step([bar], [0.0])[0]


def test_a_forecast_is_given_from_the_last_warm_up_bar_on_and_again_after_a_hole(
    model: Checkpoint, bars: list[Bar]
) -> None:
    one, at = warm(model, bars), model.warmup_bars
    assert step(one, bars[at]) is not None
    assert step(one, bars[at + 2]) is None
    assert not one.is_warm("BTCUSDT")


def test_peeking_says_what_the_close_will_say_and_changes_nothing(model: Checkpoint, bars: list[Bar]) -> None:
    one, bar = warm(model, bars), bars[model.warmup_bars]
    peeked = [one.peek([bar], [0.0])[0] for _ in range(2)]
    assert peeked == [step(one, bar)] * 2
    assert peeked[0] is not None


def test_a_candle_told_late_or_after_a_hole_is_not_scored(model: Checkpoint, bars: list[Bar]) -> None:
    one, at = warm(model, bars), model.warmup_bars
    assert one.peek([bars[at - 1]], [0.0]) == [None]
    assert one.peek([bars[at + 1]], [0.0]) == [None]
