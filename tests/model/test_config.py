import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from bot.domain.errors import BadModel
from bot.domain.horizons import HOUR, Horizons
from bot.model.config import PerformerConfig, bars_ahead, gamma, warmup_bars
from tests.model.builders import PLAIN, small


def test_a_config_survives_json() -> None:
    config = small(**PLAIN, kernel="relu")
    document = json.loads(json.dumps(config.to_json()))
    assert document == config.to_json()
    assert PerformerConfig.from_json(document) == config


def test_half_lives_default_to_a_geometric_series() -> None:
    assert PerformerConfig(n_in=3).half_lives == (32.0, 161.0, 813.0, 4096.0)
    assert PerformerConfig(n_in=3, heads=1).half_lives == (4096.0,)


@pytest.mark.parametrize(
    "change",
    [
        {"n_in": 0}, {"heads": 3}, {"heads": 0}, {"features": 0}, {"kernel": "cosine"}, {"norms": "unit"},
        {"kernel": "hyperbolic", "features": 15}, {"half_lives": (1.0,)}, {"half_lives": (0.0, 1.0)},
        {"half_lives": (float("inf"), 1.0)}, {"half_lives": (float("nan"), 1.0)}, {"dropout": 1.0},
        {"seed": -1}, {"skip_vol": (6,)}, {"skip_ret": (-1,)}, {"bars_15m": 13}, {"bars_60m": 0},
        {"horizons_minutes": (60, 60)}, {"horizons_minutes": (60,)}, {"horizons_minutes": (60, 10_081)},
    ],
)  # fmt: skip
def test_an_impossible_config_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadModel, match="model config"):
        small(**change)


@pytest.mark.parametrize("document", [{"n_in": 3, "depth": 4}, {}, {"n_in": "three"}])
def test_a_manifest_that_is_not_a_config_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(BadModel, match="model config"):
        PerformerConfig.from_json(document)


@pytest.mark.parametrize("half_life", [None, 0.5, 32.0, 1e6])
def test_float32_holds_gamma_exactly(half_life: float | None) -> None:
    assert float(np.float32(gamma(half_life))) == gamma(half_life)


def test_half_of_the_weight_is_left_after_the_half_life() -> None:
    assert gamma(100.0) ** 100 == pytest.approx(0.5, rel=1e-5)
    assert gamma(None) == 1.0


def test_horizons_are_whole_bars_and_absent_where_a_bar_is_longer() -> None:
    minutes = {1: (15, 60), 3: (5, 20), 5: (3, 12), 15: (1, 4), 30: (0, 2), 60: (0, 1), 240: (0, 1)}
    assert {m: bars_ahead(HOUR, m * 60_000) for m in minutes} == minutes
    assert bars_ahead(Horizons.of_minutes((30, 240)), 300_000) == (6, 48)


def test_warm_up_follows_from_the_longest_half_life() -> None:
    assert warmup_bars((16.0, 100.0), share=1 / 8) == 300
    assert warmup_bars((16.0, None)) is None


def test_config_and_kernel_load_no_torch() -> None:
    code = "import sys, bot.model.kernel, bot.model.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
