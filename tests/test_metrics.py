from decimal import Decimal, localcontext
from fractions import Fraction

import empyrical
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bot import metrics
from bot.domain.ledger import Fill
from bot.domain.market import DAY_MS, HOUR_MS
from bot.domain.messages import FundingPaid
from bot.domain.orders import Side

RTOL = 1e-12  # a few hundred float64 operations in another order
MIDNIGHT = 19_800 * DAY_MS

daily_moves = hnp.arrays(
    np.int64,
    st.integers(2, 400),
    elements=st.integers(-300, 300),
).map(lambda thousandths: thousandths / 1e3)


def fill(side: Side, qty: str, price: str, *, ts_ms: int = 0, fee: str = "0", symbol: str = "X") -> Fill:
    return Fill(
        ts_ms=ts_ms,
        symbol=symbol,
        side=side,
        qty=Decimal(qty),
        price=Decimal(price),
        fee_quote=Decimal(fee),
        order_id="o",
        exec_id="e",
    )


def cash_of(fills: list[Fill]) -> Decimal:
    with localcontext(prec=200):
        return sum(
            (f.qty * f.price * (1 if f.side == "Sell" else -1) - f.fee_quote for f in fills), Decimal(0)
        )


def close_to(ours: float | None, theirs: float) -> bool:
    if not np.isfinite(theirs):
        return ours is None
    return ours is not None and bool(np.isclose(ours, theirs, rtol=RTOL, atol=1e-14))


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


# Part days


def curve(
    returns: np.ndarray, *, from_hour: float = 0.0, to_hour: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Hourly values of whole days with these returns, after and before idle parts of a day."""
    daily = np.cumprod(np.append(1000.0, 1.0 + returns))
    ts = MIDNIGHT + np.arange(len(daily)) * DAY_MS
    lead = [MIDNIGHT - round(from_hour * HOUR_MS)] if from_hour else []
    tail = [int(ts[-1]) + round(to_hour * HOUR_MS)] if to_hour else []
    values = [*daily[:1].repeat(len(lead)), *daily, *daily[-1:].repeat(len(tail))]
    return np.array([*lead, *ts, *tail]), np.array(values)


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


def test_trade_statistics_by_hand():
    pnl = np.array([30.0, -10.0, 0.0, 20.0, -20.0, -5.0])
    assert metrics.profit_factor(pnl) == pytest.approx(50 / 35)
    assert metrics.win_rate(pnl) == pytest.approx(2 / 6)
    assert metrics.expectancy(pnl) == pytest.approx(15 / 6)
    assert metrics.longest_losing_streak(np.array([-1.0, 1.0, -1.0, 0.0, -2.0, 3.0])) == 3
    # mean 2.5, squared deviations 756.25+156.25+6.25+306.25+506.25+56.25 = 1787.5, /5 = 357.5
    assert metrics.sqn(pnl) == pytest.approx(6**0.5 * 2.5 / 357.5**0.5)


def test_exposure_and_turnover_by_hand():
    assert metrics.exposure(np.array([0.0, 5, -5, 0])) == 0.5
    ts = np.array([0, 73]) * DAY_MS  # a fifth of a year
    assert metrics.turnover(ts, np.array([100.0, 300.0]), 400.0) == pytest.approx(10.0)


def test_qlike_is_zero_for_a_perfect_forecast_and_worse_for_too_low_ones():
    rv = np.array([1.0, 2.0])
    assert metrics.qlike(rv, rv) == 0.0
    assert metrics.qlike(rv, rv / 2) == pytest.approx(2 - np.log(2) - 1)
    assert metrics.qlike(rv, rv / 2) > metrics.qlike(rv, rv * 2)


def test_deflated_sharpe_gives_the_papers_example():
    # Bailey & López de Prado 2014, "A numerical example": SR 2.5 a year of 250 days, 5 years, V = 1/2.
    probability = metrics.deflated_probability(
        2.5 / 250**0.5, days=1250, skew=-3, kurtosis=10, trials=100, trial_variance=0.5 / 250
    )
    assert probability == pytest.approx(0.9004, abs=5e-5)


def test_more_trials_make_the_same_result_less_credible():
    returns = np.random.default_rng(1).normal(0.002, 0.01, 200)
    chances = [metrics.deflated_sharpe(returns, n) for n in (1, 2, 10, 1000)]
    assert chances[0] > 0.95 > chances[1] > chances[2] > chances[3]


def test_deflated_sharpe_uses_the_moments_of_the_returns():
    returns = np.random.default_rng(2).gamma(2.0, 0.01, 300) - 0.018
    assert metrics.deflated_sharpe(returns, 7, 0.01) == pytest.approx(
        metrics.deflated_probability(
            float(np.mean(returns) / np.std(returns, ddof=1)),
            days=300,
            skew=float(scipy.stats.skew(returns)),
            kurtosis=float(scipy.stats.kurtosis(returns, fisher=False)),
            trials=7,
            trial_variance=0.01,
        )
    )


def test_rolling_sharpe_looks_back_only():
    returns = np.random.default_rng(3).normal(0, 0.01, 50)
    rolling = metrics.rolling_sharpe(returns, 30)
    assert np.isnan(rolling[:29]).all()
    assert rolling[29] == metrics.sharpe(returns[:30])
    assert rolling[49] == metrics.sharpe(returns[20:])


def test_day_bootstrap_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(100):
        estimate = metrics.day_bootstrap(rng.normal(1.0, 1.0, 60), seed=seed, n=200)
        hits += estimate.low <= 1.0 <= estimate.high
    assert 88 <= hits <= 99


def test_day_bootstrap_is_reproducible_and_takes_any_statistic_of_days():
    sums = np.array([[2.0, 1], [8.0, 2], [3.0, 3]])
    pooled = metrics.day_bootstrap(sums, lambda rows: rows[:, 0].sum() / rows[:, 1].sum(), seed=3)
    again = metrics.day_bootstrap(sums, lambda rows: rows[:, 0].sum() / rows[:, 1].sum(), seed=3)
    assert pooled == again
    assert pooled.value == pytest.approx(13 / 6)
    assert (pooled.low, pooled.high) == (1.0, 4.0)


# What is undefined is None


def test_ratios_without_deviation_are_undefined():
    flat, rising = np.zeros(5), np.full(5, 0.1)
    for returns in (flat, rising, np.empty(0), np.array([0.1])):
        assert metrics.sharpe(returns) is None
        assert metrics.sortino(returns) is None
        assert metrics.calmar(returns) is None
    assert metrics.volatility(np.array([0.1])) is None
    assert metrics.cagr(np.array([0.1])) is None
    assert metrics.deflated_sharpe(flat, 5) is None


def test_trade_figures_without_trades_are_undefined():
    none = np.empty(0)
    assert [f(none) for f in (metrics.profit_factor, metrics.win_rate, metrics.expectancy, metrics.sqn)] == [
        None
    ] * 4
    assert metrics.profit_factor(np.array([1.0, 2.0])) is None
    assert metrics.sqn(np.array([1.0, 1.0])) is None
    assert metrics.exposure(none) is None
    assert metrics.turnover(np.array([5]), np.array([1.0]), 1.0) is None
    assert metrics.qlike(none, none) is None
    assert metrics.qlike(np.array([1.0]), np.array([0.0])) is None
    assert metrics.day_bootstrap(np.array([1.0]), seed=0) is None
    assert metrics.day_bootstrap(np.ones(5), lambda rows: np.nan, seed=0) is None


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


# Round trips


def test_each_entry_and_exit_pair_is_one_trade():
    fills = [
        fill("Buy", "1", "100", ts_ms=0, fee="0.055"),
        fill("Sell", "1", "103", ts_ms=300_000, fee="0.05665"),
        fill("Sell", "2", "50", ts_ms=600_000, fee="0.1"),
        fill("Buy", "2", "51", ts_ms=900_000, fee="0.1"),
    ]
    first, second = metrics.round_trips(fills, interval_ms=60_000)
    assert (first.side, first.pnl_quote, first.bars_held) == ("Buy", Decimal("2.88835"), 5)
    assert (second.side, second.pnl_quote, second.fees_quote) == ("Sell", Decimal("-2.2"), Decimal("0.2"))
    assert first.return_frac == pytest.approx(0.0288835)


def test_scaling_in_and_out_is_one_trade_at_average_prices():
    fills = [
        fill("Buy", "1", "100"),
        fill("Buy", "3", "104"),
        fill("Sell", "2", "110"),
        fill("Buy", "1", "109"),
        fill("Sell", "3", "120", ts_ms=9),
    ]
    (trade,) = metrics.round_trips(fills)
    assert (trade.qty, trade.entry_price, trade.exit_price) == (5, Decimal("104.2"), 116)
    assert trade.pnl_quote == 59  # 5 · (116 − 104.2)


def test_a_flip_is_split_and_shares_its_fee():
    fills = [fill("Buy", "1", "100"), fill("Sell", "3", "110", fee="1"), fill("Buy", "2", "105")]
    long, short = metrics.round_trips(fills)
    assert (long.side, short.side, short.qty) == ("Buy", "Sell", 2)
    assert float(long.fees_quote) == pytest.approx(1 / 3)
    assert Fraction(long.fees_quote) + Fraction(short.fees_quote) == 1
    assert Fraction(long.pnl_quote) + Fraction(short.pnl_quote) == 10 + 10 - 1


def test_what_is_still_open_is_not_a_trade():
    assert metrics.round_trips([fill("Buy", "2", "100"), fill("Sell", "1", "101")]) == []


def test_symbols_do_not_mix():
    fills = [fill("Buy", "1", "100", symbol="A"), fill("Sell", "1", "100", symbol="B")]
    assert metrics.round_trips(fills) == []


def test_funding_belongs_to_the_trade_open_before_the_fills_of_its_instant():
    fills = [
        fill("Buy", "1", "100", ts_ms=8),
        fill("Sell", "1", "100", ts_ms=16),
        fill("Sell", "1", "100", ts_ms=16),
    ]
    fills.append(fill("Buy", "1", "100", ts_ms=30))
    paid = [FundingPaid(ts, "X", Decimal(amount)) for ts, amount in ((8, "7"), (16, "-2"), (24, "3"))]
    first, second = metrics.round_trips(fills, funding=paid)
    assert (first.funding_quote, first.pnl_quote) == (-2, -2)
    assert (second.funding_quote, second.pnl_quote) == (3, 3)


money = st.floats(0.001, 1e5).map(lambda x: repr(x))
a_fill = st.tuples(
    st.sampled_from(["Buy", "Sell"]), money, money, st.floats(-1, 50).map(lambda x: f"{x:.12f}")
)


@given(st.lists(a_fill, min_size=1, max_size=25))
def test_pnl_of_trades_is_the_cash_that_moved_when_flat_at_the_end(rows):
    fills = [fill(side, qty, price, fee=fee) for side, qty, price, fee in rows]
    with localcontext(prec=200):
        left = sum((f.qty if f.side == "Buy" else -f.qty for f in fills), Decimal(0))
    if left:
        fills.append(fill("Sell" if left > 0 else "Buy", str(abs(left)), "17.3", fee="0.1"))
    trades = metrics.round_trips(fills)
    with localcontext(prec=200):
        assert sum((t.pnl_quote for t in trades), Decimal(0)) == cash_of(fills)
        assert sum((t.fees_quote for t in trades), Decimal(0)) == sum(
            (f.fee_quote for f in fills), Decimal(0)
        )


def test_excursions_are_the_extremes_while_it_was_open():
    start = np.arange(5) * 60_000
    high, low = np.array([200.0, 106, 103, 300, 300]), np.array([1.0, 99, 90, 1, 1])
    fills = [fill("Buy", "1", "100", ts_ms=60_000), fill("Sell", "1", "102", ts_ms=180_000)]
    (long,) = metrics.with_excursions(metrics.round_trips(fills), start, high, low)
    assert (long.mae_frac, long.mfe_frac) == pytest.approx((-0.10, 0.06))
    mirrored = [fill("Sell", "1", "100", ts_ms=60_000), fill("Buy", "1", "102", ts_ms=180_000)]
    (short,) = metrics.with_excursions(metrics.round_trips(mirrored), start, high, low)
    assert (short.mae_frac, short.mfe_frac) == pytest.approx((-0.06, 0.10))


def test_an_exit_beyond_every_bar_seen_counts_as_an_excursion():
    fills = [fill("Buy", "1", "100", ts_ms=0), fill("Sell", "1", "80", ts_ms=10)]
    (trade,) = metrics.with_excursions(
        metrics.round_trips(fills), np.array([0]), np.array([101.0]), np.array([99.0])
    )
    assert (trade.mae_frac, trade.mfe_frac) == pytest.approx((-0.2, 0.01))
    fills[1] = fill("Sell", "1", "130", ts_ms=10)
    (trade,) = metrics.with_excursions(
        metrics.round_trips(fills), np.array([0]), np.array([101.0]), np.array([99.0])
    )
    assert (trade.mae_frac, trade.mfe_frac) == pytest.approx((-0.01, 0.3))
