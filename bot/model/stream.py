"""The Performer's state of many symbols, in torch: prime it from history, then step and peek.

The reference for ``kernel``, and a way to run on an accelerator. Rows in one call share matrix products,
whose rounding may depend on the number of rows. ``kernel`` has no such dependence.
"""

from typing import Self

import safetensors.torch
import torch
from torch import Tensor

from bot.domain.errors import BadModel
from bot.model.performer import Performer

SEGMENT_BARS = 1024
"""Bars that go through all layers at once. More bars only cost memory and cache misses."""

_NAME = "state"


@torch.no_grad()
def run(model: Performer, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the raw outputs (B, T, 6) of a history (B, T, n_in) and the state after it.

    The history may have any length; memory stays bounded. Rows must be finite: run each part of a history
    with gaps from its own state.
    """
    if state is None:
        state = model.start(x.shape[0])
    outputs = []
    for segment in torch.split(x, SEGMENT_BARS, dim=1):
        raw, state = model(segment, state)
        outputs.append(raw)
    return torch.cat(outputs, 1), state


class PerformerState:
    """One state per slot (symbol). Rows are scaled inputs; results are raw outputs (see ``performer``)."""

    tensor: Tensor
    """All states, (symbols, layers, heads, M, d_head + 1), in the kernel's layout."""

    def __init__(self, model: Performer, symbols: int) -> None:
        self.model = model.eval()
        self.tensor = model.start(symbols)

    @torch.no_grad()
    def prime(self, slot: int, history: Tensor) -> Tensor:
        """Read ``history`` (T, n_in) into one slot, in chunks. Returns the raw outputs (T, 6)."""
        raw, after = run(self.model, history[None], self.tensor[slot : slot + 1])
        self.tensor[slot] = after[0]
        return raw[0]

    @torch.no_grad()
    def step(self, x: Tensor, slots: Tensor) -> Tensor:
        """Take one closed bar (n, n_in) into each of ``slots`` (n,), all different.

        Returns raw outputs (n, 6).
        """
        raw, after = self.model.step(x, self.tensor[slots])
        self.tensor[slots] = after
        return raw

    @torch.no_grad()
    def peek(self, x: Tensor, slots: Tensor) -> Tensor:
        """Return what ``step`` would return for open candles. Writes nothing."""
        return self.model.peek(x, self.tensor[slots])

    def reset(self, slot: int) -> None:
        """Forget one symbol's history."""
        self.tensor[slot] = 0.0

    def to_bytes(self) -> bytes:
        """Return the state as safetensors."""
        return safetensors.torch.save({_NAME: self.tensor.contiguous()})

    @classmethod
    def from_bytes(cls, model: Performer, saved: bytes) -> Self:
        """Read back what ``to_bytes`` returned, for a model of the same shape.

        Raises:
            BadModel: the bytes are not such a state, or its shape or precision differs.
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
