from decimal import Decimal

import empyrical
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import metrics
from bot.domain.market import DAY_MS, HOUR_MS
from tests.metrics.builders import MIDNIGHT, close_to, curve, daily_moves, fill

# Part days


@given(daily_moves.filter(lambda r: r.min() < r.max()))
def test_the_figures_of_whole_days_equal_empyrical(returns):
    out = metrics.curve_summary(*curve(returns))
    survived = metrics.simple_returns(np.cumprod(np.append(1000.0, 1.0 + returns)))
    assert out["days"] == len(survived)
    assert close_to(out["sharpe"], empyrical.sharpe_ratio(survived, annualization=365))
    assert close_to(out["sortino"], empyrical.sortino_ratio(survived, annualization=365))
    assert close_to(out["max_drawdown"], empyrical.max_drawdown(survived))
    if len(returns) >= 30:
        with np.errstate(over="ignore"):
            assert close_to(out["cagr"], empyrical.annual_return(survived, annualization=365))
        assert close_to(out["calmar"], empyrical.calmar_ratio(survived, annualization=365))


@pytest.mark.parametrize(("from_hour", "to_hour"), [(0, 5 / 60), (5 / 60, 0), (0, 23.9), (23.9, 0), (6, 18)])
@pytest.mark.parametrize("days", [1, 2, 40])
def test_idle_parts_of_a_day_change_no_ratio(days, from_hour, to_hour):
    returns = np.random.default_rng(days).normal(0.01, 0.02, days)
    whole = metrics.curve_summary(*curve(returns))
    more = metrics.curve_summary(*curve(returns, from_hour=from_hour, to_hour=to_hour))
    for name in ("sharpe", "sortino", "volatility", "max_drawdown", "days", "total_return"):
        assert more[name] == whole[name] or more[name] == pytest.approx(whole[name], rel=1e-12), name
    if days >= 30:  # the same money in a longer time
        years = (days + (from_hour + to_hour) / 24) / 365
        assert more["cagr"] == pytest.approx((1 + whole["total_return"]) ** (1 / years) - 1, rel=1e-9)


@pytest.mark.parametrize("days", [1, 2, 29])
def test_a_short_run_has_no_yearly_rate_and_says_why(days):
    out = metrics.curve_summary(*curve(np.full(days, 0.01), to_hour=12))
    why = metrics.why_undefined(out)
    assert out["cagr"] is None
    assert out["calmar"] is None
    assert why["cagr"] == f"the time measured is {days}.5 days; a yearly rate needs 30"


def test_equal_moves_of_a_curve_have_no_sharpe_ratio_though_rounding_tells_them_apart():
    out = metrics.curve_summary(*curve(np.full(48, -0.023)))
    assert (out["sharpe"], out["volatility"]) == (None, 0.0)


def test_every_undefined_figure_has_a_reason():
    empty = np.empty(0)
    none = metrics.summary(empty.astype(int), empty, notional=empty, trades=[], fills=[], trials=2)
    assert metrics.why_undefined(none).keys() == {name for name, value in none.items() if value is None}
    assert set(metrics.why_undefined(none).values()) == {"there are no bars to measure"}
    flat = metrics.summary(*curve(np.zeros(40)), notional=np.zeros(41), trades=[], fills=[], trials=2)
    why = metrics.why_undefined(flat)
    assert why["sharpe"] == "all daily returns are equal"
    assert why["sortino"] == "no day lost"
    assert why["calmar"] == why["max_drawdown_days"] == "the equity never fell"
    assert why["profit_factor"] == why["win_rate"] == "there are no trades"


def test_exposure_and_turnover_by_hand():
    assert metrics.exposure(np.array([0.0, 5, -5, 0])) == 0.5
    ts = np.array([0, 73]) * DAY_MS  # a fifth of a year
    assert metrics.turnover(ts, np.array([100.0, 300.0]), 400.0) == pytest.approx(10.0)


def test_activity_without_bars_is_undefined():
    assert metrics.exposure(np.empty(0)) is None
    assert metrics.turnover(np.array([5]), np.array([1.0]), 1.0) is None


REQUIRED = [
    "sharpe",
    "sortino",
    "calmar",
    "max_drawdown",
    "cagr",
    "profit_factor",
    "win_rate",
    "exposure",
    "turnover",
]


@given(st.lists(st.integers(-50, 300), max_size=60), st.integers(1, 3 * DAY_MS))
def test_a_summary_is_finite_or_none_whatever_the_curve(values, step_ms):
    ts = MIDNIGHT + np.arange(len(values)) * step_ms
    out = metrics.summary(
        ts, np.array(values, float), notional=np.zeros(len(values)), trades=[], fills=[], trials=3
    )
    assert set(REQUIRED) <= set(out)
    assert all(value is None or np.isfinite(value) for value in out.values())


def test_a_summary_counts_costs_and_trades():
    fills = [
        fill("Buy", "2", "100", ts_ms=HOUR_MS, fee="1"),
        fill("Sell", "2", "110", ts_ms=2 * HOUR_MS, fee="1.1"),
    ]
    ts = np.arange(4) * DAY_MS
    out = metrics.summary(
        ts,
        np.array([1000.0, 990, 1018, 1017.9]),
        notional=np.array([0, 200, 0, 0]),
        trades=metrics.round_trips(fills),
        fills=fills,
        funding_quote=Decimal("-0.5"),
    )
    assert (out["fees"], out["funding"], out["traded_notional"]) == (2.1, -0.5, 420.0)
    assert out["net_pnl"] == pytest.approx(17.9)
    assert (out["trades"], out["win_rate"], out["expectancy"]) == (1, 1.0, pytest.approx(17.9))
    assert out["exposure"] == 0.25
    assert out["mean_hours_held"] == 1.0
    assert out["max_drawdown_days"] == 2.0  # peak at the start, passed again at the second day's end
    assert "deflated_sharpe" not in out
