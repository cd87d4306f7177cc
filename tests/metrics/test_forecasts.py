import numpy as np
import pytest

from bot import metrics


def test_qlike_is_zero_for_a_perfect_forecast_and_worse_for_too_low_ones():
    rv = np.array([1.0, 2.0])
    assert metrics.qlike(rv, rv) == 0.0
    assert metrics.qlike(rv, rv / 2) == pytest.approx(2 - np.log(2) - 1)
    assert metrics.qlike(rv, rv / 2) > metrics.qlike(rv, rv * 2)


def test_qlike_without_rows_or_of_a_variance_of_zero_is_undefined():
    none = np.empty(0)
    assert metrics.qlike(none, none) is None
    assert metrics.qlike(np.array([1.0]), np.array([0.0])) is None
