import pytest

from bot.adapters.files import shipped
from bot.adapters.model import checkpoint
from bot.adapters.model.checkpoint import MANIFEST, WEIGHTS
from bot.adapters.model.predictor import KernelPredictor
from bot.domain.market import MINUTE_MS
from bot.features.stream import FeatureStream


@pytest.fixture(scope="module")
def model():
    return checkpoint.load(shipped.model_path())


def test_it_loads_and_is_small(model):
    assert model.interval_ms == 5 * MINUTE_MS
    assert sum((shipped.model_path() / name).stat().st_size for name in (WEIGHTS, MANIFEST)) < 2_000_000


def test_a_live_symbol_keeps_less_than_100_kb(model):
    kept = (FeatureStream(model.feature_set, 1), KernelPredictor(model, 1))
    assert sum(len(each.state_bytes()) for each in kept) < 100_000


def test_it_is_warm_within_three_weeks(model):
    assert model.feature_set.warmup < model.warmup_bars <= 6000


def test_its_record_beats_har_and_its_own_linear_skip_on_every_symbol(model):
    skill = model.manifest.skill
    for part in (skill, *skill["by_symbol"].values()):
        assert part["qlike"]["model"]["value"] < 0.39
        for rival in ("har_hour", "linear_skip"):
            assert part["qlike_minus"][rival]["high"] < 0.0
    assert skill["qlike"]["model"]["value"] <= 0.38
    assert len(skill["by_symbol"]) == 6


def test_its_attention_stays_where_it_approximates_softmax(model):
    assert all(s <= 1.5 for layer in model.manifest.attention["s"] for s in layer)


def test_its_bridge_is_what_its_measurement_allows(model):
    measured, bridge = model.manifest.bridge, model.bridge
    assert measured["holes"] >= 400
    assert bridge.rewarm_bars[0] == 0  # one missing bar costs no forecast
    for bars, settled in measured["bars_to_settle"].items():
        assert (int(bars) <= bridge.bars) == (settled is not None and settled <= 48)
        if int(bars) <= bridge.bars:
            assert bridge.rewarm_bars[int(bars) - 1] >= settled
    assert measured["one_bar_missing_in"][str(bridge.repay_bars)]["rms"] <= measured["tolerance"]
