import time
from decimal import Decimal

import numpy as np
import pytest

from bot import metrics
from bot.web import numbers


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (-0.0173, "percent", "−1.73 %"),
        (1234.5, "money", "1,234.50"),
        (12, "count", "12"),
        (3.25, "days", "3.2 d"),
        (None, "ratio", "–"),
        (float("nan"), "ratio", "–"),
        (float("inf"), "money", "–"),
    ],
)
def test_numbers_read_with_their_unit(value, kind, text):
    assert numbers.show(value, kind) == text


def test_a_gain_has_a_plus_sign_if_signed():
    assert numbers.show(0.01, "percent", signed=True) == "+1.00 %"


def test_prices_keep_six_digits_and_quantities_all_of_them():
    assert numbers.price(61234.5678) == "61,234.6"
    assert numbers.price(0.0123456789) == "0.0123457"
    assert numbers.price(0.0) == "0"
    assert numbers.quantity(Decimal("1234.00500")) == "1,234.005"
    assert numbers.quantity(Decimal("1E+3")) == "1,000"


def test_times_are_utc_wherever_the_machine_is(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    assert numbers.when(1_704_067_200_000) == "2024-01-01 00:00"
    monkeypatch.undo()
    time.tzset()


def test_times_are_utc_and_durations_short():
    assert numbers.when(1_704_067_200_000) == "2024-01-01 00:00"
    assert numbers.lasted(3 * 86_400_000 + 4 * 3_600_000 + 5_000) == "3 d 4 h"
    assert numbers.lasted(40_000) == "40 s"
    assert numbers.lasted(0) == "0 s"


def test_a_return_in_a_small_cell_has_its_sign_and_no_unit():
    assert [numbers.signed_percent(v) for v in (0.0123, -0.05, 0.0)] == ["+1.2", "−5.0", "+0.0"]


def test_every_metric_has_a_label_and_a_meaning():
    none = np.empty(0)
    made = metrics.summary(none.astype(int), none, notional=none, trades=[], fills=[], trials=2)
    assert set(made) == set(numbers.METRICS)
    assert all(metric.meaning for metric in numbers.METRICS.values())
