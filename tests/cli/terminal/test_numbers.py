"""Numbers as people write them."""

from decimal import Decimal
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.cli.terminal.numbers import counts, money, percent, price, quantity, span


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (money(10023.4567), "10,023.46"),
        (money(12.3, signed=True), "+12.30"),
        (money(-0.001, signed=True), "+0.00"),
        (money(Decimal("-1234.5")), "-1,234.50"),
        (money(None), "?"),
        (money(nan), "?"),
        (price(97123.43333333), "97,123.43"),
        (price(97123.4), "97,123.4"),
        (price(3326.0), "3,326"),
        (price(0.000012345678), "0.00001234568"),
        (price("0.00001234567891"), "0.00001234567891"),
        (price(0.0), "0"),
        (price(inf), "?"),
        (price(123_456_789.5), "123,456,790"),
        (quantity("0.0120"), "0.012"),
        (quantity(Decimal("1E+3")), "1,000"),
        (quantity(0.391), "0.391"),
        (quantity(None), "?"),
        (percent(0.0235), "2.35 %"),
        (percent(-0.00001, signed=True), "+0.00 %"),
        (span(31_400), "0:31"),
        (span(725_000), "12:05"),
        (span(10_800_000), "3:00:00"),
        (span(-5), "0:00"),
    ],
)
def test_a_number_is_written_as_people_do(said: str, text: str) -> None:
    assert said == text


@given(st.floats(1e-9, 1e12))
def test_a_price_keeps_seven_digits(value: float) -> None:
    assert float(price(value).replace(",", "")) == pytest.approx(value, rel=5e-7)


@given(st.decimals(min_value="-1e12", max_value="1e12", places=18, allow_nan=False))
def test_a_quantity_keeps_every_digit(value: Decimal) -> None:
    assert Decimal(quantity(value).replace(",", "")) == value


def test_one_of_a_thing_is_named_as_one() -> None:
    assert (
        counts({"bars": 1, "orders": 2_000, "fills": 0}, "bar", "order", "fill")
        == "1 bar, 2,000 orders, 0 fills"
    )
