from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.ledger import Cash, Position
from bot.domain.orders import Side

D = Decimal
fills = st.lists(
    st.tuples(
        st.sampled_from(["Buy", "Sell"]),
        st.decimals("0.001", "1000", places=3),
        st.decimals("0.0001", "100000", places=4),
    ),
    max_size=40,
)
floats = st.lists(
    st.tuples(
        st.sampled_from(["Buy", "Sell"]),
        st.floats(1e-3, 1e6).map(lambda x: D(repr(x))),
        st.floats(1e-6, 1e6).map(lambda x: D(repr(x))),
    ),
    max_size=40,
)


def test_opening_realises_nothing_and_closing_realises_the_difference() -> None:
    position = Position()
    assert position.apply("Buy", D(2), D(100)) == 0
    assert position.apply("Buy", D(2), D(110)) == 0
    assert position.entry_price == D(105)
    assert position.apply("Sell", D(1), D(120)) == 15  # 120 − 105
    assert position.apply("Sell", D(3), D(100)) == -15  # 3 × (100 − 105)
    assert position == Position()
    assert position.entry_price is None


@pytest.mark.fault(50)
def test_a_fill_through_zero_realises_the_old_side_and_opens_the_new_at_its_price() -> None:
    position = Position()
    position.apply("Buy", D(2), D(100))
    assert position.apply("Sell", D(5), D(110)) == 20
    assert (position.qty, position.entry_price) == (-3, 110)
    assert position.apply("Buy", D(5), D(100)) == 30
    assert (position.qty, position.entry_price) == (2, 100)


def test_a_short_gains_when_the_price_falls() -> None:
    position = Position()
    position.apply("Sell", D(2), D(100))
    assert position.unrealised(D(90)) == 20
    assert position.apply("Buy", D(1), D(90)) == 10


def test_the_balance_is_income_minus_costs() -> None:
    assert Cash(D(100), realised=D(7), fees=D(2), funding=D(-1)).balance == 104
    assert Cash(D(100), fees=D(-2)).balance == 102


def books(trades: list[tuple[Side, D, D]], mark: D) -> tuple[Fraction, Fraction, Fraction]:
    """Return the profit by the ledger, the profit by the oracle, and the difference of the positions."""
    position, realised = Position(), D(0)
    money = held = Fraction(0)
    for side, qty, price in trades:
        realised += position.apply(side, qty, price)
        signed = Fraction(qty) if side == "Buy" else -Fraction(qty)
        held += signed
        money -= Fraction(round(signed * Fraction(price) * 10**12), 10**12)
    ledger = Fraction(realised) + Fraction(position.qty) * Fraction(mark) - Fraction(position.entry_value)
    return ledger, money + held * Fraction(mark), held - Fraction(position.qty)


@pytest.mark.fault(47)
@given(fills, st.decimals("0.0001", "100000", places=4))
def test_realised_profit_equals_the_sum_of_the_fills_exactly(
    trades: list[tuple[Side, D, D]], mark: D
) -> None:
    ledger, oracle, off = books(trades, mark)
    assert ledger == oracle
    assert off == 0


@given(floats)
def test_prices_and_quantities_on_no_grid_balance_to_the_last_money_step(
    trades: list[tuple[Side, D, D]],
) -> None:
    # The product of two 17-digit numbers is rounded to 28 digits and then to 1e-12: one step at most.
    ledger, oracle, off = books(trades, D(0))
    assert abs(ledger - oracle) <= Fraction(len(trades), 10**12)
    assert off == 0


@pytest.mark.fault(47)
def test_twenty_thousand_fills_leave_no_rounding_drift() -> None:
    trades: list[tuple[Side, D, D]] = [
        ("Buy" if i * 7919 % 13 < 6 else "Sell", D(1 + i * 31 % 997) / 1000, D(90_000 + i * 17 % 20_011) / 10)
        for i in range(20_000)
    ]
    ledger, oracle, off = books(trades, D("9500.1"))
    assert ledger == oracle
    assert off == 0


@given(fills)
def test_the_entry_price_stays_between_the_prices_paid(trades: list[tuple[Side, D, D]]) -> None:
    position = Position()
    for _, qty, price in trades:
        position.apply("Buy", qty, price)
    if trades:
        paid = [price for _, _, price in trades]
        assert position.entry_price is not None
        assert min(paid) <= round(position.entry_price, 9) <= max(paid)
