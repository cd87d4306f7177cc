from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bot.model import attention
from bot.model.config import gamma
from bot.model.favor import FEATURE_MAPS, projections
from tests.model.builders import KERNELS, error, featured, gammas, noise, on_sphere, stepped

GAMMA = gammas(3.0, 100.0, None)
ROUNDING = {torch.float32: 2e-6, torch.float64: 1e-12}
"""Sums of some hundred terms in another order."""


def start(dtype: torch.dtype = torch.float32, seed: int | None = None) -> Tensor:
    """Return a state before the first bar: zeros, or the state after another series."""
    if seed is None:
        return torch.zeros(2, 3, 16, 6, dtype=dtype)
    return attention.full(*featured(40, dtype=dtype, seed=seed), GAMMA)[1]


Form = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
FORMS: dict[str, Form] = {
    "full": lambda q, k, v, state: attention.full(q, k, v, GAMMA, state),
    "chunked": lambda q, k, v, state: attention.chunked(q, k, v, GAMMA, state, 8),
    "step": lambda q, k, v, state: stepped(q, k, v, GAMMA, state),
}


@pytest.mark.parametrize("dtype", list(ROUNDING))
@pytest.mark.parametrize("bars", [1, 7, 8, 9, 131])
@pytest.mark.parametrize("resumed", [False, True])
def test_the_three_forms_agree_on_outputs_and_state(bars: int, dtype: torch.dtype, resumed: bool) -> None:
    before = start(dtype, seed=9 if resumed else None)
    q, k, v = featured(bars, dtype=dtype)
    y, after = FORMS["full"](q, k, v, before)
    for form in ("chunked", "step"):
        found, state = FORMS[form](q, k, v, before)
        assert error(found, y) < ROUNDING[dtype]
        assert error(state, after) < ROUNDING[dtype]


def test_no_state_is_an_empty_state() -> None:
    q, k, v = featured(20)
    for form in (attention.full, attention.chunked):
        torch.testing.assert_close(form(q, k, v, GAMMA), form(q, k, v, GAMMA, start()), rtol=1e-5, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 80), st.integers(0, 70))
def test_chunks_of_any_size_split_anywhere_are_the_same_series(bars: int, size: int, cut: int) -> None:
    q, k, v = featured(bars, dtype=torch.float64)
    want, after = attention.full(q, k, v, GAMMA)
    state, parts = None, []
    for part in (slice(0, cut), slice(cut, bars)):
        if q[:, :, part].shape[2]:
            y, state = attention.chunked(q[:, :, part], k[:, :, part], v[:, :, part], GAMMA, state, size)
            parts.append(y)
    assert state is not None
    assert error(torch.cat(parts, 2), want) < 1e-12
    assert error(state, after) < 1e-12


@pytest.mark.parametrize("form", ["chunked", "step"])
@pytest.mark.parametrize("dtype", list(ROUNDING))
def test_gradients_agree(form: str, dtype: torch.dtype) -> None:
    def gradients(form: str) -> tuple[Tensor, ...]:
        inputs = [x.requires_grad_() for x in (*featured(37, dtype=dtype), start(dtype, seed=9))]
        y, state = FORMS[form](*inputs)
        total = (y * noise(*y.shape, seed=5, dtype=dtype)).sum() + (state**2).sum()
        return torch.autograd.grad(total, inputs)

    for found, want in zip(gradients(form), gradients("full"), strict=True):
        assert error(found, want) < ROUNDING[dtype]


@pytest.mark.parametrize("form", list(FORMS))
def test_gradients_are_those_of_finite_differences(form: str) -> None:
    gamma_one = gammas(3.0)
    forms: dict[str, Form] = {
        "full": lambda q, k, v, state: attention.full(q, k, v, gamma_one, state),
        "chunked": lambda q, k, v, state: attention.chunked(q, k, v, gamma_one, state, 2),
        "step": lambda q, k, v, state: stepped(q, k, v, gamma_one, state),
    }
    positive = [noise(1, 1, 5, 3, seed=i, dtype=torch.float64).exp() for i in range(2)]
    rest = [
        noise(1, 1, 5, 2, seed=3, dtype=torch.float64),
        noise(1, 1, 3, 3, seed=4, dtype=torch.float64).exp(),
    ]
    assert torch.autograd.gradcheck(forms[form], [x.requires_grad_() for x in positive + rest])


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("kind", KERNELS)
def test_the_future_cannot_change_the_past(form: str, kind: str) -> None:
    changed = [x.clone() for x in featured(40, kind=kind)]
    for x in changed:
        x[:, :, 25:] *= 10
    y, _ = FORMS[form](*featured(40, kind=kind), start())
    other, _ = FORMS[form](*changed, start())
    assert y[:, :, :25].equal(other[:, :, :25])
    assert not y[:, :, 25:].equal(other[:, :, 25:])


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("kind", KERNELS)
def test_the_first_output_is_the_first_value(form: str, kind: str) -> None:
    q, k, v = featured(10, kind=kind)
    y, _ = FORMS[form](q, k, v, start())
    torch.testing.assert_close(y[:, :, 0], v[:, :, 0])


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(list(FORMS)), st.sampled_from(KERNELS), st.integers(0, 1000))
def test_outputs_lie_within_the_values_so_far(form: str, kind: str, seed: int) -> None:
    q, k, v = featured(30, kind=kind, dtype=torch.float64, seed=seed)
    y, _ = FORMS[form](q, k, v, start(torch.float64))
    assert (y <= v.cummax(2).values + 1e-12).all()
    assert (y >= v.cummin(2).values - 1e-12).all()


def test_the_state_is_bounded_by_its_geometric_sum() -> None:
    q, k, v = featured(2000)
    _, state = attention.chunked(q[:, :2], k[:, :2], v[:, :2], GAMMA[:2])
    bound = k[:, :2].max() * v.abs().max().clamp(min=1) / (1 - GAMMA[:2])
    assert (state.abs().amax((0, 2, 3)) <= bound).all()


def test_a_head_forgets_half_in_a_half_life() -> None:
    q, k, v = featured(100)
    state = start(seed=9)
    _, after = attention.chunked(q, torch.zeros_like(k), v, GAMMA, state)
    torch.testing.assert_close(after[:, 1], state[:, 1] / 2)
    torch.testing.assert_close(after[:, 2], state[:, 2])


def test_peek_returns_what_step_returns_and_writes_nothing() -> None:
    q, k, v = (x[:, :, 0] for x in featured(1))
    state = start(seed=9)
    before = state.clone()
    y, after = attention.step(q, k, v, GAMMA, state)
    assert attention.peek(q, k, v, GAMMA, state).equal(y)
    assert state.equal(before)
    assert not after.equal(before)


def test_bidirectional_attention_sees_both_ends() -> None:
    q, k, v = featured(12, dtype=torch.float64)
    weights = q @ k.mT
    want = weights @ v / weights.sum(-1, keepdim=True)
    assert error(attention.bidirectional(q, k, v), want) < 1e-12


def plain_error(features: int) -> float:
    """Return the mean square error of the paper's formula against exact softmax attention, scaled by 1/√d."""
    q, k = (0.5 * noise(1, 64, 16, seed=seed, dtype=torch.float64) * 16**-0.25 for seed in (1, 2))
    v = noise(1, 64, 4, seed=3, dtype=torch.float64)
    want = attention.softmax_weights(q, k) @ v
    w = torch.stack([projections(features, 16, seed=seed) for seed in range(20)])
    positive = FEATURE_MAPS["positive"]
    return float(
        (attention.bidirectional(positive(q, w, True), positive(k, w, False), v) - want).square().mean()
    )


def test_the_plain_formula_approaches_softmax_attention() -> None:
    few, some, many = (plain_error(features) for features in (64, 512, 4096))
    assert few / some > 4
    assert some / many > 4
    assert many < 1e-4


def test_forgetting_estimates_softmax_with_a_linear_bias_and_errs_as_one_over_m() -> None:
    q, k = on_sphere(1, 1, 96, 16, seed=1), on_sphere(1, 1, 96, 16, seed=2)
    v = noise(1, 1, 96, 8, seed=3, dtype=torch.float64)
    one = torch.tensor([gamma(24.0)], dtype=torch.float64)
    want = attention.softmax_weights(q, k, one) @ v

    def square_error(features: int) -> float:
        errors = []
        for seed in range(30):
            w = projections(features, 16, seed=seed)
            y, _ = attention.chunked(
                FEATURE_MAPS["positive"](q, w, True), FEATURE_MAPS["positive"](k, w, False), v, one
            )
            errors.append(float((y - want).square().mean()))
        return sum(errors) / len(errors)

    assert square_error(64) / square_error(1024) == pytest.approx(16, rel=0.3)
