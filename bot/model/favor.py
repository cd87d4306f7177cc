"""FAVOR+: softmax attention as a dot product of random features.

Choromanski et al. 2021, "Rethinking Attention with Performers" (arXiv 2009.14794). For ω ~ N(0, I), exp(q·k)
= E[φ(q)·φ(k)] with a feature map φ of finite width. So attention is φ(Q) (φ(K)ᵀ V): linear in the length, and
a running sum if causal.

Axes: D width of a head, N projections (rows of ω), M features.

Every map works on each row of ``x`` alone. No map reduces over time, so no future value can leak into the
past.
"""

from collections.abc import Callable
from math import log, sqrt

import torch
from torch import Tensor

from bot.model.config import RELU_EPSILON, Norms

FeatureMap = Callable[[Tensor, Tensor, bool], Tensor]
"""``(x (..., T, D), projections (..., N, D), stabilise) -> (..., T, M)``.

``stabilise`` divides each row by its own largest feature. For a query this factor cancels in attention,
because one query row gives one weighted mean. Never use it on a key.
"""


def projections(rows: int, dim: int, *, norms: Norms = "chi", seed: int = 0) -> Tensor:
    """Return random directions ω ``(rows, dim)``, float64, as a function of the arguments only.

    Orthogonal within each block of ``dim`` rows (paper, section 2.4): QR of a Gaussian matrix, with signs set
    so that the directions are uniform (Haar). ``chi`` draws each length as the length of a Gaussian vector:
    the estimate stays unbiased. ``sqrtd`` sets every length to √dim. ``iid`` draws Gaussian rows that are not
    orthogonal.
    """
    generator = torch.Generator().manual_seed(seed)

    def gaussian(count: int) -> Tensor:
        return torch.randn(count, dim, generator=generator, dtype=torch.float64)

    if norms == "iid":
        return gaussian(rows)
    blocks: list[Tensor] = []
    for _ in range(-(-rows // dim)):
        q, r = torch.linalg.qr(gaussian(dim))
        blocks.append((q * torch.sign(torch.diagonal(r))).mT)
    directions = torch.cat(blocks)[:rows]
    if norms == "sqrtd":
        return directions * sqrt(dim)
    lengths: Tensor = torch.linalg.vector_norm(gaussian(rows), dim=-1, keepdim=True)
    return directions * lengths


def positive(x: Tensor, w: Tensor, stabilise: bool = False) -> Tensor:
    """Return exp(ω·x − |x|²/2) / √M, M = N (paper, lemma 1): unbiased for exp(q·k), all > 0."""
    exponent = x @ w.mT
    shift = exponent.detach().amax(-1, keepdim=True) if stabilise else x.square().sum(-1, keepdim=True) / 2
    return (exponent - (shift + log(w.shape[-2]) / 2)).exp()


def hyperbolic(x: Tensor, w: Tensor, stabilise: bool = False) -> Tensor:
    """Apply ``positive`` to ω and −ω, M = 2N (paper, lemma 1).

    The errors of a pair partly cancel, so the variance is lower.
    """
    return positive(x, torch.cat((w, -w), -2), stabilise)


def relu(x: Tensor, w: Tensor, stabilise: bool = False) -> Tensor:
    """Return (relu(ω·x) + ε) / √M, M = N: the paper's generalised attention, not an estimate of softmax.

    The features cannot overflow, so ``stabilise`` has no effect.
    """
    return ((x @ w.mT).relu() + RELU_EPSILON) / sqrt(w.shape[-2])


def trigonometric(x: Tensor, w: Tensor, stabilise: bool = False) -> Tensor:
    """Return exp(|x|²/2) (cos ω·x, sin ω·x) / √N, M = 2N: unbiased, but not always positive.

    For comparison only (the paper's contrast): its denominators can be 0. ``stabilise`` drops only the factor
    exp(|x|²/2).
    """
    angle = x @ w.mT
    waves = torch.cat((angle.cos(), angle.sin()), -1) / sqrt(w.shape[-2])
    return waves if stabilise else waves * (x.square().sum(-1, keepdim=True) / 2).exp()


FEATURE_MAPS: dict[str, FeatureMap] = {
    "positive": positive,
    "hyperbolic": hyperbolic,
    "relu": relu,
    "trigonometric": trigonometric,
}
