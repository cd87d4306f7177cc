import math

import numpy as np
import pytest
import scipy.stats

from bot.domain.market import DAY_MS, HOUR_MS
from bot.research.dataset import RET_LONG, LabelledRows
from bot.research.skill.diagnostics import (
    bands,
    by_forecast,
    chance_miss,
    follow_tails,
    gain_of_following,
    months,
    partial_ic,
    pit,
    tracking_error,
    training_alarm,
    value_at_risk,
    whole_miss,
)
from bot.research.skill.tails import Followed, Tails, fit_tails, student_t4_quantile
from bot.strategy.ranges import RET_LEVELS
from tests.research import series

HOURS = 24 * 200
HOURS_MS = series.T0 // DAY_MS * DAY_MS + HOUR_MS * np.arange(HOURS)


def market(seed=0):
    """Variances that wander, and normal returns of these variances."""
    rng = np.random.default_rng(seed)
    rv = np.exp(rng.normal(-10.0, 0.5, HOURS))
    return rv, rng.normal(0.0, 1.0, HOURS) * np.sqrt(rv)


def heavy(seed=3):
    """Returns of variance 1 with the tails of Student's t with 4 degrees of freedom."""
    return np.random.default_rng(seed).standard_t(4, HOURS) / math.sqrt(2.0)


def tails_of(ret, rv):
    """The tails of hours that were seen before."""
    return Tails(np.sort(ret / np.sqrt(rv)))


NORMAL = Tails(scipy.stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000))
"""The tails of ``market``, without the chance of a sample."""


def test_a_true_variance_covers_and_a_halved_one_does_not():
    rv, ret = market()
    true, halved = value_at_risk(HOURS_MS, ret, rv, NORMAL), value_at_risk(HOURS_MS, ret, rv / 2, NORMAL)
    assert set(true) == {"long_95", "long_99", "short_95", "short_99"}
    assert all(test["kupiec_p"] > 0.01 and test["christoffersen_p"] > 0.01 for test in true.values())
    assert all(test["kupiec_p"] < 1e-6 and test["beyond"] > test["expected"] for test in halved.values())


def test_followed_quantiles_heal_a_variance_that_is_too_small_and_their_loss_says_so():
    rv, ret = market()
    small = rv / 1.5
    followed = follow_tails(ret, small, NORMAL)
    late = slice(HOURS // 2, None)  # they need some weeks
    healed = value_at_risk(HOURS_MS[late], ret[late], small[late], Followed(RET_LEVELS, followed.table[late]))
    fixed = value_at_risk(HOURS_MS[late], ret[late], small[late], NORMAL)
    assert all(test["kupiec_p"] < 1e-4 for test in fixed.values())
    assert min(healed[f"{side}_95"]["kupiec_p"] for side in ("long", "short")) > 0.05
    assert all(healed[name]["beyond"] < 0.65 * test["beyond"] for name, test in fixed.items())  # 99 is slower
    assert max(pit(ret, small, followed)) < 0.11 < 0.13 < max(pit(ret, small, NORMAL))
    assert gain_of_following(HOURS_MS, ret, small, NORMAL, followed, 0).high < 0.0
    useless = gain_of_following(HOURS_MS, ret, rv, NORMAL, follow_tails(ret, rv, NORMAL), 0)
    assert 0.0 < useless.value < 1e-3  # nothing was wrong, so to follow only adds a little noise


@pytest.mark.parametrize(("factor", "fixed"), [(1.0, 0.5), (1.5, 0.375)])
def test_bands_of_the_variance_hold_what_they_should_once_they_are_followed(factor, fixed):
    rng = np.random.default_rng(5)
    rv = np.exp(rng.normal(-10.0, 0.5, HOURS))
    told = bands(HOURS_MS, rv, np.full(HOURS, factor * math.exp(-10.0 + 0.125)), np.full(HOURS, 0.5), 0)
    for name, share in (("50", 0.5), ("80", 0.8), ("95", 0.95)):
        assert told[name]["followed"]["value"] == pytest.approx(share, abs=0.03)
    # ln 1.5 is 0.81 deviations: Φ(0.81 + 0.67) - Φ(0.81 - 0.67) = 0.931 - 0.556
    assert told["50"]["fixed"]["value"] == pytest.approx(fixed, abs=0.03)
    assert bands(HOURS_MS, rv, rv, np.full(HOURS, np.nan), 0) is None


def test_a_long_position_loses_in_a_fall_and_a_short_one_in_a_rise():
    ret = np.array([-0.5, -0.5, -0.5, 0.5])
    told = value_at_risk(HOURS_MS[:4], ret, np.full(4, 0.01), Tails())
    assert (told["long_95"]["beyond"], told["short_95"]["beyond"]) == (3, 1)


@pytest.mark.parametrize("tails", [Tails(), tails_of(heavy(seed=9), np.ones(HOURS))], ids=["t", "earlier"])
def test_fat_tails_are_covered_where_normal_ones_are_not(tails):
    ret = heavy()
    told = value_at_risk(HOURS_MS, ret, np.ones(HOURS), tails)
    assert all(test["kupiec_p"] > 0.01 for test in told.values())
    assert pit(ret, np.ones(HOURS), tails) == pytest.approx([0.1] * 10, abs=0.015)
    assert value_at_risk(HOURS_MS, ret, np.ones(HOURS), NORMAL)["long_99"]["kupiec_p"] < 1e-3


def test_a_skewed_market_has_another_quantile_for_a_long_than_for_a_short_position():
    rng = np.random.default_rng(4)
    before, ret = (1.0 - rng.exponential(size=HOURS) for _ in range(2))
    told = value_at_risk(HOURS_MS, ret, np.ones(HOURS), tails_of(before, np.ones(HOURS)))
    assert all(test["kupiec_p"] > 0.01 for test in told.values())


@pytest.mark.parametrize("probability", [0.001, 0.01, 0.3, 0.5, 0.95, 0.9999])
def test_the_closed_form_of_students_t_is_scipys(probability):
    assert student_t4_quantile(probability) == pytest.approx(scipy.stats.t.ppf(probability, 4), abs=1e-9)


def hourly(returns):
    """Rows at full hours with these returns of the next hour."""
    targets = np.full((len(returns), 3), 1.0)
    targets[:, RET_LONG] = returns
    return LabelledRows(
        "X",
        HOUR_MS,
        "",
        "",
        HOURS_MS[: len(returns)] - HOUR_MS,
        np.ones(len(returns)),
        np.ones((len(returns), 1)),
        targets,
        np.zeros(len(returns), bool),
    )


def test_tails_are_those_of_the_hours_before_the_cut_alone():
    ret = heavy()[:3000]
    forecast = np.full((3000, 3), 4.0)
    cut_ms = int(HOURS_MS[2000])
    tails = fit_tails([(hourly(ret), forecast)], cut_ms)
    np.testing.assert_array_equal(
        tails.z, np.sort(ret[:2000] / 2.0)
    )  # the target of row 1999 ends at the cut
    later = ret.copy()
    later[2000:] *= 50.0
    np.testing.assert_array_equal(fit_tails([(hourly(later), forecast)], cut_ms).z, tails.z)
    assert fit_tails([(hourly(ret), forecast)], int(HOURS_MS[999])).to_json()["kind"] == "student_t"
    assert fit_tails([], cut_ms).quantile(0.01) == pytest.approx(-3.7469 / math.sqrt(2.0), abs=1e-4)


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


def test_what_single_hours_miss_by_chance_is_told_apart_from_wrong_days():
    rng = np.random.default_rng(6)
    hat = np.ones(HOURS)
    hours = rng.lognormal(-0.125, 0.5, HOURS)
    days = np.repeat(rng.lognormal(-0.125, 0.5, HOURS // 24 + 1), 24)[:HOURS]
    for rv, least, most in ((hours, 0.9, 1.1), (hours * days, 0.2, 0.5)):
        missed, chance = tracking_error(HOURS_MS, rv, hat, 0).value, chance_miss(HOURS_MS, rv, hat, 0)
        assert least < chance / missed < most
    assert whole_miss(HOURS_MS, 1.21 * hours / hours.mean(), hat, 0).value == pytest.approx(0.1)
    assert chance_miss(HOURS_MS[:5], hours[:5], hat[:5], 0) is None


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
    assert pit(ret, rv, NORMAL) == pytest.approx([0.1] * 10, abs=0.02)
    small = pit(ret, rv / 4, NORMAL)
    assert min(small[0], small[9]) > 0.2  # Φ(-1.28 / 2) = 0.26
    assert sum(small) == pytest.approx(1.0)
    assert pit(np.full(3, np.nan), np.ones(3), NORMAL) is None


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
