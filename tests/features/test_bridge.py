import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import BadInput
from bot.features.bridge import NO_BRIDGE, Bridge, bridged, filled
from tests.research import series

CANDLES = series.candles(60)
RATES = np.linspace(-1e-4, 1e-4, 60)
BRIDGE = Bridge(rewarm_bars=(0, 2, 3), repay_bars=4)


def without(*missing: int, bridge: Bridge = BRIDGE, ohlcv: np.ndarray = CANDLES.ohlcv):
    """The series without these bars, bridged; and the bars that are left."""
    kept = np.setdiff1d(np.arange(60), missing)
    return bridged(bridge, CANDLES.start_ms[kept], ohlcv[kept], RATES[kept], series.INTERVAL_MS), kept


def reach(bars, at: int = 0) -> bool:
    """Whether the bar with the number ``at`` was filled in."""
    return bool(np.isin(CANDLES.start_ms[at], bars.start_ms))


def test_missing_bars_lie_on_a_line_from_the_last_close_to_the_next_open_with_the_last_volume():
    assert filled(10.0, 7.0, 13.0, 3).tolist() == [
        [10.0, 11.0, 10.0, 11.0, 7.0],
        [11.0, 12.0, 11.0, 12.0, 7.0],
        [12.0, 13.0, 12.0, 13.0, 7.0],
    ]
    assert filled(10.0, 7.0, 8.0, 1).tolist() == [[10.0, 10.0, 8.0, 8.0, 7.0]]


@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300), st.integers(1, 50))
def test_filled_bars_are_candles_between_both_prices_at_any_price(close, next_open, bars):
    o, h, low, c, _ = filled(close, 1.0, next_open, bars).T
    assert (o[0], c[-1]) == (close, next_open)
    assert ((low <= o) & (o <= h) & (low <= c) & (c <= h)).all()
    bounds = sorted((close, next_open))
    assert (low >= bounds[0] * (1 - 1e-12)).all()
    assert (h <= bounds[1] * (1 + 1e-12)).all()


def test_a_hole_of_k_bars_is_bridged_and_one_of_k_plus_1_is_not():
    bars, kept = without(20, 21, 22)
    assert reach(bars, 21)
    assert bars.real.sum() == len(kept)
    assert np.diff(bars.start_ms).tolist() == [series.INTERVAL_MS] * 59
    bars, kept = without(20, 21, 22, 23)
    assert bars.real.all()
    assert bars.start_ms.tolist() == CANDLES.start_ms[kept].tolist()


def test_filled_bars_carry_the_last_funding_rate_and_real_bars_are_untouched():
    bars, kept = without(20, 21)
    assert bars.funding[20:22].tolist() == [RATES[19]] * 2
    assert bars.ohlcv[20, 0] == CANDLES.ohlcv[19, 3]
    assert bars.ohlcv[21, 3] == CANDLES.ohlcv[22, 0]
    np.testing.assert_array_equal(bars.ohlcv[bars.real], CANDLES.ohlcv[kept])
    np.testing.assert_array_equal(bars.funding[bars.real], RATES[kept])


@pytest.mark.parametrize("bars", [1, 2, 3])
def test_forecasts_are_withheld_for_as_many_bars_as_the_length_says(bars):
    found, _ = without(*range(20, 20 + bars))
    withheld = np.flatnonzero(found.withheld)
    assert withheld.tolist() == list(range(20, 20 + bars + BRIDGE.rewarm_bars[bars - 1]))


def test_holes_that_follow_soon_add_up():
    near, far = (20, 21, 23, 24), (20, 21, 27, 28)  # each bridged bar counts for four bars
    assert not reach(without(*near)[0], 23)
    found, _ = without(*far)
    assert reach(found, 27)
    after = 29 + np.arange(4)
    assert found.withheld[after].tolist() == [True, True, True, False]  # as after three missing bars


def test_a_stream_of_holes_is_bridged_only_as_densely_as_was_validated():
    assert without(*range(20, 60, 4))[0].real.sum() == 50
    assert without(*range(20, 60, 4))[0].start_ms.tolist() == CANDLES.start_ms.tolist()
    denser, _ = without(*range(20, 60, 3))  # each hole adds one bar to what is owed, until it is too much
    assert [reach(denser, at) for at in (44, 47, 50)] == [True, False, True]


def test_after_a_hole_that_is_too_long_earlier_holes_are_forgotten():
    found, _ = without(20, 21, 22, 30, 31, 32, 33, 36, 37, 38)
    assert [reach(found, at) for at in (21, 31, 37)] == [True, False, True]


def test_a_series_without_holes_is_itself():
    for bridge in (BRIDGE, NO_BRIDGE):
        bars, _ = without(bridge=bridge)
        np.testing.assert_array_equal(bars.ohlcv, CANDLES.ohlcv)
        assert bars.real.all()
        assert not bars.withheld.any()


@given(st.sets(st.integers(1, 58)), st.integers(1, 59))
def test_the_future_cannot_change_the_past(missing, at):
    changed = CANDLES.ohlcv.copy()
    changed[at:] *= 1.5
    later = {bar for bar in missing if bar < at} | {at + 1}
    one, _ = without(*missing)
    for other in (without(*missing, ohlcv=changed)[0], without(*later)[0]):
        kept = np.setdiff1d(np.arange(at), list(missing))
        last_ms = CANDLES.start_ms[kept[-1]]
        for name in ("start_ms", "ohlcv", "funding", "real", "withheld"):
            before = [getattr(bars, name)[bars.start_ms <= last_ms] for bars in (one, other)]
            np.testing.assert_array_equal(*before)


@pytest.mark.parametrize("wrong", [((-1,), 1), ((3, 2), 1), ((0,), 0)])
def test_a_bridge_that_means_nothing_is_refused(wrong):
    with pytest.raises(BadInput, match="rewarm_bars"):
        Bridge(*wrong)
