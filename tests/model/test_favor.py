import math

import pytest
import torch
from torch import Tensor

from bot.model.config import Norms
from bot.model.favor import FEATURE_MAPS, projections
from tests.model.builders import noise, on_sphere

SOFTMAX = ("positive", "hyperbolic", "trigonometric")


def estimates(kind: str, q: Tensor, k: Tensor, *, rows: int, seeds: int, norms: Norms = "chi") -> Tensor:
    """Return φ(q)·φ(k) under many draws of the projections, (seeds, pairs)."""
    w = torch.stack([projections(rows, q.shape[-1], norms=norms, seed=seed) for seed in range(seeds)])
    features = FEATURE_MAPS[kind]
    return (features(q.expand(seeds, -1, -1), w, False) * features(k.expand(seeds, -1, -1), w, False)).sum(-1)


@pytest.mark.parametrize(("rows", "dim"), [(8, 8), (5, 8), (20, 8), (64, 16)])
def test_directions_are_orthogonal_within_each_block(rows: int, dim: int) -> None:
    directions = torch.nn.functional.normalize(projections(rows, dim), dim=-1)
    for block in directions.split(dim):
        torch.testing.assert_close(block @ block.mT, torch.eye(len(block), dtype=torch.float64))


def test_blocks_are_not_orthogonal_to_each_other() -> None:
    first, second = projections(16, 8, norms="sqrtd").split(8)
    assert (first @ second.mT).abs().max() > 0.1


def test_chi_lengths_are_those_of_gaussian_vectors() -> None:
    squares = projections(20_000, 16).square().sum(-1)  # χ²(16): mean 16, variance 32
    assert squares.mean().item() == pytest.approx(16, abs=5 * math.sqrt(32 / 20_000))
    assert squares.var().item() == pytest.approx(32, rel=0.06)


def test_sqrtd_lengths_are_all_root_d() -> None:
    lengths = projections(40, 16, norms="sqrtd").norm(dim=-1)
    torch.testing.assert_close(lengths, torch.full((40,), 4.0, dtype=torch.float64))


def test_directions_are_uniform_whatever_the_sign_that_qr_returns() -> None:
    first = torch.stack([projections(4, 4, norms="sqrtd", seed=seed)[0] for seed in range(2000)])
    assert first.mean(0).abs().max() < 5 / math.sqrt(2000)
    torch.testing.assert_close(first.mT @ first / 2000, torch.eye(4, dtype=torch.float64), atol=0.15, rtol=0)


@pytest.mark.parametrize("norms", ["chi", "sqrtd", "iid"])
def test_a_seed_gives_the_same_directions_and_moves_no_other_generator(norms: Norms) -> None:
    before = torch.get_rng_state()
    assert projections(12, 8, norms=norms, seed=3).equal(projections(12, 8, norms=norms, seed=3))
    assert not projections(12, 8, norms=norms, seed=3).equal(projections(12, 8, norms=norms, seed=4))
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize("kind", SOFTMAX)
@pytest.mark.parametrize("norms", ["chi", "iid"])
def test_features_are_unbiased_for_the_softmax_kernel(kind: str, norms: Norms) -> None:
    q, k = on_sphere(6, 8, seed=1), on_sphere(6, 8, seed=2)
    found = estimates(kind, q, k, rows=8, seeds=4000, norms=norms)
    exact = (q * k).sum(-1).exp()
    assert ((found.mean(0) - exact).abs() < 5 * found.std(0) / math.sqrt(4000)).all()


def test_sqrtd_lengths_are_biased() -> None:
    q = on_sphere(1, 8, length=1.5, seed=1)
    found = estimates("positive", q, q, rows=8, seeds=4000, norms="sqrtd")
    assert abs(found.mean() - math.exp(2.25)) > 10 * found.std() / math.sqrt(4000)


def test_hyperbolic_features_have_less_variance_than_positive_ones() -> None:
    q, k = on_sphere(16, 16, seed=1), on_sphere(16, 16, seed=2)
    positive = estimates("positive", q, k, rows=64, seeds=300).var(0).mean()
    assert estimates("hyperbolic", q, k, rows=32, seeds=300).var(0).mean() < 0.8 * positive


def test_orthogonal_directions_have_less_variance_than_independent_ones() -> None:
    q, k = on_sphere(16, 16, seed=1), on_sphere(16, 16, seed=2)
    independent = estimates("positive", q, k, rows=64, seeds=300, norms="iid").var(0).mean()
    assert estimates("positive", q, k, rows=64, seeds=300).var(0).mean() < 0.95 * independent


@pytest.mark.parametrize("kind", ["positive", "hyperbolic", "relu"])
def test_positive_forms_are_positive_even_far_out(kind: str) -> None:
    x = on_sphere(200, 16, length=1.5).float()
    assert (FEATURE_MAPS[kind](x, projections(64, 16).float(), False) > 0).all()


@pytest.mark.parametrize("kind", list(FEATURE_MAPS))
def test_a_row_depends_on_itself_alone(kind: str) -> None:
    x, w = noise(10, 8), projections(16, 8).float()
    changed = x.clone()
    changed[5:] *= 100
    assert FEATURE_MAPS[kind](x, w, True)[:5].equal(FEATURE_MAPS[kind](changed, w, True)[:5])


@pytest.mark.parametrize("kind", list(FEATURE_MAPS))
def test_stabilising_scales_each_row_and_nothing_else(kind: str) -> None:
    x, w = noise(10, 8, dtype=torch.float64), projections(16, 8)
    ratio = FEATURE_MAPS[kind](x, w, True) / FEATURE_MAPS[kind](x, w, False)
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))


def test_a_stabilised_query_cannot_overflow() -> None:
    x = noise(10, 8) * 1000
    largest = FEATURE_MAPS["hyperbolic"](x, projections(8, 8).float(), True).amax(-1)
    torch.testing.assert_close(largest, torch.full((10,), 0.25), rtol=1e-3, atol=0)  # float32 of a thousand
