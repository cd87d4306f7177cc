"""Attention on features: bidirectional, and causal with forgetting in three equal forms.

Causal: y_t = Σ_{s≤t} γ^(t−s) (φ(q_t)·φ(k_s)) v_s / Σ_{s≤t} γ^(t−s) (φ(q_t)·φ(k_s)), with one γ per head. With
softmax features this estimates softmax attention under an ALiBi bias (t−s) ln γ (Press et al., arXiv
2108.12409).

- ``full``     the definition, quadratic in T: the reference
- ``chunked``  quadratic within chunks, a state between them: training and bulk prediction
- ``step``     one bar at a time, O(1) in T: streaming; ``peek`` returns the same and writes nothing

A 1 is appended to v, so one matrix S = Σ γ^(t−s) φ(k_s) [v_s, 1]ᵀ holds numerator and normaliser, and outputs
are weighted means of values. No form reduces over time in any other way than this causal sum. No form adds an
epsilon: if the features are positive, the normaliser is positive too.

Axes: B batch, H heads, T time, M features, V value width, E = V + 1, C chunk, N chunks. ``gamma`` is (H,)
float64 with values that float32 holds exactly, so all forms and precisions use the same γ. Inputs must be
finite: a NaN spoils its whole chunk.
"""

import torch
from torch import Tensor


def bidirectional(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Let each query see every key, O(T). Features q, k (..., T, M), values v (..., T, V) → (..., T, V)."""
    return _ratio(q @ (k.mT @ _with_one(v)))


def full(
    q: Tensor, k: Tensor, v: Tensor, gamma: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute the definition, O(T²).

    Args: features q, k (B, H, T, M), values v (B, H, T, V), ``state`` (B, H, M, E) before the first bar.
    Returns: the outputs (B, H, T, V) and the state after the last bar (B, H, M, E).
    """
    length = q.shape[-2]
    age = torch.arange(length, device=q.device, dtype=torch.float64)
    log_gamma = gamma.log()[:, None]
    weights = (q @ k.mT) * torch.exp(log_gamma[..., None] * (age[:, None] - age)).tril().to(q)
    numerator, normaliser = weights @ v, weights.sum(-1, keepdim=True)
    if state is not None:
        past = (q * torch.exp(log_gamma * (age + 1)).to(q)[..., None]) @ state
        numerator, normaliser = numerator + past[..., :-1], normaliser + past[..., -1:]
    left = torch.exp(log_gamma * age.flip(0)).to(q)[..., None]
    after = (k * left).mT @ _with_one(v)
    if state is not None:
        after = after + state * torch.exp(log_gamma * length).to(q)[..., None]
    return numerator / normaliser, after


def chunked(
    q: Tensor, k: Tensor, v: Tensor, gamma: Tensor, state: Tensor | None = None, size: int = 64
) -> tuple[Tensor, Tensor]:
    """Compute the same as ``full`` in O(T · size): same arguments, same results, any T, resumable.

    ``size`` (bars per chunk) changes speed only; 32 to 64 is fastest on a CPU.
    """
    length = q.shape[-2]
    values = _with_one(v)
    if state is None:
        state = q.new_zeros(*q.shape[:-2], q.shape[-1], values.shape[-1])
    powers = _powers(gamma, min(size, length)).to(q)
    whole = length - length % size
    outputs = []
    if whole:
        y, state = _equal_chunks(q[:, :, :whole], k[:, :, :whole], values[:, :, :whole], powers, state, size)
        outputs.append(y)
    if whole < length:
        rest = length - whole
        y, state = _equal_chunks(q[:, :, whole:], k[:, :, whole:], values[:, :, whole:], powers, state, rest)
        outputs.append(y)
    return _ratio(torch.cat(outputs, 2)), state


def step(q: Tensor, k: Tensor, v: Tensor, gamma: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Take one bar: features q, k (B, H, M), value v (B, H, V), state (B, H, M, E) → (B, H, V), new state."""
    decayed = state * gamma.to(q)[:, None, None]
    return peek(q, k, v, gamma, state), decayed + k[..., None] * _with_one(v)[..., None, :]


def peek(q: Tensor, k: Tensor, v: Tensor, gamma: Tensor, state: Tensor) -> Tensor:
    """Return what ``step`` would return, from the old state: γ φ(q)·S + (φ(q)·φ(k)) [v, 1]."""
    past = (q[..., None, :] @ state).squeeze(-2) * gamma.to(q)[:, None]
    return _ratio(past + (q * k).sum(-1, keepdim=True) * _with_one(v))


def softmax_weights(q: Tensor, k: Tensor, gamma: Tensor | None = None) -> Tensor:
    """Return the exact weights (..., T, T) that FAVOR+ estimates, of unscaled q·k.

    Quadratic; for tests and plots.

    With ``gamma`` (H,) the weights are causal under the ALiBi bias (t−s) ln γ. Without it every query sees
    every key.
    """
    logits = q @ k.mT
    if gamma is not None:
        t = torch.arange(q.shape[-2], device=q.device, dtype=torch.float64)
        bias = gamma.log()[:, None, None] * (t[:, None] - t)
        logits = logits + bias.masked_fill(t[:, None] < t, -torch.inf).to(q)
    return logits.softmax(-1)


def _equal_chunks(
    q: Tensor, k: Tensor, v: Tensor, powers: Tensor, state: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Process chunks of one size. Returns sums (B, H, T, E) and the state after the last chunk.

    ``powers`` holds at least γ^0 to γ^size.
    """
    q, k, v = (x.reshape(*x.shape[:2], -1, size, x.shape[-1]) for x in (q, k, v))  # (B, H, N, C, ·)
    i = torch.arange(size, device=q.device)
    decay = powers[:, (i[:, None] - i).clamp(min=0)].tril()[:, None]  # (H, 1, C, C)
    within = ((q @ k.mT) * decay) @ v
    gain = (k * powers[:, :size].flip(1)[:, None, :, None]).mT @ v  # (B, H, N, M, E)
    kept = powers[:, size, None, None]
    before = []
    for n in range(q.shape[2]):
        before.append(state)
        state = state * kept + gain[:, :, n]
    past = (q * powers[:, None, 1 : size + 1, None]) @ torch.stack(before, 2)
    return (within + past).flatten(2, 3), state


def _powers(gamma: Tensor, count: int) -> Tensor:
    """Return γ^0 … γ^count, (H, count + 1) float64."""
    exponents = torch.arange(count + 1, device=gamma.device, dtype=torch.float64)
    return torch.exp(gamma.log()[:, None] * exponents)


def _with_one(v: Tensor) -> Tensor:
    return torch.cat((v, v.new_ones(*v.shape[:-1], 1)), -1)


def _ratio(sums: Tensor) -> Tensor:
    return sums[..., :-1] / sums[..., -1:]
