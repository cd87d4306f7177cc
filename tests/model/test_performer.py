import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bot.model.config import RV_MAX, RV_MIN
from bot.model.performer import Form, Performer, forecast
from tests.model.builders import PLAIN, SHAPES, error, lively, noise, small, streamed

ROUNDING = {torch.float32: 2e-6, torch.float64: 1e-12}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", list(ROUNDING))
def test_the_three_forms_agree_on_outputs_and_state(shape: dict[str, Any], dtype: torch.dtype) -> None:
    model = lively(small(**shape), dtype)
    x = noise(2, 83, 6, dtype=dtype)
    with torch.no_grad():
        raw, state = model(x, form="full")
        for found, after in (model(x), model(x, size=5), streamed(model, x)):
            assert error(found, raw) < ROUNDING[dtype]
            assert error(after, state) < ROUNDING[dtype]


@pytest.mark.parametrize("shape", [{}, {"kernel": "hyperbolic"}, PLAIN], ids=str)
@pytest.mark.parametrize("dtype", list(ROUNDING))
def test_the_three_forms_agree_on_gradients(shape: dict[str, Any], dtype: torch.dtype) -> None:
    x = noise(2, 37, 6, dtype=dtype)

    def gradients(form: str) -> list[Tensor]:
        model = lively(small(**shape), dtype)
        raw, _ = streamed(model, x) if form == "step" else model(x, form=form, size=8)
        (raw[..., :4] * noise(2, 37, 4, seed=3, dtype=dtype)).sum().backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    want = torch.cat([g.flatten() for g in gradients("full")])
    for form in ("chunked", "step"):
        assert error(torch.cat([g.flatten() for g in gradients(form)]), want) < ROUNDING[dtype]


def test_a_series_may_be_split_anywhere_and_resumed() -> None:
    model = lively(small(), torch.float64)
    x = noise(1, 60, 6, dtype=torch.float64)
    want, after = model(x)
    for cut in (1, 13, 59):
        first, state = model(x[:, :cut], size=7)
        second, state = model(x[:, cut:], state, size=7)
        assert error(torch.cat((first, second), 1), want) < 1e-12
        assert error(state, after) < 1e-12


@pytest.mark.parametrize("form", ["full", "chunked"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_future_cannot_change_the_past(shape: dict[str, Any], form: Form) -> None:
    model = lively(small(**shape))
    x = noise(2, 40, 6)
    changed = x.clone()
    changed[:, 25:] = noise(2, 15, 6, seed=7) * 10
    with torch.no_grad():
        before, after = (model(rows, form=form, size=16)[0] for rows in (x, changed))
    assert before[:, :25].equal(after[:, :25])
    assert not before[:, 25:].equal(after[:, 25:])


def test_a_state_forgets_where_its_stream_started() -> None:
    model = lively(small(half_lives=(2.0, 8.0)), torch.float64)
    x = noise(1, 700, 6, dtype=torch.float64)
    with torch.no_grad():
        assert error(model(x[:, 100:])[1], model(x)[1]) < 1e-12


def test_weights_are_a_function_of_the_config_alone() -> None:
    torch.manual_seed(1)
    one = Performer(small()).state_dict()
    torch.manual_seed(2)
    two = Performer(small()).state_dict()
    other = Performer(small(seed=2)).state_dict()
    assert all(one[name].equal(two[name]) for name in one)
    assert not one["blocks.0.attention.projections"].equal(other["blocks.0.attention.projections"])
    assert not one["embed.weight"].equal(other["embed.weight"])


def test_every_head_of_every_layer_has_projections_of_its_own() -> None:
    model = Performer(small())
    drawn = torch.cat([block.attention.projections for block in model.blocks])
    assert len(torch.unique(drawn, dim=0)) == 4


def test_training_starts_at_the_linear_model() -> None:
    model = Performer(small())
    torch.nn.init.normal_(model.skip_vol.weight)
    x = noise(1, 20, 6)
    torch.testing.assert_close(model(x)[0], model.linear(x))


def test_the_length_of_queries_and_keys_starts_at_one_and_stays_below_the_bound() -> None:
    attention = Performer(small()).blocks[0].attention
    torch.testing.assert_close(attention.scale(), torch.ones(2))
    torch.nn.init.constant_(attention.scale_logit, 100.0)
    torch.testing.assert_close(attention.scale(), torch.full((2,), 1.5))


def test_the_plain_form_scales_by_one_over_root_d() -> None:
    config = small(qk_norm=False, half_lives=(None,), features=4096, heads=1)
    attention = Performer(config).blocks[0].attention.double()
    x = 0.5 * noise(1, 12, 16, dtype=torch.float64)
    q, k, _ = attention.qkv(x).split(16, -1)
    weights = torch.stack(
        [torch.stack([(q[0, t] @ k[0, s]) / math.sqrt(16) for s in range(12)]) for t in range(12)]
    )
    fq, fk, _ = attention.features(x)
    found = (fq @ fk.mT)[0, 0]
    want = weights.softmax(-1)
    assert (found / found.sum(-1, keepdim=True) - want).abs().max() < 0.02


def test_dropout_is_for_training_only() -> None:
    model = lively(small(dropout=0.5))
    x = noise(1, 20, 6)
    assert model(x)[0].equal(model(x)[0])
    model.train()
    assert not model(x)[0].equal(model(x)[0])


def raw(
    mu: float = -10.0,
    sigma: float = 0.5,
    z15: float = 0.1,
    z60: float = -0.2,
    f15: float = 0.7,
    f60: float = 0.8,
) -> Tensor:
    return torch.tensor([mu, math.log(sigma), z15, z60, math.log(f15), math.log(f60)], dtype=torch.float64)


def test_a_forecast_is_the_mean_of_the_log_normal_and_returns_in_its_units() -> None:
    mean = math.exp(-10 + 0.5**2 / 2)
    vol = math.sqrt(mean)
    want = [mean, 0.5, 0.1 * vol / 2, -0.2 * vol, 0.7 * vol / 2, 0.8 * vol]
    np.testing.assert_allclose(forecast(raw()).numpy(), want, rtol=1e-12)


def test_a_variance_forecast_stays_in_the_range_of_targets() -> None:
    assert forecast(raw(mu=-60))[0].item() == pytest.approx(RV_MIN)
    assert forecast(raw(mu=60))[0].item() == pytest.approx(RV_MAX)
    assert forecast(raw(mu=math.nan))[0].isnan()


def planted(rows: int = 4000) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return inputs: ln rv = −9 + 0.5 x0 − 0.3 x2 + 0.4 ε; 60-minute drift of 0.2 volatilities per x5."""
    x = noise(rows, 6)
    rv = (-9 + 0.5 * x[:, 0] - 0.3 * x[:, 2] + 0.4 * noise(rows, seed=1)).exp()
    ret_60m = rv.sqrt() * (0.2 * x[:, 5] + noise(rows, seed=2))
    return x, rv, torch.full((rows,), torch.nan), ret_60m


def test_the_skip_is_fitted_in_closed_form() -> None:
    model = Performer(small())
    x, rv, ret_15m, ret_60m = planted()
    rv[::7] = torch.nan
    model.fit_skip(x, rv, ret_15m, ret_60m)
    np.testing.assert_allclose(model.skip_vol.weight.detach()[0], [0.5, -0.3], atol=0.03)
    np.testing.assert_allclose(model.bias.detach()[:2], [-9, math.log(0.4)], atol=0.05)
    np.testing.assert_allclose(model.skip_ret.weight.detach()[1], [0, 0.2, 0], atol=0.05)
    torch.testing.assert_close(model(x[None])[0][0], model.linear(x))


def test_a_horizon_without_targets_keeps_its_start() -> None:
    model = Performer(small(bars_15m=0))
    model.fit_skip(*planted())
    assert model.skip_ret.weight[0].eq(0).all()
    location, scale = forecast(model.linear(noise(1, 6)))[0, [2, 4]].detach()
    vol = forecast(model.linear(noise(1, 6)))[0, 0].detach().sqrt() / 2
    assert location == 0
    assert float(scale / vol) == pytest.approx(math.sqrt(0.5))


def test_a_stronger_ridge_shrinks_the_weights() -> None:
    weak, strong = Performer(small()), Performer(small())
    weak.fit_skip(*planted())
    strong.fit_skip(*planted(), ridge_vol=10.0, ridge_ret=10.0)
    for one, other in ((weak.skip_vol, strong.skip_vol), (weak.skip_ret, strong.skip_ret)):
        assert other.weight.norm() < one.weight.norm() / 5
