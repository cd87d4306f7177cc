"""The shipped models of other bars: whole, better than their baselines, causal, equal in every form."""

import numpy as np
import pytest

import bot
from bot.adapters.model import checkpoint
from bot.adapters.model.checkpoint import MANIFEST, WEIGHTS
from bot.adapters.model.predictor import KernelPredictor, TorchPredictor, forecast_table
from bot.domain.market import INTERVALS_MS
from bot.settings.models import SHIPPED
from tests.research import series

BARS = ("1m", "15m", "1h")
SYMBOLS = {"1m": 10, "15m": 6, "1h": 6}
MINUTES = {"1m": (15, 60), "15m": (15, 60), "1h": (240, 1440)}
KNOWN = {
    "1m": [0.000603246, 0.405105, 0.000176102, -0.000182361, 0.00853172, 0.0167146],
    "15m": [1.00417e-05, 0.980729, 1.20753e-05, -5.30866e-05, 0.00116744, 0.00231303],
    "1h": [0.000822861, 0.734715, 0.00112056, 0.00249955, 0.00728264, 0.0177558],
}
"""The forecast at the last of ``candles_of``, as it was made when the model was shipped."""


@pytest.fixture(scope="module", params=BARS)
def bars(request):
    return request.param


@pytest.fixture(scope="module")
def model(bars):
    return checkpoint.load(SHIPPED[f"performer-{bars}"])


@pytest.fixture(scope="module")
def twin(bars):
    return checkpoint.load(SHIPPED[f"performer-{bars}-judged"])


def candles_of(model, seed=0):
    return series.candles(model.warmup_bars + 60, seed, interval_ms=model.interval_ms)


def test_it_is_whole_and_small_and_for_its_bars(model, twin, bars):
    for each, name in ((model, f"performer-{bars}"), (twin, f"performer-{bars}-judged")):
        assert each.interval_ms == INTERVALS_MS[bars]
        assert each.horizons.minutes == MINUTES[bars]
        assert sum((SHIPPED[name] / file).stat().st_size for file in (WEIGHTS, MANIFEST)) < 2_000_000


def test_the_twin_has_the_figures_and_has_seen_less(model, twin):
    assert model.manifest.twin.hash == twin.hash
    assert model.manifest.skill == twin.manifest.skill
    assert twin.trained_to_ms < model.trained_to_ms == model.manifest.validated_to_ms
    assert twin.manifest.twin is None


def test_its_record_beats_har_hour_and_longer_bars_do_on_every_symbol(model, bars):
    skill = model.manifest.skill
    for part in (skill, *(() if bars == "1m" else skill["by_symbol"].values())):
        assert part["qlike_minus"]["har_hour"]["high"] < 0.0
    assert all(part["qlike_minus"]["har_hour"]["value"] < 0.0 for part in skill["by_symbol"].values())
    assert len(skill["by_symbol"]) == SYMBOLS[bars]


def test_its_attention_stays_where_it_approximates_softmax(model):
    assert all(s <= 1.5 for layer in model.manifest.attention["s"] for s in layer)


def test_its_warm_up_is_the_week_of_its_features_and_more(model):
    assert model.feature_set.warmup < model.warmup_bars
    assert not np.isfinite(
        forecast_table(model, candles_of(model), None, form="bulk")[: model.warmup_bars - 1]
    ).any()


def test_it_makes_the_forecast_that_it_made_when_it_was_shipped(model, bars):
    last = forecast_table(model, candles_of(model), None, form="bulk")[-1]
    np.testing.assert_allclose(last, KNOWN[bars], rtol=1e-4, atol=1e-8)


def test_no_forecast_reads_a_later_bar(model):
    whole, other = candles_of(model), candles_of(model, seed=9)
    cut = len(whole) - 20
    bars = np.vstack((whole.ohlcv[:cut], other.ohlcv[cut:]))
    mixed = whole.make("BTCUSDT", whole.interval_ms, whole.start_ms, bars)
    one, two = (forecast_table(model, each, None, form="bulk") for each in (whole, mixed))
    np.testing.assert_array_equal(one[:cut], two[:cut])
    assert not np.array_equal(one[cut:], two[cut:])


def test_the_kernel_and_torch_agree(model):
    rows = np.random.default_rng(3).normal(size=(200, len(model.feature_set.names)))
    slots = np.zeros(1, np.int64)
    kernel, torch_ = KernelPredictor(model, 1), TorchPredictor(model, 1)
    made = [[each.step(row[None], slots)[0].numbers for row in rows] for each in (kernel, torch_)]
    one, two = (np.array(each)[:, -6:] for each in made)
    assert (np.abs(one - two) / np.abs(two).max(axis=0)).max() <= 2e-6


def test_python_finds_it_by_name(model, bars):
    assert bot.load_model(f"performer-{bars}").hash == model.hash
