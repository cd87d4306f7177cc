import empyrical
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import metrics
from bot.domain.market import DAY_MS, HOUR_MS
from tests.metrics.builders import MIDNIGHT, close_to, daily_moves

# Against an independent implementation


@given(daily_moves)
def test_ratios_equal_empyrical_at_365_periods(returns):
    assert close_to(metrics.sharpe(returns), empyrical.sharpe_ratio(returns, annualization=365))
    assert close_to(metrics.sortino(returns), empyrical.sortino_ratio(returns, annualization=365))
    assert close_to(metrics.max_drawdown(returns), empyrical.max_drawdown(returns))
    assert close_to(metrics.calmar(returns), empyrical.calmar_ratio(returns, annualization=365))
    with np.errstate(over="ignore"):
        assert close_to(metrics.cagr(returns), empyrical.annual_return(returns, annualization=365))


@given(daily_moves.filter(lambda r: r.min() < r.max()))
def test_volatility_equals_empyrical(returns):
    assert close_to(metrics.volatility(returns), empyrical.annual_volatility(returns, annualization=365))


@given(daily_moves)
def test_depth_of_the_curve_is_the_drawdown_of_its_returns(returns):
    equity = np.cumprod(np.append(100.0, 1.0 + returns))
    deepest = metrics.deepest_drawdown(np.arange(len(equity)), equity)
    expected = metrics.max_drawdown(metrics.simple_returns(equity))
    assert (deepest.depth_frac if deepest else 0.0) == pytest.approx(expected, rel=1e-9, abs=1e-12)


# Daily equity


def test_midnight_belongs_to_the_day_that_ends_and_the_start_is_kept():
    ts = MIDNIGHT + np.array([6, 12, 24, 30, 48, 50]) * HOUR_MS
    ends, daily = metrics.daily_equity(ts, np.array([10.0, 11, 12, 13, 14, 15]))
    assert daily.tolist() == [10, 12, 14, 15]  # start, day 1 (24h), day 2 (48h), the last so far
    assert ((ends - MIDNIGHT) // HOUR_MS).tolist() == [6, 24, 48, 50]


def test_a_curve_that_starts_at_midnight_has_no_extra_day():
    ts = MIDNIGHT + np.arange(0, 49) * HOUR_MS
    _, daily = metrics.daily_equity(ts, 100.0 + np.arange(49.0))
    assert daily.tolist() == [100, 124, 148]


def test_days_without_values_keep_the_last_one():
    _, daily = metrics.daily_equity(MIDNIGHT + np.array([0, 5]) * DAY_MS, np.array([1.0, 2.0]))
    assert daily.tolist() == [1, 1, 1, 1, 1, 2]


@given(st.lists(st.floats(0.5, 2.0), min_size=2, max_size=300), st.integers(0, DAY_MS))
def test_daily_returns_compound_to_the_total(values, offset_ms):
    equity = np.array(values)
    ts = MIDNIGHT + offset_ms + np.arange(len(values)) * HOUR_MS * 5
    growth = np.prod(1.0 + metrics.simple_returns(metrics.daily_equity(ts, equity)[1]))
    assert growth == pytest.approx(equity[-1] / equity[0], rel=1e-12)
    monthly = np.prod([1.0 + r for _, _, r in metrics.monthly_returns(ts, equity)])
    assert monthly == pytest.approx(equity[-1] / equity[0], rel=1e-12)


def test_the_future_cannot_change_past_days():
    ts = MIDNIGHT + np.arange(100) * HOUR_MS
    equity = 100.0 + np.arange(100.0)
    changed = equity.copy()
    changed[60:] *= 10
    before = metrics.daily_equity(ts, equity)[1]
    assert metrics.daily_equity(ts, changed)[1][:3].tolist() == before[:3].tolist()


def test_months_are_calendar_months_in_utc():
    january_31 = int(np.datetime64("2024-01-31", "ms").astype(int))
    ts = january_31 + np.arange(4) * DAY_MS
    months = metrics.monthly_returns(ts, np.array([100.0, 110.0, 99.0, 99.0]))
    # The day that ends at midnight of 1 February is 31 January.
    assert [(y, m) for y, m, _ in months] == [(2024, 1), (2024, 2)]
    assert [r for _, _, r in months] == pytest.approx([0.10, -0.10])


def test_returns_end_with_ruin():
    assert metrics.simple_returns(np.array([100.0, 50, 0, 10, 20])).tolist() == [-0.5, -1.0]
    assert metrics.cagr(np.array([-0.5, -1.0])) == -1.0
    assert metrics.cagr(np.array([0.1, -1.2])) is None


def test_a_rate_too_large_for_a_float_is_undefined():
    assert metrics.cagr(np.array([9.0, 9.0])) is None  # 100 ** 182.5


# Hand-worked


def test_sharpe_by_hand():
    # mean .01, deviations ±.01: variance 2·1e-4/1, std .0141421; ratio .7071 · √365
    assert metrics.sharpe(np.array([0.0, 0.02])) == pytest.approx(0.5**0.5 * 365**0.5, rel=1e-14)


def test_sortino_by_hand():
    # mean .01, downside √(.0001/2) = .0070711
    assert metrics.sortino(np.array([-0.01, 0.03])) == pytest.approx(2**0.5 * 365**0.5, rel=1e-14)


def test_drawdown_lasts_from_the_last_peak_to_recovery():
    equity = np.array([100.0, 120, 120, 90, 110, 120, 60, 119])
    deepest = metrics.deepest_drawdown(np.arange(8) * HOUR_MS, equity)
    assert deepest == metrics.Drawdown(-0.5, 5 * HOUR_MS, 6 * HOUR_MS, 7 * HOUR_MS, recovered=False)
    earlier = metrics.deepest_drawdown(np.arange(6) * HOUR_MS, equity[:6])
    assert earlier == metrics.Drawdown(-0.25, 2 * HOUR_MS, 3 * HOUR_MS, 5 * HOUR_MS, recovered=True)
    assert earlier.duration_ms == 3 * HOUR_MS


def test_rolling_sharpe_looks_back_only():
    returns = np.random.default_rng(3).normal(0, 0.01, 50)
    rolling = metrics.rolling_sharpe(returns, 30)
    assert np.isnan(rolling[:29]).all()
    assert rolling[29] == metrics.sharpe(returns[:30])
    assert rolling[49] == metrics.sharpe(returns[20:])


def test_ratios_without_deviation_are_undefined():
    flat, rising = np.zeros(5), np.full(5, 0.1)
    for returns in (flat, rising, np.empty(0), np.array([0.1])):
        assert metrics.sharpe(returns) is None
        assert metrics.sortino(returns) is None
        assert metrics.calmar(returns) is None
    assert metrics.volatility(np.array([0.1])) is None
    assert metrics.cagr(np.array([0.1])) is None
