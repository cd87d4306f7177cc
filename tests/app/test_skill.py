"""The judgement of a running bot's forecasts, against numbers worked out by hand and by research."""

from math import exp, log

import numpy as np
import pytest

from bot.app.models.skill import judge, judge_here
from bot.domain.market import DAY_MS
from bot.web.server.skill import SkillSeries

STEP_MS = 300_000
START_MS = 20_000 * DAY_MS


def series(bars: int, forecasts: dict[int, float], *, seed: int = 0, sigma: float = 0.001) -> SkillSeries:
    """A random walk; ``forecasts`` by index of the bar at whose close they were made."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(sigma * rng.standard_normal(bars)))
    start_ms = [START_MS + index * STEP_MS for index in range(bars)]
    return SkillSeries(
        "BTCUSDT",
        STEP_MS,
        start_ms,
        close.tolist(),
        [start_ms[index] + STEP_MS for index in forecasts],
        list(forecasts.values()),
    )


def test_qlike_and_calibration_are_those_of_the_hour_that_followed() -> None:
    # Every bar doubles or halves the price's distance by e^±0.01: the hour of 12 bars has 12 × 0.01².
    close = [100.0 * exp(0.01 * (index % 2)) for index in range(30)]
    start_ms = [START_MS + index * STEP_MS for index in range(30)]
    made = SkillSeries("BTCUSDT", STEP_MS, start_ms, close, [start_ms[3] + STEP_MS], [0.0024])
    (day,) = judge_here([made])
    ratio = 0.0012 / 0.0024
    assert day["qlike"] == pytest.approx(ratio - log(ratio) - 1)
    assert day["calibration"] == pytest.approx(0.5)
    assert (day["day_ms"], day["rows"], day["hours"]) == (START_MS, 1, 1)
    assert day["qlike_har_hour"] is None


def test_a_forecast_is_judged_once_its_hour_is_over() -> None:
    assert judge_here([series(30, {20: 1e-5})]) == []
    assert judge_here([series(33, {20: 1e-5})])[0]["rows"] == 1
    assert judge_here([]) == []


def test_har_hour_is_fitted_on_the_bars_before_the_first_judged_day() -> None:
    bars = 288 * 16
    live = range(bars - 288 * 2, bars - 12)
    days = judge_here([series(bars, dict.fromkeys(live, 12 * 0.001**2))])
    assert [day["day_ms"] for day in days] == sorted((day["day_ms"] for day in days), reverse=True)
    assert len(days) == 2
    for day in days:  # the forecast is the truth of this market; a fitted one can hardly beat it
        assert day["qlike"] <= day["qlike_har_hour"] * 1.05
        assert day["qlike_har_hour"] < 0.3
        assert day["calibration"] == pytest.approx(1.0, abs=0.15)


def test_at_most_a_week_is_judged() -> None:
    bars = 288 * 12
    days = judge_here([series(bars, dict.fromkeys(range(0, bars, 48), 1e-5))])
    assert len(days) == 7


async def test_it_runs_in_a_process_of_its_own() -> None:
    made = [series(60, {20: 1e-5})]
    assert await judge(made) == judge_here(made)
