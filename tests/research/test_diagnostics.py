import numpy as np
import pytest

from bot.domain.market import DAY_MS, HOUR_MS
from bot.research.diagnostics import (
    by_forecast,
    months,
    partial_ic,
    pit,
    tracking_error,
    training_alarm,
    value_at_risk,
)
from tests.research import series

HOURS = 24 * 200
HOURS_MS = series.T0 // DAY_MS * DAY_MS + HOUR_MS * np.arange(HOURS)


def market(seed=0):
    """Variances that wander, and normal returns of these variances."""
    rng = np.random.default_rng(seed)
    rv = np.exp(rng.normal(-10.0, 0.5, HOURS))
    return rv, rng.normal(0.0, 1.0, HOURS) * np.sqrt(rv)


def test_a_true_variance_covers_and_a_halved_one_does_not():
    rv, ret = market()
    true, halved = value_at_risk(HOURS_MS, ret, rv), value_at_risk(HOURS_MS, ret, rv / 2)
    assert set(true) == {"long_95", "long_99", "short_95", "short_99"}
    assert all(test["kupiec_p"] > 0.01 and test["christoffersen_p"] > 0.01 for test in true.values())
    assert all(test["kupiec_p"] < 1e-6 and test["beyond"] > test["expected"] for test in halved.values())


def test_a_long_position_loses_in_a_fall_and_a_short_one_in_a_rise():
    ret = np.array([-0.5, -0.5, -0.5, 0.5])
    told = value_at_risk(HOURS_MS[:4], ret, np.full(4, 0.01))
    assert (told["long_95"]["beyond"], told["short_95"]["beyond"]) == (3, 1)


def test_a_forecast_of_a_quarter_of_the_variance_doubles_the_target():
    rv, _ = market()
    assert tracking_error(HOURS_MS, rv, rv, 0).value == pytest.approx(0.0, abs=1e-12)
    assert tracking_error(HOURS_MS, rv, rv / 4, 0).value == pytest.approx(1.0)  # √4 − 1


def test_a_day_of_few_hours_is_no_day_of_the_target():
    rv, _ = market()
    part = rv[: 24 + 5].copy()
    hat = part.copy()
    hat[24:] /= 100.0
    assert tracking_error(HOURS_MS[: 24 + 5], part, hat, 0).value == pytest.approx(0.0, abs=1e-12)
    assert tracking_error(HOURS_MS[:5], part[:5], hat[:5], 0) is None


def test_reversal_in_disguise_has_no_skill_of_its_own_and_a_second_signal_has():
    rng = np.random.default_rng(3)
    reversal, other, noise = rng.normal(0.0, 1.0, (3, HOURS))
    target = 0.2 * reversal + 0.2 * other + noise
    disguised = partial_ic(HOURS_MS, target, reversal + 0.5 * rng.normal(0.0, 1.0, HOURS), reversal, 0)
    second = partial_ic(HOURS_MS, target, reversal + other, reversal, 0)
    assert abs(disguised.value) < 4 / np.sqrt(HOURS)  # 4 standard errors; its plain IC is 0.17
    assert second.low > 0.1
    assert partial_ic(HOURS_MS, target, 2.0 * reversal, reversal, 0) is None


def test_the_partial_ic_is_the_correlation_of_the_residuals_of_ranks():
    rng = np.random.default_rng(4)
    forecast, target, reversal = rng.normal(0.0, 1.0, (3, HOURS)) + rng.normal(0.0, 1.0, HOURS)
    x, y, z = (np.argsort(np.argsort(each)) - (HOURS - 1) / 2 for each in (forecast, target, reversal))
    left = [each - z * (each @ z) / (z @ z) for each in (x, y)]
    wanted = np.corrcoef(*left)[0, 1]
    assert partial_ic(HOURS_MS, target, forecast, reversal, 0).value == pytest.approx(wanted)


def test_the_pit_is_flat_for_the_true_variance_and_full_outside_for_a_small_one():
    rv, ret = market()
    assert pit(ret, rv) == pytest.approx([0.1] * 10, abs=0.02)
    small = pit(ret, rv / 4)
    assert min(small[0], small[9]) > 0.2  # Φ(-1.28 / 2) = 0.26
    assert sum(small) == pytest.approx(1.0)
    assert pit(np.full(3, np.nan), np.ones(3)) is None


def test_calibration_groups_rows_by_the_size_of_the_forecast():
    rv, _ = market()
    groups = by_forecast(2.0 * rv, rv)
    forecast = [each["forecast_rv_60m"] for each in groups]
    assert forecast == sorted(forecast)
    assert sum(each["rows"] for each in groups) == HOURS
    assert all(each["realised_rv_60m"] == pytest.approx(2 * each["forecast_rv_60m"]) for each in groups)


def test_months_part_the_rows_and_name_every_forecaster():
    rv, ret = market()
    targets = np.column_stack((rv, ret, ret))
    tables = {"model": targets, "har": targets * 2.0, "mean_reversion": targets * [np.nan, 1.0, 1.0]}
    told = months(HOURS_MS, targets, tables, 0)
    assert sum(each["rows"] for each in told) == HOURS
    assert [each["month"] for each in told] == sorted({each["month"] for each in told})
    assert told[0]["qlike_rv_60m"]["value"] == pytest.approx(0.0, abs=1e-12)
    assert told[0]["baselines"] == {"har": pytest.approx(np.log(2) - 0.5)}
    assert told[0]["ic_ret_60m"]["value"] == pytest.approx(1.0)


def test_rows_of_the_training_range_raise_an_alarm_in_words():
    cut_ms = int(HOURS_MS[100])
    (alarm,) = training_alarm(HOURS_MS, cut_ms)
    assert alarm.startswith("100 of 4,800 rows lie before")  # the hours of rows 0 to 99 are over by then
    assert training_alarm(HOURS_MS[100:], cut_ms) == []
