from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.adapters.model import checkpoint
from bot.adapters.model.predictor import (
    BulkPredictor,
    KernelPredictor,
    TorchPredictor,
    bridged_candles,
    bulk_forecasts,
    complete,
    feature_rows,
    forecast_table,
    settled_rows,
    step_forecasts,
)
from bot.domain.errors import BadInput, BadModel, Broken
from bot.domain.market import Forecast
from tests.research import series

SLOT = np.zeros(1, np.int64)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return checkpoint.load(series.saved_model(tmp_path_factory.mktemp("predictor")))


@pytest.fixture(scope="module")
def rows():
    return series.rows(series.candles(1500))


def apart(one, other):
    """Largest distance of two tables: variances and spreads in logarithms, returns over their spread."""
    logs = [0, 1, 4, 5]
    known = complete(one)
    assert (known == complete(other)).all()
    one, other = one[known], other[known]
    ratios = np.abs(np.log(one[:, logs]) - np.log(other[:, logs]))
    returns = np.abs(one[:, 2:4] - other[:, 2:4]) / one[:, 4:6]
    return max(ratios.max(), returns.max())


def test_bulk_and_step_agree(model):
    candles = series.without(series.candles(2500), 900, 930)
    bulk, step = (forecast_table(model, candles, None, form=form) for form in ("bulk", "step"))
    assert complete(bulk).sum() > 500
    assert apart(bulk, step) < 2e-6


def test_bulk_does_not_depend_on_its_pieces(model, rows, monkeypatch):
    whole = bulk_forecasts(model, rows.start_ms, rows.features)
    monkeypatch.setattr("bot.adapters.model.predictor.PIECE", 100)
    assert apart(bulk_forecasts(model, rows.start_ms, rows.features), whole) < 2e-6


@settings(max_examples=10, deadline=None)
@given(st.integers(700, 1499), st.sampled_from(["bulk", "step"]))
def test_the_future_cannot_change_the_past(model, at, form):
    candles = series.candles(1500)
    changed = candles.ohlcv.copy()
    changed[at:, :4] *= 1.1
    changed[at:, 4] *= 7.0
    other = series.Candles.make("BTCUSDT", series.INTERVAL_MS, candles.start_ms, changed)
    one = forecast_table(model, candles, None, form=form)
    two = forecast_table(model, other, None, form=form)
    np.testing.assert_array_equal(one[:at], two[:at])
    if at >= model.warmup_bars:
        assert not np.array_equal(one[at:], two[at:])


def test_cold_rows_have_no_forecast_and_a_gap_starts_the_count_again(model):
    candles = series.without(series.candles(2500), 1000, 1001)
    table = forecast_table(model, candles, None, form="bulk")
    first = model.warmup_bars - 1
    wanted = [*range(first, 1000), *range(1000 + first, 2499)]
    assert np.flatnonzero(complete(table)).tolist() == wanted


def test_settled_rows_count_themselves():
    starts = series.T0 + series.INTERVAL_MS * np.array([0, 1, 2, 3, 10, 11, 12])
    assert settled_rows(starts, series.INTERVAL_MS, 3).tolist() == [
        False,
        False,
        True,
        True,
        False,
        False,
        True,
    ]


def test_other_bars_than_the_models_are_refused(model):
    hourly = series.candles(50, interval_ms=3_600_000)
    with pytest.raises(BadModel, match="bars of 1h, the model was trained on 15m"):
        bridged_candles(model, hourly, None)


def test_all_three_predictors_give_a_bar_the_same_forecast(model, rows):
    warm = rows.features[rows.warm][:200]
    slots = np.zeros(len(warm), np.int64)
    kernel = KernelPredictor(model, 2).step(warm, slots)
    torch = TorchPredictor(model, 2).step(warm, slots)
    table = bulk_forecasts(model, rows.start_ms, rows.features)[rows.warm]
    bulk = BulkPredictor([table], model.warmup_bars).step(warm, slots)
    tables = [np.array([_values(forecast) for forecast in each]) for each in (kernel, torch, bulk)]
    assert apart(tables[0], tables[1]) < 2e-6
    assert apart(tables[0], tables[2]) < 2e-6


def _values(forecast: Forecast) -> list[float]:
    return list(forecast.numbers)


@pytest.mark.fault(81)
@pytest.mark.parametrize("kind", [KernelPredictor, TorchPredictor])
def test_company_changes_nothing_to_the_bit(kind, model, rows):
    warm = rows.features[rows.warm]
    alone, together = kind(model, 1), kind(model, 3)
    for i in range(5):
        wanted = alone.step(warm[i : i + 1], SLOT)[0]
        got = together.step(warm[[50 + i, i, 90 + i]], np.array([2, 0, 1]))
        assert got[1] == wanted


@pytest.mark.parametrize("kind", [KernelPredictor, TorchPredictor])
def test_peek_says_what_step_would_and_writes_nothing(kind, model, rows):
    warm = rows.features[rows.warm]
    one = kind(model, 1)
    one.step(warm[:10], np.zeros(10, np.int64))
    before = one.state.copy()
    peeked = one.peek(warm[10:11], SLOT)
    np.testing.assert_array_equal(one.state, before)
    assert peeked == one.step(warm[10:11], SLOT)
    assert not np.array_equal(one.state, before)


@pytest.mark.fault(76)
@pytest.mark.parametrize("kind", [KernelPredictor, TorchPredictor])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_not_finite_gives_none_and_forgets_that_symbol_alone(kind, model, rows, bad):
    warm = rows.features[rows.warm]
    one = kind(model, 2)
    one.step(warm[:20], np.arange(20) % 2)
    kept = one.state[1].copy()
    broken = warm[20:21].copy()
    broken[0, 3] = bad
    assert one.peek(broken, SLOT) == [None]
    assert one.state[0].any()
    assert one.step(broken, SLOT) == [None]
    assert not one.state[0].any()
    np.testing.assert_array_equal(one.state[1], kept)
    assert one.step(warm[21:22], SLOT) == kind(model, 1).step(warm[21:22], SLOT)


@pytest.mark.parametrize("kind", [KernelPredictor, TorchPredictor, BulkPredictor])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_predictor_that_gets_the_bytes_of_another_goes_on_to_the_bit(kind, model, rows, data):
    def made():
        if kind is not BulkPredictor:
            return kind(model, 3)
        return BulkPredictor([np.arange(600.0).reshape(100, 6) + slot for slot in range(3)], 7)

    warm = rows.features[rows.warm]
    slots = data.draw(st.lists(st.integers(0, 2), min_size=2, max_size=40))
    cut = data.draw(st.integers(0, len(slots)))
    resets = data.draw(st.sets(st.integers(0, len(slots)), max_size=3))
    broken = data.draw(st.sets(st.integers(0, len(slots)), max_size=2)) if kind is not BulkPredictor else ()
    whole, other = made(), made()
    for i, slot in enumerate(slots):
        if i == cut:
            reborn = made()
            reborn.load_state(other.state_bytes())
            other = reborn
        row = np.full_like(warm[i : i + 1], np.nan) if i in broken else warm[i : i + 1]
        for one in (whole, other):
            if i in resets:
                one.reset(slot)
        assert other.step(row, np.array([slot])) == whole.step(row, np.array([slot]))
    assert other.state_bytes() == whole.state_bytes()


@pytest.mark.parametrize("kind", [KernelPredictor, TorchPredictor])
def test_the_state_of_a_model_with_another_number_of_symbols_is_refused(kind, model):
    with pytest.raises(BadInput, match="it is of another model"):
        kind(model, 3).load_state(kind(model, 2).state_bytes())


def test_reset_forgets(model, rows):
    warm = rows.features[rows.warm]
    one = KernelPredictor(model, 1)
    first = one.step(warm[:1], SLOT)
    one.step(warm[1:30], np.zeros(29, np.int64))
    one.reset(0)
    assert one.step(warm[:1], SLOT) == first


def test_bulk_serves_each_slot_in_order_and_no_more_than_it_has():
    tables = [np.arange(12.0).reshape(2, 6), 100 + np.arange(6.0).reshape(1, 6)]
    bulk = BulkPredictor(tables, 7)
    assert bulk.warmup_bars == 7
    got = bulk.step(np.empty((3, 0)), np.array([0, 1, 0]))
    assert [forecast.rv_60m for forecast in got] == [0.0, 100.0, 6.0]
    assert bulk.peek(np.empty((1, 0)), SLOT) == [None]
    with pytest.raises(Broken, match="no forecast left"):
        bulk.step(np.empty((1, 0)), SLOT)


def test_step_in_bulk_is_the_live_stream(model, rows):
    table = step_forecasts(model, rows.start_ms, rows.features)
    live = KernelPredictor(model, 1)
    for i in np.flatnonzero(rows.warm)[:50]:
        assert _values(live.step(rows.features[i : i + 1], SLOT)[0]) == table[i].tolist()


def test_funding_reaches_the_features(model):
    candles = series.candles(1500)
    rates = SimpleNamespace(start_ms=candles.start_ms[[100]] + 1, rate=np.array([0.01]))
    with_rates, without = (
        feature_rows(model, bridged_candles(model, candles, known)) for known in (rates, None)
    )
    moved = np.flatnonzero((with_rates != without).any(axis=1) & complete(without))
    assert moved[0] == series.FEATURES.warmup - 1
    column = series.FEATURES.names.index("funding_bps")
    assert (with_rates[:100, column] == 0.0).all()
    assert (with_rates[101:, column] > 0.0).all()
