"""Measure how well FAVOR+ features estimate softmax attention: the paper's findings, on this code.

    python scripts/bench/attention_accuracy.py [--json] [--plot OUT.svg] [--seeds 64]

1. the relative mean square error of the attention matrix, by feature map and by length s = |q| = |k|
2. the same for causal attention with forgetting, against softmax under a linear bias (ALiBi), by features M

All draws are seeded, so every run prints the same table. Takes half a minute on one core.
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from bot.model import attention
from bot.model.config import Norms, gamma
from bot.model.favor import FEATURE_MAPS, projections

D_HEAD, BARS, HALF_LIFE_BARS = 16, 96, 24.0
LENGTHS = (1.0, 1.5, 2.0, 3.0)
FEATURES, COUNTS = 64, (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
ESTIMATORS: tuple[tuple[str, str, Norms], ...] = (
    ("trigonometric, orthogonal", "trigonometric", "chi"),
    ("positive, independent", "positive", "iid"),
    ("positive, orthogonal (FAVOR+)", "positive", "chi"),
    ("positive, orthogonal, √d norms", "positive", "sqrtd"),
    ("hyperbolic, orthogonal", "hyperbolic", "chi"),
    ("hyperbolic, orthogonal, √d norms", "hyperbolic", "sqrtd"),
)


def main() -> None:
    options = argparse.ArgumentParser(description="Accuracy of random-feature attention")
    options.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options.add_argument("--plot", type=Path, metavar="OUT.svg")
    options.add_argument("--seeds", type=int, default=64, help="draws of the projections")
    asked = options.parse_args()
    torch.set_num_threads(1)
    result = measure(asked.seeds)
    if asked.plot is not None:
        asked.plot.write_text(chart(result), encoding="utf-8")
    print(json.dumps(result) if asked.json else table(result))


def measure(seeds: int) -> dict[str, object]:
    matrix = {
        name: [matrix_error(kind, norms, length, seeds) for length in LENGTHS]
        for name, kind, norms in ESTIMATORS
    }
    causal = {
        name: [causal_error(kind, norms, count, seeds) for count in COUNTS]
        for name, kind, norms in ESTIMATORS[1:]
    }
    trigonometric, independent, favor, _, hyperbolic, _ = matrix.values()
    return {
        "d_head": D_HEAD,
        "features": FEATURES,
        "seeds": seeds,
        "lengths": LENGTHS,
        "matrix_relative_mse": matrix,
        "counts": COUNTS,
        "half_life_bars": HALF_LIFE_BARS,
        "causal_relative_mse": causal,
        "slopes": {name: slope(errors) for name, errors in causal.items()},
        "findings": {
            "positive beats trigonometric from s = 2 on": all(
                p < t for p, t, s in zip(favor, trigonometric, LENGTHS, strict=True) if s >= 2
            ),
            "orthogonal beats independent where the estimate is useful (s ≤ 1.5)": all(
                o < i for o, i, s in zip(favor, independent, LENGTHS, strict=True) if s <= 1.5
            ),
            "hyperbolic beats positive where the estimate is useful (s ≤ 1.5)": all(
                h < p for h, p, s in zip(hyperbolic, favor, LENGTHS, strict=True) if s <= 1.5
            ),
            "the error falls as 1/M with chi norms": abs(slope(causal[ESTIMATORS[2][0]]) + 1) < 0.1,
        },
    }


def sphere(seed: int, length: float) -> Tensor:
    x = torch.randn(BARS, D_HEAD, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(x, dim=-1) * length


def weights(kind: str, norms: Norms, features: int, seed: int, q: Tensor, k: Tensor) -> Tensor:
    """Return φ(q)·φ(k) (T, T) with ``features`` features, not normalised."""
    rows = features if kind == "positive" else features // 2
    w = projections(rows, D_HEAD, norms=norms, seed=seed)
    return FEATURE_MAPS[kind](q, w, True) @ FEATURE_MAPS[kind](k, w, False).mT


def matrix_error(kind: str, norms: Norms, length: float, seeds: int) -> float:
    """Return the relative mean square error of the bidirectional attention matrix, median over seeds."""
    errors = []
    for seed in range(seeds):
        q, k = sphere(2 * seed + 1, length), sphere(2 * seed + 2, length)
        found = weights(kind, norms, FEATURES, seed, q, k)
        errors.append(relative_mse(found / found.sum(-1, keepdim=True), attention.softmax_weights(q, k)))
    return median(errors)


def causal_error(kind: str, norms: Norms, features: int, seeds: int) -> float:
    """Return the same error for causal attention with forgetting at s = 1, mean over seeds."""
    one = torch.tensor([gamma(HALF_LIFE_BARS)], dtype=torch.float64)
    age = torch.arange(BARS, dtype=torch.float64)
    decay = (one.log() * (age[:, None] - age)).exp().tril()
    errors = []
    for seed in range(seeds):
        q, k = sphere(2 * seed + 1, 1.0), sphere(2 * seed + 2, 1.0)
        found = weights(kind, norms, features, seed, q, k) * decay
        exact = attention.softmax_weights(q[None], k[None], one)[0]
        errors.append(relative_mse(found / found.sum(-1, keepdim=True), exact))
    return sum(errors) / len(errors)


def relative_mse(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).square().sum() / exact.square().sum())


def slope(errors: Sequence[float]) -> float:
    """Return the exponent of M in the error from M = 64 on, by least squares on logarithms.

    For smaller M the ratio of two noisy sums is not yet near its limit.
    """
    x = [math.log(count) for count in COUNTS if count >= FEATURES]
    y = [math.log(error) for error in errors[-len(x) :]]
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - x_mean) ** 2 for a in x)


def table(result: dict[str, object]) -> str:
    matrix, causal, slopes, findings = (
        result[key] for key in ("matrix_relative_mse", "causal_relative_mse", "slopes", "findings")
    )
    lines = [f"attention matrix, relative mean square error, M = {FEATURES}, d = {D_HEAD}, median"]
    lines.append(f"{'':34}" + "".join(f"{f's = {s:g}':>10}" for s in LENGTHS))
    lines += [f"{name:34}" + "".join(f"{e:10.2g}" for e in errors) for name, errors in matrix.items()]
    lines.append(f"\ncausal with half-life {HALF_LIFE_BARS:g} bars against softmax under ALiBi, s = 1, mean")
    lines.append(f"{'':34}" + "".join(f"{f'M = {m}':>10}" for m in COUNTS) + f"{'∝ M^':>8}")
    for name, errors in causal.items():
        lines.append(f"{name:34}" + "".join(f"{e:10.2g}" for e in errors) + f"{slopes[name]:8.2f}")
    lines += ["", *(f"{'yes' if holds else 'NO':4}{finding}" for finding, holds in findings.items())]
    return "\n".join(lines)


COLOURS = ("#c0392b", "#7f8c8d", "#2471a3", "#17a589", "#d68910", "#7d3c98")


def chart(result: dict[str, object]) -> str:
    """Draw both tables as one SVG: logarithmic errors over s and over M."""
    left = panel(
        40,
        "error of the attention matrix over s",
        LENGTHS,
        result["matrix_relative_mse"],
        (1e-3, 1e4),
        log_x=False,
    )
    right = panel(
        500,
        "causal, against ALiBi softmax, over M",
        COUNTS,
        result["causal_relative_mse"],
        (1e-4, 1.0),
        log_x=True,
    )
    legend = [
        f'<text x="{60 + 300 * (i % 3)}" y="{388 + 18 * (i // 3)}" fill="{COLOURS[i]}">■ {name}</text>'
        for i, (name, _, _) in enumerate(ESTIMATORS)
    ]
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 940 415" font-family="sans-serif">',
            '<style>text { font-size: 12px }</style><rect width="940" height="415" fill="white"/>',
            *left, *right, *legend, "</svg>\n",
        ]
    )  # fmt: skip


def panel(
    left: int,
    title: str,
    xs: Sequence[float],
    lines: dict[str, list[float]],
    limits: tuple[float, float],
    *,
    log_x: bool,
) -> list[str]:
    """Draw one set of axes, 380 × 300 points, with a line for each estimator."""
    low, high = (math.log10(limit) for limit in limits)
    ticks = [math.log10(x) if log_x else x for x in xs]

    def at(x: float, value: float) -> tuple[float, float]:
        share_x = (x - ticks[0]) / (ticks[-1] - ticks[0])
        share_y = (min(max(math.log10(value), low), high) - low) / (high - low)
        return left + 20 + 380 * share_x, 340 - 300 * share_y

    svg = [f'<text x="{left + 20}" y="24" font-weight="bold">{title}</text>']
    for exponent in range(round(low), round(high) + 1):
        _, y = at(ticks[0], 10.0**exponent)
        svg.append(f'<path d="M{left + 20} {y:.1f}h380" stroke="#ddd"/>')
        svg.append(f'<text x="{left + 14}" y="{y + 4:.1f}" text-anchor="end">1e{exponent}</text>')
    for x, tick in zip(xs, ticks, strict=True):
        svg.append(f'<text x="{at(tick, 1.0)[0]:.1f}" y="360" text-anchor="middle">{x:g}</text>')
    for (name, _, _), colour in zip(ESTIMATORS, COLOURS, strict=True):
        if name in lines:
            points = " ".join(f"{a:.1f},{b:.1f}" for a, b in map(at, ticks, lines[name]))
            svg.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return svg


if __name__ == "__main__":
    main()
