"""Drift stops entries and lets them go again; its numbers are those of research."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from math import nan
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bot.adapters.model.checkpoint import Checkpoint, load
from bot.adapters.model.predictor import KernelPredictor
from bot.domain.horizons import Horizons
from bot.domain.market import HOUR_MS, Bar, Forecast
from bot.domain.messages import BarsClosed, Effect, PlaceOrder, ProcessStarted, RiskChanged
from bot.engine.core import Assignment, Engine
from bot.engine.drift import LEVELS, DriftWatch
from bot.engine.forecasting import Forecaster
from bot.features.stream import FeatureStream
from bot.model.drift import DriftBounds, DriftReference, bins_of, describe, psi
from bot.research import record
from bot.research.dataset import RV
from bot.research.skill.baselines import fit_har_hour
from bot.risk.limits import Limits
from bot.strategy.signal import Target, View
from tests.engine.scripted import fill_of
from tests.helpers import instrument
from tests.research import series

QUICK = DriftBounds(half_life_days=1.5, min_days=1.0)
DAY_BARS = 96
CALM_DAYS, WILD_DAYS = 12, 2


def bars_of(candles: series.Candles) -> list[Bar]:
    starts, rows = candles.start_ms.tolist(), candles.ohlcv.tolist()
    return [
        Bar("BTCUSDT", series.INTERVAL_MS, start_ms, *row) for start_ms, row in zip(starts, rows, strict=True)
    ]


@pytest.fixture(scope="module")
def reference() -> DriftReference:
    made = record.drift_reference([series.rows(series.candles(4000))], series.split(4000).cut_ms)
    assert made is not None
    return made


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, reference: DriftReference) -> Checkpoint:
    return load(series.saved_model(tmp_path_factory.mktemp("model"), drift=reference))


def watch(reference: DriftReference | None, bounds: DriftBounds = QUICK) -> DriftWatch:
    return DriftWatch(1, series.INTERVAL_MS, series.FEATURES.names, reference, bounds)


def forecast(rv_60m: float) -> Forecast:
    return Forecast(rv_60m, 0.5, 0.0, 0.0, 1e-3, 2e-3)


def test_the_index_is_that_of_the_textbook() -> None:
    # (0.5 - 0.4) ln(0.5 / 0.4) + (0.5 - 0.6) ln(0.5 / 0.6) = 0.02231 + 0.01823
    training, present = np.zeros((1, 10)), np.zeros((1, 10))
    training[0, :2], present[0, :2] = (0.4, 0.6), (0.5, 0.5)
    assert psi(training, present)[0] == pytest.approx(0.04055, abs=1e-5)
    assert psi(training, training)[0] == 0.0


def test_training_rows_fill_their_own_bins_alike() -> None:
    rows = np.random.default_rng(0).normal(size=(1000, 3))
    told = describe(rows)
    assert np.abs(np.array(told["shares"]) - 0.1).max() < 0.01
    edges = np.array(told["edges"]).T
    live = np.array([bins_of(row, edges) for row in rows])
    assert [np.bincount(each, minlength=10).tolist() for each in live.T] == [
        [round(share * 1000) for share in shares] for shares in told["shares"]
    ]


def test_the_plain_forecast_is_that_of_har_hour(reference: DriftReference) -> None:
    rows = series.rows(series.candles(4000))
    expected = fit_har_hour([(rows, series.split(4000).before_cut(rows))])(rows)[:, RV]
    one, seen = watch(reference), 0
    for at, bar in enumerate(bars_of(series.candles(4000))[:1500]):
        one.take([0], [bar], rows.features[at : at + 1], [None])
        if bar.close_ms % HOUR_MS == 0 and np.isfinite(expected[at]):
            assert one._at[0].har_rv == pytest.approx(expected[at], rel=1e-9)
            seen += 1
    assert seen > 100


def test_matured_forecasts_are_scored_against_what_came(reference: DriftReference) -> None:
    candles = series.candles(1500)
    rows, one = series.rows(candles), watch(reference)
    for at, bar in enumerate(bars_of(candles)):  # forecasts that come true to the digit, in rv_60m
        rv = rows.targets[at, RV]
        one.take([0], [bar], rows.features[at : at + 1], [forecast(rv) if rv == rv else None])
    told = one.measures()
    assert told.qlike == pytest.approx(0.0, abs=1e-12)
    assert told.qlike_har is not None
    assert told.qlike_har > 0.1
    assert [each.volatility for each in told.bands] == [1.0] * len(LEVELS)
    assert set(one.beyond) == {"bands"}  # bands that hold everything are as wrong as those that hold nothing


def test_features_of_the_calendar_neither_count_nor_are_named(reference: DriftReference) -> None:
    candles = series.candles(1500)
    rows, names = series.rows(candles), series.FEATURES.names
    every = watch(reference)
    for at, bar in enumerate(bars_of(candles)):
        every.take([0], [bar], rows.features[at : at + 1], [None])
    worst = {names.index(name) for name, _ in every.measures().worst}
    rest = DriftWatch(1, series.INTERVAL_MS, names, reference, QUICK, calendar=worst)
    rest.restore(every.record())
    assert not {names.index(name) for name, _ in rest.measures().worst} & worst
    assert rest.measures().psi < every.measures().psi


@pytest.mark.parametrize("minutes", [(15, 30), (60, 240), (15, 105)])
def test_forecasts_of_other_horizons_mature_when_these_are_over(minutes: tuple[int, int]) -> None:
    horizons = Horizons.of_minutes(minutes)
    candles = series.candles(1500)
    rows = series.rows(candles, horizons)
    past = series.rows(series.candles(4000), horizons)
    reference = record.drift_reference([past], series.split(4000).cut_ms)
    one = DriftWatch(1, series.INTERVAL_MS, series.FEATURES.names, reference, QUICK, horizons)
    expected, seen = fit_har_hour([(past, series.split(4000).before_cut(past))])(rows)[:, RV], 0
    for at, bar in enumerate(bars_of(candles)):
        rv, _, ret = rows.targets[at].tolist()
        values = (rv, 0.5, 0.0, ret, 1e-3, 2e-3)
        own = tuple(zip(horizons.columns, values, strict=True))
        made = Forecast.of([nan] * 6, own) if rv == rv else None
        one.take([0], [bar], rows.features[at : at + 1], [made])
        if one._at[0].pending_ms == bar.close_ms and np.isfinite(expected[at]):
            assert one._at[0].har_rv == pytest.approx(expected[at], rel=1e-9)
            seen += 1
    assert seen > 50
    told = one.measures()
    assert told.matured == pytest.approx(told.hours / max(1, -(-minutes[1] // 60)), rel=0.1)
    assert told.qlike == pytest.approx(0.0, abs=1e-12)
    assert told.qlike_har is not None
    assert told.qlike_har > 0.1
    assert [(each.volatility, each.returns) for each in told.bands] == [(1.0, 1.0)] * len(LEVELS)


def test_inputs_are_unknown_until_enough_rows_were_warm(reference: DriftReference) -> None:
    """Long bars take longer to warm up than ``min_days``; the first warm row alone would look like drift."""
    candles = series.candles(1500)
    rows, one = series.rows(candles).features, watch(reference)
    first_warm = int(np.argmax(np.isfinite(rows).all(axis=1)))
    assert first_warm > DAY_BARS
    known_at = None
    for at, bar in enumerate(bars_of(candles)):
        one.take([0], [bar], rows[at : at + 1], [None])
        if known_at is None and one.measures().psi is not None:
            known_at = at
    assert known_at is not None
    assert known_at >= first_warm + DAY_BARS
    assert not one.beyond


@pytest.mark.parametrize(("minutes", "beyond"), [((15, 60), True), ((240, 1440), False)])
def test_a_few_outcomes_of_a_day_are_noise_where_as_many_hours_would_be_drift(
    minutes: tuple[int, int], beyond: bool
) -> None:
    horizons = Horizons.of_minutes(minutes)
    one = DriftWatch(1, series.INTERVAL_MS, series.FEATURES.names, None, QUICK, horizons)
    rows = series.rows(series.candles(1500), horizons)
    for at, bar in enumerate(bars_of(series.candles(1500))):
        values = (rows.targets[at, RV], 0.5, 0.0, rows.targets[at, 2], 1e-3, 2e-3)
        own = () if minutes == (15, 60) else tuple(zip(horizons.columns, values, strict=True))
        made = Forecast.of(values if not own else [nan] * 6, own) if np.isfinite(values).all() else None
        one.take([0], [bar], rows.features[at : at + 1], [made])
    assert one.measures().band_gap_frac == pytest.approx(0.5)  # every outcome is inside, half should be
    assert ("bands" in one.beyond) is beyond


def test_without_a_reference_inputs_and_skill_are_unknown_and_nothing_stops() -> None:
    candles = series.candles(1500)
    rows, one = series.rows(candles), watch(None)
    for at, bar in enumerate(bars_of(candles)):
        one.take([0], [bar], rows.features[at : at + 1], [None])
    told = one.measures()
    assert (told.psi, told.qlike_excess, told.band_gap_frac, one.beyond) == (None, None, None, {})


class Always:
    needs_forecast = True

    def on_bar(self, view: View) -> Target | None:
        return Target(0.0 if view.position else 1.0) if view.warm else None


def engine(model: Checkpoint, bounds: DriftBounds) -> Engine:
    rules = instrument("BTCUSDT")
    features, predictor = FeatureStream(model.feature_set, 1), KernelPredictor(model, 1)
    names, calendar = model.feature_set.names, model.feature_set.calendar
    drift = DriftWatch(1, model.interval_ms, names, model.manifest.drift, bounds, calendar=calendar)
    forecaster = Forecaster(["BTCUSDT"], features, predictor, model=model.hash, drift=drift)
    return Engine(
        [Assignment(rules, model.interval_ms, Always(), 10.0)],
        Decimal(100_000),
        Limits(max_daily_loss_frac=Decimal(1), max_drawdown_frac=Decimal(1)),
        forecasters={model.interval_ms: forecaster},
    )


def see(one: Engine, bars: Sequence[Bar]) -> list[Effect]:
    effects: list[Effect] = []
    for bar in bars:
        told = one.handle(BarsClosed(bar.close_ms, bar.interval_ms, (bar,)))
        effects += told
        for order in told:
            if isinstance(order, PlaceOrder):
                one.handle(fill_of(order))
    return effects


def is_entry(effect: Effect) -> bool:
    return isinstance(effect, PlaceOrder) and not effect.intent.reduce_only


def tenfold(returns: np.ndarray) -> np.ndarray:
    return returns * 10.0


def wild(change: Callable[[np.ndarray], np.ndarray] = tenfold) -> list[Bar]:
    """Ordinary days, then days of changed returns (by default ten times as large), then ordinary ones."""
    candles = series.candles((CALM_DAYS + WILD_DAYS + 8) * DAY_BARS, seed=5, moving=False)
    returns = np.diff(np.log(candles.ohlcv[:, 3]), prepend=np.log(100.0))
    changed = slice(CALM_DAYS * DAY_BARS, (CALM_DAYS + WILD_DAYS) * DAY_BARS)
    returns[changed] = change(returns[changed])
    close = 100.0 * np.exp(np.cumsum(returns))
    open_ = np.concatenate(([100.0], close[:-1]))
    ohlcv = np.column_stack(
        (open_, np.maximum(open_, close), np.minimum(open_, close), close, candles.ohlcv[:, 4])
    )
    return bars_of(series.Candles.make("BTCUSDT", series.INTERVAL_MS, candles.start_ms, ohlcv))


SKILL_ALONE = DriftBounds(
    half_life_days=1.0, min_days=1.0, max_psi=100.0, max_qlike_excess=5.0, max_band_gap_frac=1.0
)


INPUTS_ALONE = DriftBounds(half_life_days=3.0, min_days=3.0, max_qlike_excess=1000.0, max_band_gap_frac=1.0)


def test_drift_stops_entries_until_it_is_gone(model: Checkpoint) -> None:
    bars, one = wild(), engine(model, SKILL_ALONE)
    quiet, storm = bars[: CALM_DAYS * DAY_BARS], bars[CALM_DAYS * DAY_BARS :]
    effects = see(one, quiet)
    assert [each for each in effects if isinstance(each, RiskChanged)] == []
    assert any(map(is_entry, effects))
    effects = see(one, storm)
    moves = [each for each in effects if isinstance(each, RiskChanged)]
    assert [(each.state, each.reason.partition(",")[0]) for each in moves] == [
        ("reducing", "drift: volatility"),
        ("active", ""),
    ]
    stopped, again = (effects.index(each) for each in moves)
    assert not any(map(is_entry, effects[stopped:again]))
    assert any(map(is_entry, effects[again:]))
    assert storm[0].start_ms < moves[0].ts_ms < storm[WILD_DAYS * DAY_BARS].start_ms < moves[1].ts_ms


def test_inputs_that_shift_stop_entries_until_they_are_back(tmp_path: Path) -> None:
    """Two days that rise at each bar look like none of the training days; the bound is the default."""
    trained_on = series.rows(series.candles(4000, seed=6, moving=False))
    calm = record.drift_reference([trained_on], series.split(4000).cut_ms)
    model = load(series.saved_model(tmp_path, drift=calm))
    bars, one = wild(lambda returns: np.full_like(returns, 0.02)), engine(model, INPUTS_ALONE)
    quiet, rising = bars[: CALM_DAYS * DAY_BARS], bars[CALM_DAYS * DAY_BARS :]
    see(one, quiet)
    assert one.state.drift_beyond() == {}
    effects = see(one, rising)
    moves = [each for each in effects if isinstance(each, RiskChanged)]
    assert [each.state for each in moves] == ["reducing", "active"]
    assert moves[0].reason.startswith("drift: inputs, mean PSI 1.2")
    stopped, again = (effects.index(each) for each in moves)
    assert not any(map(is_entry, effects[stopped:again]))
    assert any(map(is_entry, effects[again:]))
    assert rising[0].start_ms < moves[0].ts_ms < rising[WILD_DAYS * DAY_BARS].start_ms < moves[1].ts_ms


def test_a_model_of_the_users_own_has_no_bands_and_one_without_a_variance_no_skill(
    reference: DriftReference,
) -> None:
    candles, blind = series.candles(1500), msgspec.structs.replace(reference, har_weights=None)
    rows = series.rows(candles)
    true, only_return, blind_to_rv = (
        DriftWatch(1, series.INTERVAL_MS, series.FEATURES.names, each, QUICK, has_bands=False)
        for each in (reference, reference, blind)
    )
    for at, bar in enumerate(bars_of(candles)):
        rv, row = rows.targets[at, RV], rows.features[at : at + 1]
        made = Forecast(rv, np.nan, np.nan, np.nan, np.nan, np.nan) if rv == rv else None
        true.take([0], [bar], row, [made])
        blind_to_rv.take([0], [bar], row, [made])
        only_return.take([0], [bar], row, [Forecast(np.nan, np.nan, np.nan, 1e-4, np.nan, np.nan)])
    assert true.measures().qlike == pytest.approx(0.0, abs=1e-12)
    for watched in (only_return, blind_to_rv):
        assert watched.measures().matured > 24.0
        assert watched.measures().qlike is None
    for watched in (true, only_return, blind_to_rv):
        assert watched.measures().psi is not None
        assert (watched.measures().band_gap_frac, watched.beyond) == (None, {})


def test_a_new_process_and_a_new_engine_know_the_drift(model: Checkpoint) -> None:
    bars = wild()[: (CALM_DAYS + WILD_DAYS) * DAY_BARS]
    cut = len(bars) - DAY_BARS
    one, two = engine(model, SKILL_ALONE), engine(model, SKILL_ALONE)
    see(one, bars[:cut])
    two.restore(one.snapshot())
    assert two.state.digest() == one.state.digest()
    started = ProcessStarted(bars[cut - 1].close_ms, 2)
    assert two.handle(started) == one.handle(started)
    assert any(cause.startswith("drift: volatility") for cause in two.state.breaker.reducing)
    assert see(two, bars[cut:]) == see(one, bars[cut:])
    assert two.state.digest() == one.state.digest()


def test_where_drift_is_only_told_nothing_stops(model: Checkpoint) -> None:
    told = msgspec.structs.replace(SKILL_ALONE, reduces=False)
    one = engine(model, told)
    effects = see(one, wild()[: (CALM_DAYS + WILD_DAYS) * DAY_BARS])
    assert not any(isinstance(each, RiskChanged) for each in effects)
    assert set(one.state.drift_told()) == {"volatility"}


def test_a_newer_model_begins_without_the_evidence_of_the_old_but_knows_the_market(
    reference: DriftReference,
) -> None:
    old, new = watch(reference), watch(reference)
    rows = series.rows(series.candles(1200)).features
    for at, bar in enumerate(bars_of(series.candles(1200))):
        old.take([0], [bar], rows[at : at + 1], [forecast(1.0)])
    assert old.measures().bands
    assert old.beyond
    new.follow(old)
    assert (new.beyond, new.measures().hours) == ({}, 0.0)
    for at, bar in enumerate(
        bars_of(series.candles(1216))[1200:]
    ):  # the next hour has a plain forecast at once
        new.take([0], [bar], rows[at : at + 1], [forecast(1e-4)])
    assert new._sums[2] > 0.0
