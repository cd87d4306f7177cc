from typing import Any

import numpy as np
import pytest
import torch
from numba.core.dispatcher import Dispatcher
from numpy.typing import NDArray

from bot.domain.errors import BadModel
from bot.model import kernel as kernel_module
from bot.model.kernel import StreamingKernel, _exp
from bot.model.performer import forecast
from bot.model.stream import run
from tests.model.builders import SHAPES, arrays, kernel_of, lively, noise, small, streamed

Floats = NDArray[np.float64]


def rows(count: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(count, 6))


def slots(*which: int) -> NDArray[np.int64]:
    return np.array(which, dtype=np.int64)


def against(found: Floats, want: Floats) -> float:
    """Return the largest difference of a column relative to its scale; returns use the scale of returns."""
    scale = np.abs(want).reshape(-1, 6).max(0)[[0, 1, 4, 5, 4, 5]]
    return float((np.abs(found - want) / scale).max())


def relative(found: Floats, want: Floats) -> float:
    return float(np.abs(found - want).max() / np.abs(want).max())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_kernel_is_the_torch_step(shape: dict[str, Any]) -> None:
    model = lively(small(**shape))
    kernel = kernel_of(model)
    x = rows(200).astype(np.float32)
    with torch.no_grad():
        raw, state = streamed(model, torch.from_numpy(x)[None])
    found = kernel.step(x.astype(np.float64), np.zeros(200, dtype=np.int64))
    assert against(found, forecast(raw, model.short_share)[0].numpy()) < 2e-6
    assert relative(kernel.state, state.numpy()) < 2e-6


def test_the_kernel_scales_and_clips_raw_rows() -> None:
    model = lively(small())
    mean, std = np.arange(6.0), np.linspace(0.5, 3, 6)
    kernel = StreamingKernel(arrays(model), model.config, mean, std, 2.0)
    raw_rows = rows(30) * 5
    x = np.clip((raw_rows - mean) / std, -2.0, 2.0).astype(np.float32)
    want = kernel_of(model).step(x.astype(np.float64), np.zeros(30, dtype=np.int64))
    assert kernel.step(raw_rows, np.zeros(30, dtype=np.int64)).tobytes() == want.tobytes()


@pytest.mark.fault(77)
def test_a_million_steps_neither_drift_nor_overflow() -> None:
    config = small(
        d_model=8,
        layers=2,
        features=8,
        mlp_ratio=1,
        n_in=2,
        half_lives=(4.0, 64.0),
        skip_vol=(0,),
        skip_ret=(1,),
    )
    model = lively(config)
    kernel, oracle = kernel_of(model), lively(config).double()
    x = np.random.default_rng(0).normal(size=(1_000_000, 2)).astype(np.float32).astype(np.float64)
    errors = []
    for end in range(100_000, 1_000_001, 100_000):
        found = kernel.step(x[end - 100_000 : end], np.zeros(100_000, dtype=np.int64))
        window = torch.from_numpy(x[end - 12_000 : end])[
            None
        ]  # starts 2 × 80 half-lives before what it judges
        raw, state = run(oracle, window)
        errors.append(against(found[-1000:], forecast(raw)[0, -1000:].numpy()))
        assert np.isfinite(kernel.state).all()
        assert relative(kernel.state, state.numpy()) < 2e-6
    assert max(errors) < 2e-6
    assert max(errors[5:]) < 2 * max(errors[:5])


def test_a_row_does_not_depend_on_the_other_rows_of_the_call() -> None:
    model = lively(small(d_model=32, features=32))
    together, alone = kernel_of(model, symbols=600), kernel_of(model, symbols=600)
    order = np.random.default_rng(1).permutation(600)
    for seed in range(3):
        x = rows(600, seed)
        found = together.step(x[order], order)
        single = np.concatenate([alone.step(x[i : i + 1], slots(i)) for i in range(600)])
        assert found.tobytes() == single[order].tobytes()
    assert together.state.tobytes() == alone.state.tobytes()


def test_bars_of_one_symbol_may_share_a_call() -> None:
    model = lively(small())
    bulk, single = kernel_of(model, 3), kernel_of(model, 3)
    x = rows(20)
    found = bulk.step(x, np.full(20, 2))
    want = np.concatenate([single.step(x[t : t + 1], slots(2)) for t in range(20)])
    assert found.tobytes() == want.tobytes()
    assert bulk.state.tobytes() == single.state.tobytes()


def test_the_future_cannot_change_the_past() -> None:
    model = lively(small())
    x = rows(40)
    changed = x.copy()
    changed[25:] *= 10
    first, second = (kernel_of(model).step(series, np.zeros(40, dtype=np.int64)) for series in (x, changed))
    assert first[:25].tobytes() == second[:25].tobytes()
    assert (first[25:] != second[25:]).any(1).all()


def test_peek_returns_what_step_returns_and_writes_nothing() -> None:
    kernel = kernel_of(lively(small()), symbols=3)
    kernel.step(rows(3), slots(0, 1, 2))
    before = kernel.state.tobytes()
    peeked = kernel.peek(rows(2, seed=1), slots(2, 0))
    assert kernel.state.tobytes() == before
    assert kernel.step(rows(2, seed=1), slots(2, 0)).tobytes() == peeked.tobytes()
    assert kernel.state.tobytes() != before


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_gives_nan_and_leaves_the_state_unchanged(bad: float) -> None:
    kernel = kernel_of(lively(small()), symbols=2)
    kernel.step(rows(2), slots(0, 1))
    before = kernel.state.copy()
    x = rows(2, seed=1)
    x[0, 4] = bad
    found = kernel.step(x, slots(0, 1))
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()
    assert kernel.state[0].tobytes() == before[0].tobytes()
    assert kernel.state[1].tobytes() != before[1].tobytes()


def test_a_nan_in_the_state_stays_visible_until_a_reset() -> None:
    kernel = kernel_of(lively(small()), symbols=1)
    first = kernel.step(rows(1), slots(0))
    kernel.state[0, 1, 0, 3, 2] = np.nan
    before = kernel.state.tobytes()
    assert np.isnan(kernel.step(rows(1), slots(0))).all()
    assert kernel.state.tobytes() == before
    kernel.reset(0)
    assert kernel.step(rows(1), slots(0)).tobytes() == first.tobytes()


def test_reset_forgets_one_symbol() -> None:
    kernel = kernel_of(lively(small()), symbols=2)
    kernel.step(rows(2), slots(0, 1))
    kernel.reset(1)
    assert kernel.state[0].any()
    assert not kernel.state[1].any()


def test_a_copied_state_resumes() -> None:
    model = lively(small())
    one, two = kernel_of(model), kernel_of(model)
    one.step(rows(30), np.zeros(30, dtype=np.int64))
    two.state[:] = np.frombuffer(one.state.tobytes(), dtype=np.float32).reshape(two.state.shape)
    assert one.step(rows(1), slots(0)).tobytes() == two.step(rows(1), slots(0)).tobytes()


@pytest.mark.parametrize("slot", [-1, 2])
def test_a_slot_outside_of_the_state_is_refused_before_anything_is_written(slot: int) -> None:
    kernel = kernel_of(lively(small()), symbols=2)
    with pytest.raises(IndexError, match=f"slot {slot}"):
        kernel.step(rows(2), slots(0, slot))
    assert not kernel.state.any()


def test_rows_that_do_not_fit_are_refused() -> None:
    kernel = kernel_of(lively(small()), symbols=2)
    for x, which in ((rows(2)[:, :5], slots(0, 1)), (rows(2), slots(0)), (rows(1)[0], slots(0))):
        with pytest.raises(ValueError, match="must be"):
            kernel.step(x, which)


def test_no_rows_are_no_forecasts() -> None:
    assert kernel_of(lively(small())).step(np.empty((0, 6)), slots()).shape == (0, 6)


def test_weights_that_do_not_fit_are_refused() -> None:
    model = lively(small())
    missing, shape, nan = arrays(model), arrays(model), arrays(model)
    del missing["norm.weight"]
    shape["bias"] = np.zeros(5)
    nan["bias"] = np.full(6, np.nan)
    for weights, why in ((missing, "is missing"), (shape, "has shape"), (nan, "not finite")):
        with pytest.raises(BadModel, match=why):
            StreamingKernel(weights, model.config, np.zeros(6), np.ones(6), 8.0)


@pytest.mark.parametrize(
    ("mean", "std", "clip"),
    [
        (np.zeros(5), np.ones(6), 8.0),
        (np.zeros(6), np.zeros(6), 8.0),
        (np.full(6, np.nan), np.ones(6), 8.0),
        (np.zeros(6), np.ones(6), 0.0),
    ],
)
def test_a_scaling_that_does_not_fit_is_refused(mean: Floats, std: Floats, clip: float) -> None:
    model = lively(small())
    with pytest.raises(BadModel, match="scaling"):
        StreamingKernel(arrays(model), model.config, mean, std, clip)


def test_the_polynomial_exponential_is_good_to_a_rounding() -> None:
    x = np.linspace(-87, 87, 20_001).astype(np.float32)
    found = np.array([_exp(value) for value in x], dtype=np.float64)
    assert (
        np.abs(found / np.exp(x.astype(np.float64)) - 1).max() < 1.2e-7
    )  # half of float32's last place is 6e-8


def test_untrained_models_differ_from_their_linear_part_only_where_the_head_is_set() -> None:
    model = lively(small())
    with torch.no_grad():
        model.head.weight.zero_()
        want = forecast(model.linear(noise(1, 6)))[0].numpy()
    assert against(kernel_of(model).step(noise(1, 6).double().numpy(), slots(0))[0], want) < 2e-6


def test_the_compiler_may_not_assume_that_numbers_are_finite() -> None:
    compiled = [f for f in vars(kernel_module).values() if isinstance(f, Dispatcher)]
    assert len(compiled) > 10
    for function in compiled:
        assert not {"nnan", "ninf", "fast"} & set(function.targetoptions.get("fastmath", ()))
