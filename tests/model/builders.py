"""Builders with defaults for small models, rows and attention inputs."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bot.model import attention
from bot.model.config import PerformerConfig, gamma
from bot.model.favor import FEATURE_MAPS, projections
from bot.model.kernel import StreamingKernel
from bot.model.performer import Performer

PLAIN = {"qk_norm": False, "half_lives": (None, None)}
"""The paper's formula: 1/√d, no forgetting."""

KERNELS = ("positive", "hyperbolic", "relu")

SHAPES = (
    {"kernel": "positive"},
    {"kernel": "hyperbolic"},
    {"kernel": "relu"},
    {"norms": "sqrtd", "horizons_minutes": (35, 240)},
    PLAIN,
    {"kernel": "relu", **PLAIN},
    {"d_model": 15, "heads": 3, "features": 7, "layers": 3, "mlp_ratio": 3, "half_lives": (2.5, 40.0, None)},
    {"d_model": 4, "heads": 1, "features": 4, "layers": 1, "skip_vol": (), "half_lives": (8.0,)},
)
"""Every form of model that streams."""


def small(**changes: Any) -> PerformerConfig:
    shape = {
        "n_in": 6, "d_model": 16, "heads": 2, "layers": 2, "features": 16, "mlp_ratio": 2,
        "half_lives": (4.0, 32.0), "skip_vol": (0, 2), "skip_ret": (1, 5, 3), "seed": 1,
    }  # fmt: skip
    return PerformerConfig(**{**shape, **changes})


def lively(config: PerformerConfig, dtype: torch.dtype = torch.float32, seed: int = 0) -> Performer:
    """Return a model whose head and skip are not zero, unlike at the start of training."""
    model = Performer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in (model.head.weight, model.skip_vol.weight, model.skip_ret.weight):
            weight.normal_(std=0.1, generator=generator)
    return model.to(dtype).eval()


def arrays(model: Performer) -> dict[str, Any]:
    return {name: value.numpy() for name, value in model.state_dict().items()}


def kernel_of(model: Performer, symbols: int = 1) -> StreamingKernel:
    n_in = model.config.n_in
    return StreamingKernel(arrays(model), model.config, np.zeros(n_in), np.ones(n_in), 8.0, symbols=symbols)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def gammas(*half_lives: float | None) -> Tensor:
    return torch.tensor([gamma(half_life) for half_life in half_lives], dtype=torch.float64)


def on_sphere(*shape: int, length: float = 1.0, seed: int = 0) -> Tensor:
    return torch.nn.functional.normalize(noise(*shape, seed=seed, dtype=torch.float64), dim=-1) * length


def featured(
    bars: int, *, kind: str = "positive", dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Return φ(q), φ(k) (2, 3, T, 16) and v (2, 3, T, 5) of three heads."""
    rows = 8 if kind == "hyperbolic" else 16
    w = torch.stack([projections(rows, 8, seed=head) for head in range(3)]).to(dtype)
    q, k = (on_sphere(2, 3, bars, 8, seed=seed + i).to(dtype) for i in range(2))
    return (
        FEATURE_MAPS[kind](q, w, True),
        FEATURE_MAPS[kind](k, w, False),
        noise(2, 3, bars, 5, seed=seed + 2, dtype=dtype),
    )


def stepped(q: Tensor, k: Tensor, v: Tensor, gamma: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Run the streaming form over a whole series."""
    outputs = []
    for t in range(q.shape[2]):
        y, state = attention.step(q[:, :, t], k[:, :, t], v[:, :, t], gamma, state)
        outputs.append(y)
    return torch.stack(outputs, 2), state


def streamed(model: Performer, x: Tensor) -> tuple[Tensor, Tensor]:
    """Run ``model.step`` over a whole series (B, T, n_in)."""
    state = model.start(x.shape[0])
    outputs = []
    for t in range(x.shape[1]):
        raw, state = model.step(x[:, t], state)
        outputs.append(raw)
    return torch.stack(outputs, 1), state


def error(got: Tensor, want: Tensor) -> float:
    """Return the largest difference, relative to the largest value."""
    return float((got - want).detach().abs().max() / want.detach().abs().max())
