from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import BadInput
from bot.domain.money import ceil_to, floor_to, to_decimal, to_money

D = Decimal
amounts = st.decimals(min_value=-(10**9), max_value=10**9, places=6)
steps = st.sampled_from([D("0.001"), D("0.05"), D("0.1"), D("0.5"), D(1), D(100)])


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_survives_the_way_to_decimal_and_back(value: float) -> None:
    assert float(to_decimal(value)) == value


def test_a_float_becomes_its_shortest_decimal() -> None:
    assert str(to_decimal(0.1)) == "0.1"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_never_becomes_money(value: float) -> None:
    with pytest.raises(BadInput, match="finite"):
        to_decimal(value)


@given(amounts, steps)
def test_rounding_to_a_step_returns_the_nearest_multiple_in_its_direction(value: D, step: D) -> None:
    low, high = floor_to(value, step), ceil_to(value, step)
    assert low <= value <= high
    assert Fraction(low) % Fraction(step) == 0 == Fraction(high) % Fraction(step)
    assert high - low in (0, step)


@given(amounts)
def test_a_step_of_zero_leaves_the_value_unchanged(value: D) -> None:
    assert floor_to(value, D(0)) == value == ceil_to(value, D(0))


@given(amounts, amounts)
def test_money_is_on_its_grid_and_short_amounts_are_untouched(first: D, second: D) -> None:
    assert str(to_money(first)) == str(first)
    product = to_money(first * second / 7) if abs(first * second) < 10**15 else D(0)
    assert Fraction(product) * 10**12 % 1 == 0
    assert (
        abs(Fraction(product) - Fraction(first) * Fraction(second) / 7) <= Fraction(1, 10**12) or not product
    )
