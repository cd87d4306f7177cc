"""``scripts/bench/ablation.py``: its alternatives are causal, its shipped form is the product's training."""

import importlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bot.model import attention
from bot.model.performer import Performer, PerformerConfig
from bot.research.train import fit
from tests.research import series
from tests.research.series import FEATURES, TINY

BENCH = Path(__file__).parents[2] / "scripts/bench"
CONFIG = PerformerConfig(n_in=5, d_model=16, heads=2, layers=2, features=8, half_lives=(4.0, 16.0))
MIXINGS = ("Nothing", "Gru", "EluAttention", "ExactSoftmax")


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module


def mixed(bench, name):
    torch.manual_seed(0)
    mixings = bench("mixings")
    model = mixings.Mixed(CONFIG, getattr(mixings, name)).eval()
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
    return model


def rows(bars):
    return torch.randn(1, bars, CONFIG.n_in, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", MIXINGS)
@torch.no_grad()
def test_no_alternative_lets_the_future_change_the_past(bench, name):
    model, x = mixed(bench, name), rows(80)
    later = x.clone()
    later[:, 50:] += 3.0
    before, after = model(x)[0], model(later)[0]
    assert torch.equal(before[:, :50], after[:, :50])
    assert not torch.equal(before[:, 50:], after[:, 50:])


@pytest.mark.parametrize("name", MIXINGS)
@torch.no_grad()
def test_an_alternative_goes_on_from_its_state(bench, name):
    model, x = mixed(bench, name), rows(80)
    first, state = model(x[:, :30])
    second, _ = model(x[:, 30:], state)
    torch.testing.assert_close(torch.cat((first, second), 1), model(x)[0], rtol=1e-5, atol=1e-5)
    changed = model(rows(80) * torch.tensor([1.0] + [2.0] * 4))[0]
    assert not torch.allclose(changed, model(x)[0])


@torch.no_grad()
def test_exact_softmax_is_the_attention_that_random_features_estimate(bench):
    model, x = mixed(bench, "ExactSoftmax"), rows(40)
    part = model.blocks[0].attention
    h = model.blocks[0].norm_attention(model.embed(x))
    found, _ = part(h, model.start(1)[:, 0], "chunked", 64)
    q, k, v = part.qkv(h).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
    scale = part.scale()[:, None, None]
    q, k = (torch.nn.functional.normalize(each, dim=-1) * scale for each in (q, k))
    weights = attention.softmax_weights(q, k, torch.tensor(CONFIG.gammas, dtype=torch.float64))
    exact = part.out((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)


def test_the_gru_has_as_many_parameters_as_the_attention(bench):
    config = replace(CONFIG, d_model=64, heads=4, half_lives=(), features=64)
    counts = [
        sum(p.numel() for p in part.parameters())
        for part in (Performer(config).blocks[0].attention, bench("mixings").Gru(config, 0))
    ]
    assert 0.99 * counts[0] < counts[1] <= counts[0]


def test_the_shipped_form_is_the_product_s_training_to_the_bit(bench, tmp_path):
    ablation = bench("ablation")
    files = [series.rows(series.candles(seed=seed)) for seed in (0, 1)]
    ground = ablation.Ground(files, FEATURES, series.split(), tmp_path)
    settings = replace(TINY, patience=0, dropout=0.1, return_share=0.5)
    ours = ablation.train(
        ablation.VARIANTS["shipped"], settings, ground, ground.streams(taught=False), ground.linear
    )
    theirs = fit(files, FEATURES, series.split(), settings).model
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


def test_a_run_prints_its_figures_and_goes_on_where_it_was_stopped(tmp_path):
    for seed, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
        series.saved_candles(tmp_path, series.candles(4500, seed=seed, symbol=symbol))
    words = ["--data", *map(str, tmp_path.glob("*.parquet")), "--cut", "2025-02-08", "--epochs", "1"]

    def run(variants):
        command = [sys.executable, str(BENCH / "ablation.py"), *words, "--seeds", "0", "--variants", variants]
        environ = {**os.environ, "PYTHONPATH": str(BENCH.parents[1])}
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout), done.stderr

    _, said = run("no_memory")
    assert "no_memory seed 0: QLIKE" in said
    result, said = run("no_memory,shipped,linear")
    assert "no_memory" not in said
    found = result["variants"]
    assert found["shipped"]["minus_shipped"] is None
    assert found["no_memory"]["minus_shipped"]["low"] <= found["no_memory"]["minus_shipped"]["high"]
    assert found["shipped"]["runs"][0]["state_bytes"] > found["no_memory"]["runs"][0]["state_bytes"]
    assert found["linear"]["seeds"] == 1
