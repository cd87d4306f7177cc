import pytest
import torch

from bot.domain.errors import BadModel
from bot.model.stream import SEGMENT_BARS, PerformerState, run
from tests.model.builders import error, lively, noise, small


def test_a_history_in_segments_is_one_series() -> None:
    model = lively(small(), torch.float64)
    x = noise(1, SEGMENT_BARS + 77, 6, dtype=torch.float64)
    with torch.no_grad():
        want, after = model(x)
    raw, state = run(model, x)
    assert error(raw, want) < 1e-12
    assert error(state, after) < 1e-12


def test_a_primed_symbol_steps_on_as_if_it_had_stepped_all_along() -> None:
    primed, stepped = (PerformerState(lively(small(), torch.float64), symbols=3) for _ in range(2))
    x = noise(50, 6, dtype=torch.float64)
    raw = primed.prime(1, x[:40])
    slot = torch.tensor([1])
    for t in range(40):
        assert error(stepped.step(x[t : t + 1], slot)[0], raw[t]) < 1e-12
    assert error(primed.step(x[40:41], slot), stepped.step(x[40:41], slot)) < 1e-12
    assert primed.tensor[[0, 2]].eq(0).all()


def test_one_symbol_does_not_change_the_state_of_another() -> None:
    state = PerformerState(lively(small()), symbols=4)
    state.step(noise(2, 6), torch.tensor([3, 0]))
    before = state.tensor.clone()
    state.step(noise(1, 6, seed=1), torch.tensor([3]))
    assert state.tensor[:3].equal(before[:3])
    assert not state.tensor[3].equal(before[3])


def test_peek_returns_what_step_returns_and_writes_nothing() -> None:
    state = PerformerState(lively(small()), symbols=2)
    slots = torch.tensor([1, 0])
    state.step(noise(2, 6), slots)
    before = state.tensor.clone()
    peeked = state.peek(noise(2, 6, seed=1), slots)
    assert state.tensor.equal(before)
    assert state.step(noise(2, 6, seed=1), slots).equal(peeked)


def test_reset_forgets_one_symbol() -> None:
    state = PerformerState(lively(small()), symbols=2)
    slots = torch.tensor([0, 1])
    first = state.step(noise(2, 6), slots)
    state.reset(1)
    assert state.tensor[0].ne(0).any()
    torch.testing.assert_close(state.step(noise(2, 6), slots)[1], first[1])


def test_a_state_survives_safetensors() -> None:
    model = lively(small())
    state = PerformerState(model, symbols=2)
    state.prime(0, noise(30, 6))
    restored = PerformerState.from_bytes(model, state.to_bytes())
    assert restored.tensor.equal(state.tensor)
    slots = torch.tensor([0, 1])
    assert restored.step(noise(2, 6, seed=1), slots).equal(state.step(noise(2, 6, seed=1), slots))


def test_a_state_of_another_model_is_refused() -> None:
    saved = PerformerState(lively(small()), symbols=2).to_bytes()
    for other in (lively(small(features=8)), lively(small(), torch.float64)):
        with pytest.raises(BadModel, match="the model needs"):
            PerformerState.from_bytes(other, saved)
    with pytest.raises(BadModel, match="cannot be read"):
        PerformerState.from_bytes(lively(small()), saved[:50])
