"""Models of the user's own are scored as the shipped ones are; what they do not forecast is unknown."""

import numpy as np
import pytest

import bot
from bot.domain.errors import BadUsage
from bot.features.fitted import Fitted
from bot.research.skill.baselines import har_terms
from bot.web.evaluation import render_evaluation
from tests.lab.test_fitting import FEATURES, Least
from tests.research import series

BARS = 3000
CUT = BARS // 2
HISTORY = series.candles(BARS)
UNTIL = int(HISTORY.start_ms[CUT])


class Logarithm(Least):
    """Learns the logarithm of a variance."""

    def fit(self, rows: np.ndarray, targets: np.ndarray) -> None:
        super().fit(rows, np.log(targets))

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return np.exp(super().predict(rows))


def fitted(model: Least, target: str) -> Fitted:
    return bot.fit(model, HISTORY, FEATURES, target=target, until=UNTIL)


def test_a_volatility_and_a_return_are_scored_beside_the_baselines_on_the_same_rows() -> None:
    volatility, returns = fitted(Logarithm(), "rv_60m"), fitted(Least(), "ret_60m")
    told = bot.evaluate(HISTORY, [volatility, returns])
    (one,) = told.numbers["files"]
    assert told.numbers["trained_to_ms"] == UNTIL
    assert not told.numbers["in_sample"]
    assert one["start_ms"] + series.INTERVAL_MS >= UNTIL
    assert one["qlike_rv_60m"]["value"] > 0.0
    assert set(one["qlike_minus"]) >= {"zero", "har", "har_hour"}
    assert one["qlike_minus"]["har"]["low"] is not None
    assert one["ic_ret_60m"] is not None
    assert one["ic_ret_15m"] is None  # no part forecasts it
    rows = series.rows(HISTORY)
    week = np.isfinite(har_terms(rows)).all(axis=1)
    assert one["rows"] == int((week & rows.known & rows.within(UNTIL, HISTORY.end_ms)).sum())
    assert "har_hour" in repr(told)
    assert "qlike_rv_60m" in told.table["figure"].to_pylist()
    assert "Skill of model" in render_evaluation(told.numbers)
    assert "ALARM" not in repr(told)
    one["leak_alarm"] = ["ic_ret_60m +0.300: too good"]
    assert "LEAK ALARM: ic_ret_60m +0.300: too good" in repr(told)


@pytest.mark.parametrize("target", ["ret_15m", "ret_60m"])
def test_what_a_model_does_not_forecast_has_no_figures(target: str) -> None:
    told = bot.evaluate(HISTORY, fitted(Least(), target))
    (one,) = told.numbers["files"]
    assert one[f"ic_{target}"] is not None
    assert one["qlike_rv_60m"] is one["r2_log_rv_60m"] is None
    assert set(one["qlike_minus"].values()) == {None}
    assert set(one["var"].values()) == {None}
    assert one["tails"] == {"kind": "unknown"}
    assert one["calibration"]["pit"] is None
    assert "model" not in one["vol_target"]
    assert told.table.num_rows
    assert told.months.num_rows
    assert "Too few hours" in render_evaluation(told.numbers)


def test_a_variance_of_0_or_less_is_not_scored() -> None:
    class Sinking(Logarithm):
        def predict(self, rows: np.ndarray) -> np.ndarray:
            made = super().predict(rows)
            return np.where(made > np.exp(np.median(self.targets)), made, -made)

    whole = bot.evaluate(HISTORY, fitted(Logarithm(), "rv_60m")).numbers["files"][0]
    part = bot.evaluate(HISTORY, fitted(Sinking(), "rv_60m")).numbers["files"][0]
    assert 0 < part["rows"] < whole["rows"]


def test_a_model_that_was_never_fitted_is_refused() -> None:
    with pytest.raises(BadUsage, match=r"model: was never fitted; give what bot\.fit returns"):
        bot.evaluate(HISTORY, bot.unfitted(Least(), FEATURES, target="rv_60m"))  # type: ignore[arg-type]
