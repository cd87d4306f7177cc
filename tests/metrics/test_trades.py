from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import metrics
from bot.domain.messages import FundingPaid
from tests.metrics.builders import cash_of, fill


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


# Statistics


def test_trade_statistics_by_hand():
    pnl = np.array([30.0, -10.0, 0.0, 20.0, -20.0, -5.0])
    assert metrics.profit_factor(pnl) == pytest.approx(50 / 35)
    assert metrics.win_rate(pnl) == pytest.approx(2 / 6)
    assert metrics.expectancy(pnl) == pytest.approx(15 / 6)
    assert metrics.longest_losing_streak(np.array([-1.0, 1.0, -1.0, 0.0, -2.0, 3.0])) == 3
    # mean 2.5, squared deviations 756.25+156.25+6.25+306.25+506.25+56.25 = 1787.5, /5 = 357.5
    assert metrics.sqn(pnl) == pytest.approx(6**0.5 * 2.5 / 357.5**0.5)


def test_trade_figures_without_trades_are_undefined():
    none = np.empty(0)
    assert [f(none) for f in (metrics.profit_factor, metrics.win_rate, metrics.expectancy, metrics.sqn)] == [
        None
    ] * 4
    assert metrics.profit_factor(np.array([1.0, 2.0])) is None
    assert metrics.sqn(np.array([1.0, 1.0])) is None
