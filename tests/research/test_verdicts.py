import math

import numpy as np
import pytest

from bot.research.skill.verdicts import diebold_mariano, var_coverage


def slowly(d, lags):
    """The statistic by the definition, with a loop for each pair of rows."""
    n, mean = len(d), sum(d) / len(d)
    variance = 0.0
    for i in range(n):
        for j in range(max(0, i - lags), min(n, i + lags + 1)):
            variance += (1 - abs(i - j) / (lags + 1)) * (d[i] - mean) * (d[j] - mean) / n
    return mean / math.sqrt(variance / n)


@pytest.mark.parametrize("horizon", [1, 12])
def test_diebold_mariano_equals_the_double_sum(horizon):
    rng = np.random.default_rng(horizon)
    d = 0.1 + np.convolve(rng.normal(0.0, 1.0, 411), np.ones(12) / 12, "valid")
    tested = diebold_mariano(d, horizon)
    assert tested.lags == max(horizon - 1, 8)  # 400^(1/3) = 7.4
    assert tested.statistic == pytest.approx(slowly(d.tolist(), tested.lags), rel=1e-9)


def test_diebold_mariano_rejects_equal_forecasts_about_as_often_as_it_says():
    # losses of 12 overlapping rows: a variance without lags would reject more than half of the time
    rng = np.random.default_rng(5)
    noise = rng.normal(0.0, 1.0, (300, 4011))
    sums = np.cumsum(noise, axis=1)
    overlapping = sums[:, 11:] - np.hstack((np.zeros((300, 1)), sums[:, :-12]))
    rejected = np.mean([diebold_mariano(row, 12).p_value < 0.05 for row in overlapping])
    assert 0.02 < rejected < 0.12


def test_missing_losses_are_no_zeros():
    d = np.random.default_rng(1).normal(1.0, 1.0, 400)
    gaps = np.insert(d, [5, 90], np.nan)
    assert diebold_mariano(gaps, 1) == diebold_mariano(d, 1)


@pytest.mark.parametrize("d", [np.ones(500), np.full(500, np.nan), np.arange(20.0)])
def test_diebold_mariano_is_none_where_it_can_say_nothing(d):
    assert diebold_mariano(d, 1) is None


def test_kupiec_by_hand():
    # 20 of 255 rows beyond a VaR of 95 %, x/n = 0.0784314:
    # -2[235 ln 0.95 + 20 ln 0.05] = 24.10784 + 119.82929 = 143.93713
    # 2[235 ln 0.9215686 + 20 ln 0.0784314] = -38.38867 - 101.82125 = -140.20993, together 3.72721
    beyond = np.zeros(255, np.bool_)
    beyond[::13] = True
    tested = var_coverage(beyond, np.ones(255, np.bool_), 0.05)
    assert (tested.beyond, tested.expected) == (20, pytest.approx(12.75))
    assert tested.kupiec == pytest.approx(3.72721, abs=1e-5)
    assert tested.kupiec_p == pytest.approx(0.0535, abs=1e-4)


def test_christoffersen_by_hand():
    # 10 rows, the pairs of neighbours: 0000011000 -> n00 = 6, n01 = 1, n10 = 1, n11 = 1
    # π = 2/9, π_0 = 1/7, π_1 = 1/2
    # ln of the restricted: 7 ln(7/9) + 2 ln(2/9) = -1.759200 - 3.008155 = -4.767355
    # ln of the free: 6 ln(6/7) + ln(1/7) + 2 ln(1/2) = -0.924904 - 1.945910 - 1.386294 = -4.257108
    # LR_ind = 2·0.510247 = 1.020493
    # Kupiec, 2 of 10 at 5 %: 2[8 ln 0.8 + 2 ln 0.2 - 8 ln 0.95 - 2 ln 0.05] = 2·1.397787 = 2.795574
    beyond = np.array([0, 0, 0, 0, 0, 1, 1, 0, 0, 0], np.bool_)
    tested = var_coverage(beyond, np.ones(10, np.bool_), 0.05)
    assert tested.kupiec == pytest.approx(2.795574, abs=1e-5)
    assert tested.christoffersen == pytest.approx(2.795574 + 1.020493, abs=1e-5)
    assert tested.christoffersen_p == pytest.approx(0.14837, abs=1e-4)  # exp(-3.816067 / 2)


def test_rows_on_two_sides_of_a_gap_are_no_pair():
    beyond = np.array([0, 1, 1, 0] * 50, np.bool_)
    apart = np.ones(200, np.bool_)
    apart[2::4] = False  # between the two that are beyond
    together = var_coverage(beyond, np.ones(200, np.bool_), 0.5)
    assert var_coverage(beyond, apart, 0.5).christoffersen != pytest.approx(together.christoffersen)
    assert var_coverage(beyond, np.zeros(200, np.bool_), 0.5).christoffersen is None


@pytest.mark.parametrize("beyond", [np.zeros(100, np.bool_), np.ones(100, np.bool_)])
def test_none_or_all_beyond_has_a_finite_ratio(beyond):
    tested = var_coverage(beyond, np.ones(100, np.bool_), 0.05)
    assert math.isfinite(tested.kupiec)
    assert math.isfinite(tested.christoffersen)


def test_without_rows_there_is_no_test():
    assert var_coverage(np.zeros(0, np.bool_), np.zeros(0, np.bool_), 0.05) is None
