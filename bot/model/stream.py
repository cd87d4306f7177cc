"""The Performer's memory of many symbols, in torch: prime it from history, then step and peek.

The oracle of ``kernel``, and a way to run on an accelerator. Rows that share a call share matrix products,
whose rounding may depend on how many they are; ``kernel`` has no such dependence.
"""

from typing import Self

import safetensors.torch
import torch
from torch import Tensor

from bot.domain.errors import BadModel
from bot.model.performer import Performer

SEGMENT_BARS = 1024
"""Bars that go through all layers at once: more only cost memory and cache misses."""

_NAME = "state"


@torch.no_grad()
def run(model: Performer, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Raw outputs (B, T, 6) of a history (B, T, n_in) of any length, in bounded memory, and the state after.

    Rows must be finite: where a history has gaps, run each part of it from its own state.
    """
    if state is None:
        state = model.start(x.shape[0])
    outputs = []
    for segment in torch.split(x, SEGMENT_BARS, dim=1):
        raw, state = model(segment, state)
        outputs.append(raw)
    return torch.cat(outputs, 1), state


class PerformerState:
    """One memory per slot (symbol). Rows are scaled inputs; answers are raw outputs (see ``performer``)."""

    tensor: Tensor
    """Everything remembered, (symbols, layers, heads, M, d_head + 1), laid out as the kernel's."""

    def __init__(self, model: Performer, symbols: int) -> None:
        self.model = model.eval()
        self.tensor = model.start(symbols)

    @torch.no_grad()
    def prime(self, slot: int, history: Tensor) -> Tensor:
        """Read ``history`` (T, n_in) into one slot, in chunks; raw outputs (T, 6) of each of its bars."""
        raw, after = run(self.model, history[None], self.tensor[slot : slot + 1])
        self.tensor[slot] = after[0]
        return raw[0]

    @torch.no_grad()
    def step(self, x: Tensor, slots: Tensor) -> Tensor:
        """Take one closed bar (n, n_in) into each of ``slots`` (n,), all different; raw outputs (n, 6)."""
        raw, after = self.model.step(x, self.tensor[slots])
        self.tensor[slots] = after
        return raw

    @torch.no_grad()
    def peek(self, x: Tensor, slots: Tensor) -> Tensor:
        """What ``step`` would answer for open candles; writes nothing."""
        return self.model.peek(x, self.tensor[slots])

    def reset(self, slot: int) -> None:
        """Forget one symbol's history."""
        self.tensor[slot] = 0.0

    def to_bytes(self) -> bytes:
        """The memory as safetensors."""
        return safetensors.torch.save({_NAME: self.tensor.contiguous()})

    @classmethod
    def from_bytes(cls, model: Performer, saved: bytes) -> Self:
        """What ``to_bytes`` saved, for the same shape of model.

        Raises:
            BadModel: not such bytes, or a memory of another shape or precision.
        """
        try:
            tensor = safetensors.torch.load(saved)[_NAME]
        except (safetensors.SafetensorError, KeyError) as error:
            raise BadModel(f"saved model state cannot be read: {error}") from error
        restored = cls(model, tensor.shape[0] if tensor.ndim else 0)
        if tensor.shape != restored.tensor.shape or tensor.dtype != restored.tensor.dtype:
            raise BadModel(
                f"saved model state is {tensor.dtype} {tuple(tensor.shape)}, "
                f"the model needs {restored.tensor.dtype} {tuple(restored.tensor.shape)}"
            )
        restored.tensor = tensor
        return restored
