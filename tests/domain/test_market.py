import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import BadBar, BadInput
from bot.domain.market import DAY_MS, INTERVALS_MS, Bar, Instrument, interval_name
from tests.helpers import T0


def make(**changes: object) -> Bar:
    values: dict[str, object] = {
        "symbol": "BTCUSDT",
        "interval_ms": 60_000,
        "start_ms": T0,
        "open": 100.0,
        "high": 101.0,
        "low": 99.0,
        "close": 100.5,
        "volume": 3.0,
    }
    return Bar(**(values | changes))  # type: ignore[arg-type]


def test_a_bar_ends_where_the_next_begins() -> None:
    assert make().close_ms == T0 + 60_000


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"low": 0.0}, "low must be positive"),
        ({"open": -1.0}, "open must be positive"),
        ({"high": math.inf}, "high must be positive and finite"),
        ({"close": math.nan}, "close must be positive"),
        ({"high": 100.2}, "must enclose"),
        ({"low": 100.2}, "must enclose"),
        ({"high": 98.0, "low": 102.0}, "must enclose"),
        ({"volume": -1.0}, "volume"),
        ({"volume": math.nan}, "volume"),
        ({"start_ms": T0 + 1}, "multiple of the interval"),
        ({"turnover": -1.0}, "turnover"),
        ({"turnover": math.nan}, "turnover"),
    ],
)
def test_an_impossible_bar_is_refused_with_the_reason(changes: dict[str, object], words: str) -> None:
    with pytest.raises(BadBar, match=words):
        make(**changes)


@given(*[st.floats() for _ in range(5)])
def test_a_bar_that_exists_is_valid(
    opened: float, high: float, low: float, close: float, volume: float
) -> None:
    try:
        bar = make(open=opened, high=high, low=low, close=close, volume=volume)
    except BadBar:
        return
    assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high < math.inf
    assert 0 <= bar.volume < math.inf


def test_a_bar_without_volume_and_movement_is_valid() -> None:
    assert make(open=1.0, high=1.0, low=1.0, close=1.0, volume=0.0, turnover=0.0).volume == 0


@pytest.mark.fault(6)
@pytest.mark.parametrize("name", INTERVALS_MS)
def test_every_interval_has_its_name_and_divides_a_day(name: str) -> None:
    assert interval_name(INTERVALS_MS[name]) == name
    assert DAY_MS % INTERVALS_MS[name] == 0


def test_an_interval_without_a_name_is_refused() -> None:
    with pytest.raises(BadInput, match="61000"):
        interval_name(61_000)


def test_the_exact_instrument_has_no_grid_and_no_minimum() -> None:
    exact = Instrument.exact("X")
    assert (exact.tick_size, exact.qty_step, exact.min_qty, exact.min_notional_quote) == (0, 0, 0, 0)
