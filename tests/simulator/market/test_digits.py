from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from bot.simulator.market.digits import StepGrid, at_least, shortest


@given(st.floats(min_value=1e-9, max_value=1e15))
def test_text_reads_back_as_the_same_number_without_an_exponent(value: float) -> None:
    for text in (shortest(value), at_least(value, 2)):
        assert float(text) == value
        assert "e" not in text


def test_text_has_the_digits_that_bybit_writes() -> None:
    assert (shortest(84045.0), shortest(0.00001), shortest(0.0)) == ("84045", "0.00001", "0")
    assert (at_least(84594.4, 2), at_least(3.0, 4), at_least(0.12345, 2)) == ("84594.40", "3.0000", "0.12345")
    assert at_least(5.0, 0) == "5"


@given(st.integers(min_value=1, max_value=10**9), st.sampled_from(["0.1", "0.05", "0.00001", "5", "0.10"]))
def test_a_multiple_of_a_step_is_the_nearest_float_and_exact_text(multiple: int, text: str) -> None:
    step = StepGrid(Decimal(text))
    exact = multiple * Decimal(text)
    assert step.value(multiple) == float(exact)
    assert Decimal(step.text(multiple)) == step.decimal(multiple) == exact
    assert step.nearest(step.value(multiple)) == step.below(step.value(multiple)) == multiple
