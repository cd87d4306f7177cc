"""The whole model: a causal Performer over feature rows, with a linear model inside.

::

    x ─┬─ embed ─ [RMSNorm ─ FAVOR+ ─ + ─ RMSNorm ─ MLP ─ +] × layers ─ RMSNorm ─ head ─┬─ + ─ raw ─ forecast
       └─────────── linear skip: measures of volatility → volatility, lags → returns ────────┘

The head starts at zero, so training starts at the linear model, which ``fit_skip`` fits in closed form, and
adds the trunk's part from there. The only reductions over time are the causal sums of ``attention``.

Raw outputs, in this order:

0. μ, 1. ln σ    realised variance over the longer horizon is log-normal: ln rv ~ N(μ, σ²)
2. 3.            location of the return over the shorter and the longer, in units of their forecast volatility
4. 5.            ln of the return's Student-t scale (ν = 4), in the same units

``forecast`` turns them into variances and returns. Forms: ``model(x, state)`` (chunked, or the quadratic
reference), ``model.step(x, state)``, ``model.peek(x, state)``; ``state`` (B, layers, heads, M, d_head + 1) is
the whole memory.

Axes: B batch, T time, H heads, D width of a head, M features.
"""

from math import log, sqrt
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from bot.domain.horizons import HOUR
from bot.model import attention
from bot.model.config import OUTPUTS, RMS_EPSILON, RV_MAX, RV_MIN, SCALE_MAX, PerformerConfig
from bot.model.favor import FEATURE_MAPS, projections

__all__ = ["Form", "Performer", "PerformerConfig", "forecast", "log_rv_mean", "volatility"]

Form = Literal["full", "chunked", "step", "peek"]

STUDENT_T_MEDIAN = 0.7407
"""Median of |t| for ν = 4. The median of |residual| divided by it is a robust estimate of the scale."""


class Performer(nn.Module):
    """Takes scaled feature rows, returns raw outputs. The initial weights depend on ``config`` only."""

    def __init__(self, config: PerformerConfig) -> None:
        super().__init__()
        self.config = config
        self.short_share = config.horizons.short_share
        self.embed = nn.Linear(config.n_in, config.d_model)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = RMSNorm(config.d_model)
        self.head = nn.Linear(config.d_model, OUTPUTS, bias=False)
        self.skip_vol = LinearSkip(config.skip_vol, 1)
        self.skip_ret = LinearSkip(config.skip_ret, 2)
        self.bias = nn.Parameter(torch.tensor([-11.0, log(0.8), 0.0, 0.0, log(sqrt(0.5)), log(sqrt(0.5))]))
        self._draw_weights()

    def forward(
        self, x: Tensor, state: Tensor | None = None, *, form: Form = "chunked", size: int = 64
    ) -> tuple[Tensor, Tensor]:
        """Return the raw outputs (B, T, 6) of rows ``x`` (B, T, n_in), and the state after the last row.

        ``state`` is the state before the first row; None means no history. Rows must be finite; the forms
        agree up to rounding. ``step`` and ``peek`` take T = 1.
        """
        if state is None:
            state = self.start(x.shape[0])
        h = self.embed(x)
        after = []
        for layer, block in enumerate(self.blocks):
            h, s = block(h, state[:, layer], form, size)
            after.append(s)
        return self._biased(self._skip(x) + self.head(self.norm(h))), torch.stack(after, 1)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Take one closed bar of each of B streams: rows (B, n_in) → raw outputs (B, 6), new state."""
        raw, state = self.forward(x[:, None], state, form="step")
        return raw[:, 0], state

    def peek(self, x: Tensor, state: Tensor) -> Tensor:
        """Return what ``step`` would return for an open candle. Computes no new state."""
        raw, _ = self.forward(x[:, None], state, form="peek")
        return raw[:, 0]

    def linear(self, x: Tensor) -> Tensor:
        """Return the raw outputs (..., 6) of the linear skip alone.

        Measures of volatility forecast it, lagged returns forecast returns.
        """
        return self._biased(self._skip(x))

    def _skip(self, x: Tensor) -> Tensor:
        vol, ret = self.skip_vol(x), self.skip_ret(x)
        none = torch.zeros_like(vol)
        return torch.cat((vol, none, ret, none, none), -1)

    def _biased(self, raw: Tensor) -> Tensor:
        """Add the bias; in evaluation in float64, as the kernel does.

        The log variance is near −11. At this size a float32 is so coarse that it moves a variance by 5e-7.
        """
        return raw + self.bias if self.training else raw.double() + self.bias.double()

    def start(self, batch: int) -> Tensor:
        """Return the state of ``batch`` streams before their first bar: all zeros."""
        return torch.zeros(
            batch, *self.config.state_shape, dtype=self.embed.weight.dtype, device=self.embed.weight.device
        )

    @torch.no_grad()
    def fit_skip(
        self,
        x: Tensor,
        rv: Tensor,
        ret_short: Tensor,
        ret_long: Tensor,
        *,
        ridge_vol: float = 1e-3,
        ridge_ret: float = 1e-1,
    ) -> None:
        """Set the linear skip by ridge regression, in float64, and set the trunk's output to zero.

        ``x`` (rows, n_in): scaled inputs of training rows only. Targets (rows,), NaN where missing. The ridge
        penalties are shares of the mean square of the inputs; biases have no penalty. The residuals set σ and
        the scales.
        """
        self.head.weight.zero_()
        bias = self.bias.double()
        log_rv = rv.double().clamp(min=RV_MIN).log()
        weights, bias[0], residual = _ridge(x[:, self.skip_vol.index], log_rv, ridge_vol)
        self.skip_vol.weight.copy_(weights[None])
        bias[1] = residual.square().mean().sqrt().log()
        self.bias.copy_(bias)
        vol_short, vol_long = volatility(self.linear(x).double(), self.short_share).unbind(-1)
        for row, target in enumerate((ret_short / vol_short, ret_long / vol_long)):
            if not target.isfinite().any():
                continue
            weights, bias[2 + row], residual = _ridge(x[:, self.skip_ret.index], target, ridge_ret)
            self.skip_ret.weight[row] = weights
            bias[4 + row] = (residual.abs().median() / STUDENT_T_MEDIAN).log()
        self.bias.copy_(bias)

    def _draw_weights(self) -> None:
        """Draw Gaussian weights of deviation 1/√fan_in; residual branches / √(2 · layers); the head is 0."""
        generator = torch.Generator().manual_seed(self.config.seed)
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2 or name.startswith("skip"):
                continue
            deviation = 1 / sqrt(parameter.shape[1])
            if name.endswith(("out.weight", "down.weight")):
                deviation /= sqrt(2 * self.config.layers)
            nn.init.normal_(parameter, std=deviation, generator=generator)
        nn.init.zeros_(self.embed.bias)
        nn.init.zeros_(self.head.weight)


class Block(nn.Module):
    """A pre-norm residual block: attention, then MLP (GELU, tanh form)."""

    def __init__(self, config: PerformerConfig, layer: int) -> None:
        super().__init__()
        self.norm_attention = RMSNorm(config.d_model)
        self.attention = CausalFavor(config, layer)
        self.norm_mlp = RMSNorm(config.d_model)
        self.up = nn.Linear(config.d_model, config.d_mlp)
        self.down = nn.Linear(config.d_mlp, config.d_model, bias=False)
        nn.init.zeros_(self.up.bias)
        self.dropout = config.dropout

    def forward(self, h: Tensor, state: Tensor, form: Form, size: int) -> tuple[Tensor, Tensor]:
        """Map (B, T, d_model) and a state (B, H, M, D + 1) to the same two shapes."""
        y, state = self.attention(self.norm_attention(h), state, form, size)
        h = h + F.dropout(y, self.dropout, self.training)
        y = self.down(F.gelu(self.up(self.norm_mlp(h)), approximate="tanh"))
        return h + F.dropout(y, self.dropout, self.training), state


class CausalFavor(nn.Module):
    """Multi-head causal FAVOR+ with forgetting.

    With QK-norm |q| = |k| = s per head; s is learned in (0, 1.5) and starts at 1. The exponents are then
    bounded by |ω| s − s²/2, so keys need no stabiliser. Without QK-norm, q and k are scaled by D^(−1/4): the
    paper's 1/√D.
    """

    projections: Tensor

    def __init__(self, config: PerformerConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.feature_map = FEATURE_MAPS[config.kernel]
        self.qkv = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.out = nn.Linear(config.d_model, config.d_model, bias=False)
        if config.qk_norm:
            self.scale_logit = nn.Parameter(torch.full((config.heads,), -log(SCALE_MAX - 1)))
        first = config.seed * 1_000_003 + layer * config.heads
        drawn = [
            projections(config.projection_rows, config.d_head, norms=config.norms, seed=first + head)
            for head in range(config.heads)
        ]
        self.register_buffer("projections", torch.stack(drawn).float())  # (H, rows, D)

    def forward(self, x: Tensor, state: Tensor, form: Form, size: int) -> tuple[Tensor, Tensor]:
        """Map (B, T, d_model) and a state (B, H, M, D + 1) to the same two.

        ``peek`` returns the old state.
        """
        q, k, v = self.features(x)
        gamma = torch.tensor(self.config.gammas, dtype=torch.float64, device=x.device)
        match form:
            case "chunked":
                y, state = attention.chunked(q, k, v, gamma, state, size)
            case "full":
                y, state = attention.full(q, k, v, gamma, state)
            case "step":
                y, state = attention.step(q[:, :, 0], k[:, :, 0], v[:, :, 0], gamma, state)
                y = y[:, :, None]
            case "peek":
                y = attention.peek(q[:, :, 0], k[:, :, 0], v[:, :, 0], gamma, state)[:, :, None]
        return self.out(y.transpose(1, 2).flatten(2)), state

    def features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return φ(q), φ(k) (B, H, T, M) and v (B, H, T, D) of rows ``x`` (B, T, d_model)."""
        config = self.config
        qkv = self.qkv(x).unflatten(-1, (3, config.heads, config.d_head))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        if config.qk_norm:
            scale = self.scale()[:, None, None]
            q, k = F.normalize(q, dim=-1) * scale, F.normalize(k, dim=-1) * scale
        else:
            q, k = q * config.d_head**-0.25, k * config.d_head**-0.25
        return self.feature_map(q, self.projections, True), self.feature_map(k, self.projections, False), v

    def scale(self) -> Tensor:
        """Return the length s = |q| = |k| of each head, (H,), in (0, 1.5)."""
        return SCALE_MAX * torch.sigmoid(self.scale_logit)


class LinearSkip(nn.Module):
    """A linear model on a few of the inputs, x[..., index] @ weightᵀ, without a bias. Starts at zero."""

    index: Tensor

    def __init__(self, index: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.register_buffer("index", torch.tensor(index, dtype=torch.int64), persistent=False)
        self.weight = nn.Parameter(torch.zeros(outputs, len(index)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., n_in) to (..., outputs)."""
        return x[..., self.index] @ self.weight.mT


class RMSNorm(nn.Module):
    """x / √(mean x² + ε) · weight (Zhang & Sennrich 2019, arXiv 1910.07467)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis, (..., width)."""
        return F.rms_norm(x, (x.shape[-1],), self.weight, RMS_EPSILON)


def forecast(raw: Tensor, short_share: float = HOUR.short_share) -> Tensor:
    """Turn raw outputs (..., 6) into a forecast (..., 6), float64.

    Columns as in ``Horizons.columns``, for an hour: ``[rv_60m, rv_log_sd, ret_15m, ret_60m, ret_15m_scale,
    ret_60m_scale]``. The first is the mean exp(μ + σ²/2) of the log-normal, not its median; ``rv_log_sd`` is
    σ; the returns are mean log returns; the scales are of a Student-t with ν = 4 (its standard deviation is
    √2 times the scale). ``short_share`` is that of the model's horizons.
    """
    raw = raw.double()
    vol = volatility(raw, short_share)
    return torch.cat(
        (
            log_rv_mean(raw).exp()[..., None],
            raw[..., 1:2].exp(),
            vol * raw[..., 2:4],
            vol * raw[..., 4:6].exp(),
        ),
        -1,
    )


def log_rv_mean(raw: Tensor) -> Tensor:
    """Return the log of the log-normal's mean, μ + σ²/2 (...,), clamped to the range of targets."""
    return (raw[..., 0] + (2 * raw[..., 1]).exp() / 2).clamp(log(RV_MIN), log(RV_MAX))


def volatility(raw: Tensor, short_share: float = HOUR.short_share) -> Tensor:
    """Return the forecast deviation of the return over the shorter and the longer horizon (..., 2).

    This is √(mean rv × share of the longer horizon).
    """
    share = torch.tensor((short_share, 1.0), dtype=raw.dtype, device=raw.device)
    return (log_rv_mean(raw)[..., None] / 2).exp() * share.sqrt()


def _ridge(x: Tensor, y: Tensor, strength: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights, bias and residuals of least squares, in float64.

    The penalty is ``strength`` × the mean square of x.
    """
    known = y.isfinite()
    x, y = x[known].double(), y[known].double()
    x_mean, y_mean = x.mean(0), y.mean()
    centred = x - x_mean
    gram = centred.mT @ centred
    gram.diagonal().add_(strength * gram.diagonal().mean())
    weights = torch.linalg.solve(gram, centred.mT @ (y - y_mean))
    bias = y_mean - x_mean @ weights
    return weights, bias, y - x @ weights - bias
