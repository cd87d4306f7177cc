"""What else could mix the bars of a stream, in the place of the Performer's attention: for comparison only.

Each class takes the place of ``Block.attention``: it maps rows (B, T, d_model) and the state of one layer to
the same two, in the chunked form alone. ``state_shape`` is that of one layer and one stream.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from bot.model.performer import CausalFavor, Form, Performer, PerformerConfig

Shape = tuple[int, int, int]
WINDOW_BARS = 512
"""Bars before its own that a query of exact softmax sees."""


class Mixed(Performer):
    """A Performer whose blocks mix the bars of a stream in another way; all else is the product's."""

    def __init__(self, config: PerformerConfig, mixing: Callable[[PerformerConfig, int], nn.Module]) -> None:
        super().__init__(config)
        for layer, block in enumerate(self.blocks):
            block.attention = mixing(config, layer)
            self._shape = (config.layers, *block.attention.state_shape)
        self._draw_again()

    def start(self, batch: int) -> Tensor:
        return torch.zeros(batch, *self._shape, dtype=self.embed.weight.dtype)

    def _draw_again(self) -> None:
        """Draw every weight of the trunk once more; a GRU keeps the weights that torch gave it."""
        kept = {name: p.clone() for name, p in self.named_parameters() if ".gru." in name}
        self._draw_weights()
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name in kept:
                    parameter.copy_(kept[name])


class Nothing(nn.Module):
    """No mixing: each row is seen alone, so the model remembers nothing."""

    state_shape: Shape = (1, 1, 1)

    def __init__(self, config: PerformerConfig, layer: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, state: Tensor, form: Form, size: int) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(x), state


class Gru(nn.Module):
    """A gated recurrent unit with the number of parameters of the attention, and a projection out of it."""

    def __init__(self, config: PerformerConfig, layer: int) -> None:
        super().__init__()
        d = config.d_model
        self.width = max(
            h for h in range(1, 2 * d) if 3 * h * (d + h + 2) + h * d <= 4 * d * d + config.heads
        )
        self.gru = nn.GRU(d, self.width, batch_first=True)
        self.out = nn.Linear(self.width, d, bias=False)
        self.state_shape: Shape = (1, 1, self.width)

    def forward(self, x: Tensor, state: Tensor, form: Form, size: int) -> tuple[Tensor, Tensor]:
        y, after = self.gru(x, state[:, 0, 0][None].contiguous())
        return self.out(y), after[0][:, None, None]


class EluAttention(CausalFavor):
    """Linear attention with the features elu(x) + 1 (Katharopoulos et al., arXiv 2006.16236), not random.

    It forgets as the Performer does. As many features as a head is wide, and no QK-norm.
    """

    def __init__(self, config: PerformerConfig, layer: int) -> None:
        super().__init__(config, layer)
        self.state_shape: Shape = (config.heads, config.d_head, config.d_head + 1)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = _heads(self, x)
        return F.elu(q) + 1.0, F.elu(k) + 1.0, v


class ExactSoftmax(CausalFavor):
    """What FAVOR+ estimates, without the estimate: softmax with the same forgetting, over a window.

    The state holds the keys and values of the last bars, and whether there was such a bar.
    """

    def __init__(self, config: PerformerConfig, layer: int) -> None:
        super().__init__(config, layer)
        self.state_shape: Shape = (config.heads, WINDOW_BARS, 2 * config.d_head + 1)

    def forward(self, x: Tensor, state: Tensor, form: Form, size: int) -> tuple[Tensor, Tensor]:
        q, k, v = _heads(self, x)
        scale = self.scale()[:, None, None]
        q, k = F.normalize(q, dim=-1) * scale, F.normalize(k, dim=-1) * scale
        held = torch.cat((state, torch.cat((k, v, k.new_ones(*k.shape[:-1], 1)), -1)), 2)
        spare = -x.shape[1] % size
        blocks = F.pad(held, (0, 0, 0, spare)).unfold(2, WINDOW_BARS + size, size)  # (B, H, N, E, S)
        keys, values, there = blocks.split((self.config.d_head, self.config.d_head, 1), -2)
        logits = F.pad(q, (0, 0, 0, spare)).unflatten(2, (-1, size)) @ keys + self._bias(size)
        y = (logits + there.log()).softmax(-1) @ values.mT
        y = y.flatten(2, 3)[:, :, : x.shape[1]]
        return self.out(y.transpose(1, 2).flatten(2)), held[:, :, -WINDOW_BARS:]

    def _bias(self, size: int) -> Tensor:
        """Return what forgetting adds to the logits of a block's queries (H, 1, size, WINDOW_BARS + size)."""
        age = WINDOW_BARS + torch.arange(size)[:, None] - torch.arange(WINDOW_BARS + size)
        bias = age * torch.tensor(self.config.gammas).log()[:, None, None]
        return bias.masked_fill((age < 0) | (age > WINDOW_BARS), -torch.inf)[:, None]


def _heads(attention: CausalFavor, x: Tensor) -> Tensor:
    """Return queries, keys and values, (3, B, H, T, D)."""
    shape = (3, attention.config.heads, attention.config.d_head)
    return attention.qkv(x).unflatten(-1, shape).permute(2, 0, 3, 1, 4)
