"""Forecasts over holes: one rule, whoever runs the model."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from bot.adapters.files.candles import Candles
from bot.adapters.model import checkpoint, predictor
from bot.adapters.model.checkpoint import Checkpoint
from bot.domain.market import Bar, Forecast
from bot.engine.forecasting import Forecaster
from bot.features.bridge import NO_BRIDGE, Bridge
from bot.features.matrix import last_settled
from bot.features.stream import FeatureStream
from bot.ports import Floats, Predictor
from tests.research import series

BARS = 1300
BRIDGE = Bridge(rewarm_bars=(0, 1, 4), repay_bars=5)
WHOLE = series.candles(BARS, 3)
HOLES = (200, 500, 501, 1000, 1050, 1051, 1100, 1101, 1102, 1106, 1107, 1200)
"""Single and longer holes, while cold and while warm; the one at 1106 follows too soon after another."""
RATES = SimpleNamespace(start_ms=WHOLE.start_ms[[100, 1050, 1101]] + 1, rate=np.array([1e-4, -3e-4, 5e-4]))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    place = series.saved_model(tmp_path_factory.mktemp("bridge"), WHOLE)
    loaded = checkpoint.load(place)
    short = msgspec.structs.replace(loaded.manifest, warmup_bars=loaded.feature_set.warmup + 20)
    return replace(loaded, manifest=short).with_bridge(BRIDGE, {})


def without(missing: Sequence[int], ohlcv: Floats = WHOLE.ohlcv) -> Candles:
    kept = np.setdiff1d(np.arange(BARS), missing)
    return Candles.make("BTCUSDT", series.INTERVAL_MS, WHOLE.start_ms[kept], ohlcv[kept])


def bars_of(candles: Candles) -> list[Bar]:
    rows = zip(candles.start_ms.tolist(), candles.ohlcv.tolist(), strict=True)
    return [Bar(candles.symbol, candles.interval_ms, start_ms, *values) for start_ms, values in rows]


def forecaster(model: Checkpoint, kind: Predictor | None = None, bridge: Bridge = BRIDGE) -> Forecaster:
    kind = kind or predictor.KernelPredictor(model, 1)
    return Forecaster(["BTCUSDT"], FeatureStream(model.feature_set, 1), kind, bridge)


def streamed(one: Forecaster, candles: Candles) -> Floats:
    """What the engine gets at each close, (T, 6)."""
    rates = last_settled(RATES.start_ms, RATES.rate, candles.start_ms + candles.interval_ms)
    table = np.full((len(candles), 6), np.nan)
    for index, (bar, rate) in enumerate(zip(bars_of(candles), rates.tolist(), strict=True)):
        forecast = one.step([bar], [rate])[0]
        if forecast is not None:
            table[index] = values(forecast)
    return table


def values(forecast: Forecast) -> tuple[float, ...]:
    return forecast.numbers


def known(table: Floats) -> list[int]:
    return np.flatnonzero(np.isfinite(table[:, 0])).tolist()


def in_bulk(model: Checkpoint, candles: Candles) -> Predictor:
    bars = predictor.bridged_candles(model, candles, RATES)
    rows = predictor.feature_rows(model, bars)
    table = predictor.bulk_forecasts(model, bars.start_ms, rows)[predictor.complete(rows)]
    return predictor.BulkPredictor([table], model.warmup_bars)


@pytest.mark.parametrize(
    "kind",
    [
        lambda model, candles: predictor.KernelPredictor(model, 1),
        lambda model, candles: predictor.TorchPredictor(model, 1),
        in_bulk,
    ],
)
@pytest.mark.parametrize("form", ["bulk", "step"])
@pytest.mark.parametrize("holes", [HOLES, HOLES[:8], ()])
def test_every_form_gives_the_same_forecasts_over_bridged_holes(
    model: Checkpoint, kind: Callable[[Checkpoint, Candles], Predictor], form: str, holes: tuple[int, ...]
) -> None:
    candles = without(holes)
    live = streamed(forecaster(model, kind(model, candles)), candles)
    table = predictor.forecast_table(model, candles, RATES, form=form)
    assert known(live) == known(table)
    assert len(known(live)) > 200
    at = known(live)
    np.testing.assert_allclose(
        np.log(live[at][:, [0, 1, 4, 5]]), np.log(table[at][:, [0, 1, 4, 5]]), atol=2e-6
    )
    apart = np.abs(live[at][:, 2:4] - table[at][:, 2:4]) / table[at][:, 4:6]  # returns over their spread
    assert apart.max() < 2e-6


def test_a_bridged_hole_is_as_if_its_bars_had_come(model: Checkpoint) -> None:
    holes = HOLES[:4]
    bars = predictor.bridged_candles(model, without(holes), None)
    told = Candles.make("BTCUSDT", series.INTERVAL_MS, bars.start_ms, bars.ohlcv)
    one, other = forecaster(model), forecaster(model)
    for candles, each in ((without(holes), one), (told, other)):
        for bar in bars_of(candles):
            last = each.step([bar], [1e-4])[0]
    assert last is not None
    assert one.step([next_bar()], [1e-4]) == other.step([next_bar()], [1e-4])


def next_bar() -> Bar:
    return replace_start(bars_of(WHOLE)[-1], int(WHOLE.start_ms[-1]) + series.INTERVAL_MS)


def replace_start(bar: Bar, start_ms: int) -> Bar:
    return msgspec.structs.replace(bar, start_ms=start_ms)


@pytest.mark.parametrize("bars", [1, 2, 3, 4])
def test_a_hole_costs_what_the_manifest_says_and_a_longer_one_the_whole_warm_up(
    model: Checkpoint, bars: int
) -> None:
    at = model.warmup_bars + 30
    candles = without(range(at, at + bars))
    warm = known(streamed(forecaster(model), candles))
    cost = BRIDGE.rewarm_bars[bars - 1] if bars <= BRIDGE.bars else model.warmup_bars - 1
    lost = [*range(at, min(at + cost, len(candles)))]
    assert warm == [row for row in range(model.warmup_bars - 1, len(candles)) if row not in lost]


def test_without_a_bridge_one_missing_bar_costs_the_whole_warm_up(model: Checkpoint) -> None:
    at = model.warmup_bars + 30
    warm = known(streamed(forecaster(model, bridge=NO_BRIDGE), without([at])))
    cold = range(at, at + model.warmup_bars - 1)
    assert warm == [row for row in range(model.warmup_bars - 1, BARS - 1) if row not in cold]


def test_a_run_without_holes_is_the_same_to_the_bit_with_and_without_a_bridge(model: Checkpoint) -> None:
    one, other = (streamed(forecaster(model, bridge=bridge), WHOLE) for bridge in (BRIDGE, NO_BRIDGE))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("at", [1001, 1051, 1103, 1201])
def test_the_future_cannot_change_the_past_over_holes(model: Checkpoint, at: int) -> None:
    changed = WHOLE.ohlcv.copy()
    changed[at:] *= 1.3
    one, other = without(HOLES), without(HOLES, changed)
    before = one.start_ms < WHOLE.start_ms[at]
    for form in ("bulk", "step"):
        tables = [predictor.forecast_table(model, each, RATES, form=form) for each in (one, other)]
        np.testing.assert_array_equal(tables[0][before], tables[1][before])
    lives = [streamed(forecaster(model), each) for each in (one, other)]
    np.testing.assert_array_equal(lives[0][before], lives[1][before])
    assert not np.array_equal(lives[0][~before], lives[1][~before])


def test_an_open_candle_after_a_hole_or_while_forecasts_are_withheld_is_not_scored(model: Checkpoint) -> None:
    at = model.warmup_bars + 30
    bars, one = bars_of(WHOLE), forecaster(model)
    for bar in bars[:at]:
        one.step([bar], [0.0])
    assert one.peek([bars[at]], [0.0]) != [None]
    peeked = []
    for bar in bars[at + 2 : at + 5]:  # two bars are missing: one bar is withheld
        peeked.append(one.peek([bar], [0.0])[0])
        assert peeked[-1] in (None, one.step([bar], [0.0])[0])
    assert [forecast is None for forecast in peeked] == [True, False, False]
    one = forecaster(model)
    for bar in bars[:at] + bars[at + 3 : at + 4]:  # three bars are missing: four bars are withheld
        one.step([bar], [0.0])
    assert one.peek([bars[at + 4]], [0.0]) == [None]


def test_a_hole_in_one_symbol_leaves_the_others_forecasts_alone(model: Checkpoint) -> None:
    names, bars = ["BTCUSDT", "ETHUSDT"], bars_of(WHOLE)
    both = Forecaster(names, FeatureStream(model.feature_set, 2), predictor.KernelPredictor(model, 2), BRIDGE)
    alone, lone = forecaster(model), []
    told = []
    for index, bar in enumerate(bars):
        other = [] if index in HOLES else [msgspec.structs.replace(bar, symbol="ETHUSDT")]
        told.append(both.step([bar, *other], [0.0] * (1 + len(other)))[0])
        lone.append(alone.step([bar], [0.0])[0])
    assert told == lone
