"""The streaming step of the Performer, compiled for one core, without torch.

One bar of one symbol is one call of ``_advance``: raw feature row in, forecast out, state updated. Rows go
through this code one after another. So the result of a row does not depend, to the bit, on the number or the
order of the rows in a call. A test shows that it equals ``Performer.step`` and ``forecast`` up to rounding.

Outputs come from the state S before the bar: y = γ φ(q)·S + (φ(q)·φ(k)) [v, 1]. The bar is written into the
state only if its forecast is finite: a row with a NaN or an infinity returns NaN and changes nothing.

Arithmetic is float32; scaling and the final transformation are float64. The compiler flags leave out ``nnan``
and ``ninf``, because a NaN must stay visible.
"""

from collections.abc import Mapping
from math import log
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bot.domain.errors import BadModel
from bot.jit import compiled
from bot.model.config import (
    OUTPUTS,
    RELU_EPSILON,
    RMS_EPSILON,
    RV_MAX,
    RV_MIN,
    SCALE_MAX,
    PerformerConfig,
)

Floats = NDArray[np.float64]
Float32s = NDArray[np.float32]
Slots = NDArray[np.int64]


class StreamingKernel:
    """Forecasts from raw feature rows. Owns one state per slot (symbol).

    ``weights`` are the arrays of ``Performer.state_dict()`` by name. ``scale_mean``, ``scale_std`` (n_in,)
    and ``clip`` turn a raw row into the model's input: clip((row − mean) / std).

    Raises:
        BadModel: a weight is missing, has another shape, or is not finite.
    """

    def __init__(
        self,
        weights: Mapping[str, NDArray[Any]],
        config: PerformerConfig,
        scale_mean: NDArray[Any],
        scale_std: NDArray[Any],
        clip: float,
        *,
        symbols: int = 1,
    ) -> None:
        self.config = config
        self._sizes = np.array(_sizes(config), dtype=np.int64)
        self._weights = _pack(weights, config)
        self._scaling = _scaling(scale_mean, scale_std, clip, config.n_in)
        self._scratch = np.zeros(_scratch_size(config), dtype=np.float32)
        self._state = np.zeros((symbols, *config.state_shape), dtype=np.float32)

    @property
    def state(self) -> Float32s:
        """All states, ``(symbols, layers, heads, features, d_head + 1)``: the array itself, not a copy.

        Copy it for a snapshot, hash it for a digest, write into it to restore.
        """
        return self._state

    def step(self, rows: Floats, slots: Slots) -> Floats:
        """Take each row ``(n, n_in)``, one closed bar, into its slot of ``slots`` ``(n,)``.

        Returns ``(n, 6)``.

        Columns as in ``performer.forecast``. If a slot occurs twice, its rows are taken in order, so n bars
        of one symbol can be one call. If a row or its forecast is not finite, the result is NaN and the
        slot's state does not change.

        Raises:
            ValueError: the shapes do not fit.
            IndexError: a slot does not exist; nothing was written.
        """
        return self._run(rows, slots, write=True)

    def peek(self, rows: Floats, slots: Slots) -> Floats:
        """Return what ``step`` would return for open candles. Writes nothing."""
        return self._run(rows, slots, write=False)

    def reset(self, slot: int) -> None:
        """Forget one symbol's history."""
        self._state[slot] = 0.0

    def _run(self, rows: Floats, slots: Slots, *, write: bool) -> Floats:
        rows = np.ascontiguousarray(rows, dtype=np.float64)
        slots = np.ascontiguousarray(slots, dtype=np.int64)
        if rows.ndim != 2 or slots.ndim != 1 or rows.shape != (len(slots), self.config.n_in):
            raise ValueError(
                f"rows must be (slots, {self.config.n_in}), was {rows.shape} for slots {slots.shape}"
            )
        out = np.empty((len(slots), OUTPUTS), dtype=np.float64)
        bad = _run(
            rows, slots, self._state, out, write, self._sizes, self._weights, self._scaling, self._scratch
        )
        if bad >= 0:
            raise IndexError(f"slot {slots[bad]} must be in [0, {len(self._state)})")
        return out


class _Weights(NamedTuple):
    """Weights as the loops read them: matrices transposed to (inputs, outputs), stacked over L layers."""

    embed: Float32s  # (n_in, d)
    embed_bias: Float32s  # (d,)
    norm_attention: Float32s  # (L, d)
    qkv: Float32s  # (L, d, 3d)
    length: Float32s  # (L, H): |q| = |k| with QK-norm, else 0
    projections: Float32s  # (L, H, D, rows)
    out: Float32s  # (L, d, d)
    norm_mlp: Float32s  # (L, d)
    up: Float32s  # (L, d, mlp)
    up_bias: Float32s  # (L, mlp)
    down: Float32s  # (L, mlp, d)
    norm: Float32s  # (d,)
    head: Float32s  # (6, d)
    skip: Float32s  # (6, n_in)
    bias: Float32s  # (6,)
    gamma: Float32s  # (H,)


class _Scratch(NamedTuple):
    """Working memory of one bar. Its content is never used by a later bar."""

    x: Float32s  # (n_in,) scaled row
    h: Float32s  # (d,) residual stream
    r: Float32s  # (d,) its normalised copy; outputs of the heads
    qkv: Float32s  # (L, 3d)
    fq: Float32s  # (M,)
    fk: Float32s  # (L, H, M)
    y: Float32s  # (D + 1,)
    u: Float32s  # (mlp,)


class _Sizes(NamedTuple):
    """Sizes and switches that the loops cannot read from the arrays."""

    n_in: int
    d: int
    mlp: int
    layers: int
    heads: int
    features: int
    rows: int  # of a projection matrix
    mirrored: bool  # hyperbolic: −ω too
    rectified: bool  # relu instead of exp
    short: int  # minutes of the shorter horizon
    long: int


def _sizes(config: PerformerConfig) -> _Sizes:
    return _Sizes(
        config.n_in,
        config.d_model,
        config.d_mlp,
        config.layers,
        config.heads,
        config.features,
        config.projection_rows,
        config.kernel == "hyperbolic",
        config.kernel == "relu",
        *config.horizons_minutes,
    )


def _pack(weights: Mapping[str, NDArray[Any]], config: PerformerConfig) -> Float32s:
    """Concatenate ``_Weights``, in order, into one array: passing an argument costs more than slicing it."""

    def take(name: str, *shape: int) -> Float32s:
        if name not in weights:
            raise BadModel(f"weights: {name} is missing")
        value = np.asarray(weights[name], dtype=np.float32)
        if value.shape != shape:
            raise BadModel(f"weights: {name} has shape {value.shape}, the config needs {shape}")
        if not np.isfinite(value).all():
            raise BadModel(f"weights: {name} is not finite")
        return value

    def layers(name: str, *shape: int) -> Float32s:
        return np.stack([take(f"blocks.{layer}.{name}", *shape) for layer in range(config.layers)])

    d, mlp, heads = config.d_model, config.d_mlp, config.heads
    skip = np.zeros((OUTPUTS, config.n_in), dtype=np.float32)
    skip[0, list(config.skip_vol)] = take("skip_vol.weight", 1, len(config.skip_vol))[0]
    skip[2:4, list(config.skip_ret)] = take("skip_ret.weight", 2, len(config.skip_ret))
    length = np.zeros((config.layers, heads), dtype=np.float32)
    if config.qk_norm:
        length += SCALE_MAX / (1 + np.exp(-layers("attention.scale_logit", heads)))
    packed = _Weights(
        embed=take("embed.weight", d, config.n_in).T,
        embed_bias=take("embed.bias", d),
        norm_attention=layers("norm_attention.weight", d),
        qkv=layers("attention.qkv.weight", 3 * d, d).mT,
        length=length,
        projections=layers("attention.projections", heads, config.projection_rows, config.d_head).mT,
        out=layers("attention.out.weight", d, d).mT,
        norm_mlp=layers("norm_mlp.weight", d),
        up=layers("up.weight", mlp, d).mT,
        up_bias=layers("up.bias", mlp),
        down=layers("down.weight", d, mlp).mT,
        norm=take("norm.weight", d),
        head=take("head.weight", OUTPUTS, d),
        skip=skip,
        bias=take("bias", OUTPUTS),
        gamma=np.array(config.gammas, dtype=np.float32),
    )
    return np.concatenate([array.ravel() for array in packed])


def _scratch_size(config: PerformerConfig) -> int:
    attention = config.features + config.layers * config.heads * config.features + config.d_head + 1
    return config.n_in + 2 * config.d_model + 3 * config.layers * config.d_model + attention + config.d_mlp


def _scaling(mean: NDArray[Any], std: NDArray[Any], clip: float, n_in: int) -> Floats:
    """Return mean, deviation and clip, (3, n_in)."""
    for name, values in (("mean", mean), ("std", std)):
        if np.shape(values) != (n_in,) or not np.isfinite(values).all():
            raise BadModel(f"scaling: {name} must be {n_in} finite numbers, was {np.shape(values)}")
    if not (np.asarray(std) > 0).all() or not clip > 0:
        raise BadModel(f"scaling: std and clip must be positive, were {np.min(std)} (smallest) and {clip}")
    return np.stack([np.asarray(mean, np.float64), np.asarray(std, np.float64), np.full(n_in, float(clip))])


_compiled: Any = compiled(error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})
_exact: Any = compiled(error_model="numpy")

_F = np.float32
_ZERO, _HALF, _ONE = _F(0.0), _F(0.5), _F(1.0)
_RMS_EPSILON, _RELU_EPSILON = _F(RMS_EPSILON), _F(RELU_EPSILON)
_LOG_RV_MIN, _LOG_RV_MAX = log(RV_MIN), log(RV_MAX)


@_exact
def _run(rows, slots, state, out, write, sizes, weights, scaling, scratch):  # type: ignore[no-untyped-def]
    """Process every row in order. Returns the index of the first slot that does not exist, else −1."""
    for n in range(len(slots)):
        if not 0 <= slots[n] < len(state):
            return n
    size = _named_sizes(sizes)
    weight, work = _slice_weights(weights, size), _slice_scratch(scratch, size)
    for n in range(len(slots)):
        memory = state[slots[n]]
        answer = out[n]
        if _scale(rows[n], scaling, work.x):
            _advance(size, weight, work, memory, answer)
        else:
            _fill(np.nan, answer)
        if not _finite(answer):
            _fill(np.nan, answer)
        elif write:
            _remember(size, weight, work, memory)
    return -1


@_exact
def _named_sizes(s):  # type: ignore[no-untyped-def]
    return _Sizes(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7] == 1, s[8] == 1, s[9], s[10])


@_exact
def _slice_weights(flat, size):  # type: ignore[no-untyped-def]
    """Return the views that ``_pack`` concatenated, in its order."""
    n, d, mlp, layers, heads = size.n_in, size.d, size.mlp, size.layers, size.heads
    embed, flat = _split(flat, (n, d))
    embed_bias, flat = _split(flat, (d,))
    norm_attention, flat = _split(flat, (layers, d))
    qkv, flat = _split(flat, (layers, d, 3 * d))
    length, flat = _split(flat, (layers, heads))
    projections, flat = _split(flat, (layers, heads, d // heads, size.rows))
    out, flat = _split(flat, (layers, d, d))
    norm_mlp, flat = _split(flat, (layers, d))
    up, flat = _split(flat, (layers, d, mlp))
    up_bias, flat = _split(flat, (layers, mlp))
    down, flat = _split(flat, (layers, mlp, d))
    norm, flat = _split(flat, (d,))
    head, flat = _split(flat, (OUTPUTS, d))
    skip, flat = _split(flat, (OUTPUTS, n))
    bias, gamma = _split(flat, (OUTPUTS,))
    return _Weights(
        embed,
        embed_bias,
        norm_attention,
        qkv,
        length,
        projections,
        out,
        norm_mlp,
        up,
        up_bias,
        down,
        norm,
        head,
        skip,
        bias,
        gamma,
    )


@_exact
def _slice_scratch(flat, size):  # type: ignore[no-untyped-def]
    x, flat = _split(flat, (size.n_in,))
    h, flat = _split(flat, (size.d,))
    r, flat = _split(flat, (size.d,))
    qkv, flat = _split(flat, (size.layers, 3 * size.d))
    fq, flat = _split(flat, (size.features,))
    fk, flat = _split(flat, (size.layers, size.heads, size.features))
    y, u = _split(flat, (size.d // size.heads + 1,))
    return _Scratch(x, h, r, qkv, fq, fk, y, u)


@_exact
def _split(flat, shape):  # type: ignore[no-untyped-def]
    """Return the first array of ``shape`` and the rest."""
    count = 1
    for extent in shape:
        count *= extent
    return flat[:count].reshape(shape), flat[count:]


@_exact
def _scale(row, scaling, x):  # type: ignore[no-untyped-def]
    """Store clip((row − mean) / std), computed in float64, in ``x``. False if the row is not finite."""
    if not _finite(row):
        return False
    for i in range(len(row)):
        mean, std, clip = scaling[0, i], scaling[1, i], scaling[2, i]
        x[i] = _within((row[i] - mean) / std, -clip, clip)
    return True


@_exact
def _finite(x):  # type: ignore[no-untyped-def]
    for i in range(len(x)):  # noqa: SIM110 - compiled
        if not np.isfinite(x[i]):
            return False
    return True


@_exact
def _within(x, low, high):  # type: ignore[no-untyped-def]
    """Clip ``x``. A NaN stays NaN, which ``min`` and ``max`` do not guarantee."""
    if x < low:
        return low
    if x > high:
        return high
    return x


@_compiled
def _advance(size, weights, scratch, memory, out):  # type: ignore[no-untyped-def]
    """Run one row through the model. Leaves φ(k) and v of each layer in ``scratch`` for ``_remember``."""
    h, r = scratch.h, scratch.r
    _copy(weights.embed_bias, h)
    _add_product(scratch.x, weights.embed, h)
    for layer in range(size.layers):
        _rms_norm(h, weights.norm_attention[layer], r)
        qkv = scratch.qkv[layer]
        _fill(_ZERO, qkv)
        _add_product(r, weights.qkv[layer], qkv)
        _attend(size, weights, scratch, memory[layer], layer)
        _add_product(r, weights.out[layer], h)
        _rms_norm(h, weights.norm_mlp[layer], r)
        u = scratch.u
        _copy(weights.up_bias[layer], u)
        _add_product(r, weights.up[layer], u)
        _gelu(u)
        _add_product(u, weights.down[layer], h)
    _rms_norm(h, weights.norm, r)
    _forecast(size, weights, scratch.x, r, out)


@_compiled
def _attend(size, weights, scratch, memory, layer):  # type: ignore[no-untyped-def]
    """Compute all heads of one layer from the old state (H, M, E). Writes outputs into ``scratch.r``."""
    heads, width = size.heads, size.d // size.heads
    qkv, fq, y = scratch.qkv[layer], scratch.fq, scratch.y
    for head in range(heads):
        q = qkv[head * width : (head + 1) * width]
        k = qkv[(heads + head) * width : (heads + head + 1) * width]
        v = qkv[(2 * heads + head) * width : (2 * heads + head + 1) * width]
        fk = scratch.fk[layer, head]
        _set_length(q, weights.length[layer, head])
        _set_length(k, weights.length[layer, head])
        _features(q, weights.projections[layer, head], size.mirrored, size.rectified, True, fq)
        _features(k, weights.projections[layer, head], size.mirrored, size.rectified, False, fk)
        _fill(_ZERO, y)
        _add_product(fq, memory[head], y)
        now, gamma = _dot(fq, fk), weights.gamma[head]
        normaliser = gamma * y[width] + now
        for i in range(width):
            scratch.r[head * width + i] = (gamma * y[i] + now * v[i]) / normaliser


@_compiled
def _remember(size, weights, scratch, memory):  # type: ignore[no-untyped-def]
    """Update the state, S ← γ S + φ(k) [v, 1]ᵀ, in every layer and head."""
    heads, width = size.heads, size.d // size.heads
    for layer in range(size.layers):
        for head in range(heads):
            gamma, s, fk = weights.gamma[head], memory[layer, head], scratch.fk[layer, head]
            v = scratch.qkv[layer, (2 * heads + head) * width : (2 * heads + head + 1) * width]
            for j in range(len(fk)):
                for i in range(width):
                    s[j, i] = gamma * s[j, i] + fk[j] * v[i]
                s[j, width] = gamma * s[j, width] + fk[j]


@_compiled
def _features(x, projections, mirrored, rectified, is_query, out):  # type: ignore[no-untyped-def]
    """Compute φ(x) (see ``favor``). A query is divided by its largest feature; attention cancels this."""
    rows, count = projections.shape[1], len(out)
    _fill(_ZERO, out)
    _add_product(x, projections, out[:rows])
    norm = _ONE / np.sqrt(_F(count))
    if rectified:
        for j in range(count):
            out[j] = (max(out[j], _ZERO) + _RELU_EPSILON) * norm
        return
    if mirrored:
        for j in range(rows):
            out[rows + j] = -out[j]
    shift = _HALF * _dot(x, x)
    if is_query:
        shift = out[0]
        for j in range(1, count):
            shift = max(shift, out[j])
    for j in range(count):
        out[j] = _exp(out[j] - shift) * norm


@_compiled
def _set_length(x, length):  # type: ignore[no-untyped-def]
    """Scale x to |x| = length (QK-norm), or by the paper's D^(−1/4) if length is 0."""
    if length > _ZERO:
        factor = length / max(np.sqrt(_dot(x, x)), _F(1e-12))
    else:
        factor = _ONE / np.sqrt(np.sqrt(_F(len(x))))
    for i in range(len(x)):
        x[i] *= factor


@_compiled
def _forecast(size, weights, x, r, out):  # type: ignore[no-untyped-def]
    """Add head, linear skip and bias; then variances and returns as ``performer.forecast``, in float64."""
    raw = np.empty(OUTPUTS, dtype=np.float64)
    for i in range(OUTPUTS):
        raw[i] = np.float64(_dot(weights.head[i], r) + _dot(weights.skip[i], x)) + np.float64(weights.bias[i])
    sigma = np.exp(raw[1])
    log_mean = _within(raw[0] + 0.5 * sigma * sigma, _LOG_RV_MIN, _LOG_RV_MAX)
    vol_long = np.exp(0.5 * log_mean)
    vol_short = vol_long * np.sqrt(size.short / size.long)
    out[0] = np.exp(log_mean)
    out[1] = sigma
    out[2] = vol_short * raw[2]
    out[3] = vol_long * raw[3]
    out[4] = vol_short * np.exp(raw[4])
    out[5] = vol_long * np.exp(raw[5])


@_compiled
def _add_product(x, matrix, out):  # type: ignore[no-untyped-def]
    """Add x @ matrix (inputs, outputs) to ``out``, four inputs at a time: vectorised over outputs."""
    inputs, outputs = matrix.shape
    whole = inputs - inputs % 4
    for i in range(0, whole, 4):
        a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
        for o in range(outputs):
            out[o] += a * matrix[i, o] + b * matrix[i + 1, o] + c * matrix[i + 2, o] + d * matrix[i + 3, o]
    for i in range(whole, inputs):
        for o in range(outputs):
            out[o] += x[i] * matrix[i, o]


@_compiled
def _copy(x, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        out[i] = x[i]


@_compiled
def _fill(value, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        out[i] = value


@_compiled
def _dot(a, b):  # type: ignore[no-untyped-def]
    total = _ZERO
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@_compiled
def _rms_norm(x, weight, out):  # type: ignore[no-untyped-def]
    factor = _ONE / np.sqrt(_dot(x, x) / _F(len(x)) + _RMS_EPSILON)
    for i in range(len(x)):
        out[i] = x[i] * factor * weight[i]


@_compiled
def _gelu(u):  # type: ignore[no-untyped-def]
    """Apply GELU, tanh form: u (1 + tanh z) / 2 = u / (1 + e^(−2z)), z = √(2/π) (u + 0.044715 u³)."""
    for i in range(len(u)):
        x = u[i]
        u[i] = x / (_ONE + _exp(_F(-1.5957691216057308) * (x + _F(0.044715) * x * x * x)))


@_compiled
def _exp(x):  # type: ignore[no-untyped-def]
    """Return e^x to 1e-7 for |x| ≤ 87, vectorisable: 2^n times the polynomial of Cephes' expf."""
    x = max(min(x, _F(87.0)), _F(-87.0))
    n = np.floor(x * _F(1.4426950408889634) + _HALF)
    r = x - n * _F(0.693359375) + n * _F(2.12194440e-4)
    p = _F(1.9875691500e-4)
    p = p * r + _F(1.3981999507e-3)
    p = p * r + _F(8.3334519073e-3)
    p = p * r + _F(4.1665795894e-2)
    p = p * r + _F(1.6666665459e-1)
    p = p * r + _F(5.0000001201e-1)
    p = p * r * r + r + _ONE
    return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
