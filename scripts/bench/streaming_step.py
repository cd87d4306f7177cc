"""Measure the cost of one streaming step: the compiled kernel, torch eager, and the floor of this machine.

    python scripts/bench/streaming_step.py [--json] [--batches 1,16,100,600] [--inputs 109]

One step is one closed bar of each of B symbols: scale, run the model, update the state, return the forecast.
The result is CPU microseconds of this process, the least of several rounds. In each round all candidates run
in turn, so that other load on the machine affects all of them; compare the ratios. The floor is the
unavoidable work at speeds measured in the same run: read every weight once per symbol from cache, read and
write every symbol's state.
"""

import argparse
import json
import time
from collections.abc import Callable

import numba
import numpy as np
import torch

from bot.domain.market import MINUTE_MS
from bot.features.spec import default
from bot.model.config import PerformerConfig
from bot.model.kernel import StreamingKernel
from bot.model.performer import Performer, forecast

SHIPPED = len(default(5 * MINUTE_MS).names)
"""Features of a row of the model that ships."""
ROUNDS, ROUND_SYMBOLS, ROUND_READS = 9, 1200, 200


def main() -> None:
    options = argparse.ArgumentParser(description="Cost of a streaming step")
    options.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options.add_argument("--batches", default="1,16,100,600", help="symbols per step")
    options.add_argument("--inputs", type=int, default=SHIPPED, help="features of a row")
    asked = options.parse_args()
    torch.set_num_threads(1)
    result = measure([int(batch) for batch in asked.batches.split(",")], asked.inputs)
    print(json.dumps(result) if asked.json else table(result))


@torch.inference_mode()
def measure(batches: list[int], inputs: int) -> dict[str, object]:
    config = PerformerConfig(n_in=inputs)
    model = Performer(config).eval()
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    started = time.process_time()
    kernel = StreamingKernel(weights, config, np.zeros(inputs), np.ones(inputs), 8.0, symbols=max(batches))
    kernel.step(np.zeros((1, inputs)), np.zeros(1, dtype=np.int64))
    first_step_s = time.process_time() - started
    weight_bytes = sum(value.numel() * 4 for value in model.parameters()) + 4 * sum(
        block.attention.projections.numel() for block in model.blocks
    )
    state_bytes = kernel.state[0].nbytes
    return {
        "config": config.to_json(),
        "weight_bytes": weight_bytes,
        "state_bytes_per_symbol": state_bytes,
        "first_step_s": first_step_s,
        "steps": [step_costs(kernel, model, batch, weight_bytes, state_bytes) for batch in batches],
    }


def step_costs(
    kernel: StreamingKernel, model: Performer, batch: int, weight_bytes: int, state_bytes: int
) -> dict[str, float]:
    inputs = model.config.n_in
    rows = np.random.default_rng(0).normal(size=(batch, inputs))
    slots = np.arange(batch)
    memory = model.start(batch)

    def eager() -> torch.Tensor:
        raw, _ = model.step(torch.from_numpy(rows.clip(-8, 8).astype(np.float32)), memory)
        return forecast(raw)

    read = np.ones(weight_bytes // 4, dtype=np.float32)
    write = np.ones(batch * state_bytes // 4, dtype=np.float32)
    kernel_us, eager_us, read_us, write_us = cpu_us(
        (lambda: kernel.step(rows, slots), ROUND_SYMBOLS // batch),
        (eager, ROUND_SYMBOLS // batch),
        (lambda: _read(read), ROUND_READS),
        (lambda: _rewrite(write), ROUND_SYMBOLS // batch),
    )
    floor_us = batch * read_us + write_us
    return {
        "symbols": batch,
        "kernel_us": kernel_us,
        "kernel_us_per_symbol": kernel_us / batch,
        "torch_eager_us": eager_us,
        "floor_us": floor_us,
        "weights_gb_per_s": weight_bytes / read_us / 1e3,
        "torch_over_kernel": eager_us / kernel_us,
        "kernel_over_floor": kernel_us / floor_us,
    }


def cpu_us(*candidates: tuple[Callable[[], object], int]) -> list[float]:
    """Return the CPU microseconds of one call of each candidate: the least of all rounds.

    A round makes ``repeats`` calls in a row.
    """
    best = [float("inf")] * len(candidates)
    for candidate, _ in candidates:
        candidate()
    for _ in range(ROUNDS):
        for i, (candidate, repeats) in enumerate(candidates):
            started = time.process_time_ns()
            for _ in range(repeats):
                candidate()
            best[i] = min(best[i], (time.process_time_ns() - started) / repeats / 1e3)
    return best


@numba.njit(fastmath={"reassoc", "contract"})
def _read(x):
    total = np.float32(0)
    for i in range(len(x)):
        total += x[i]
    return total


@numba.njit
def _rewrite(x):
    for i in range(len(x)):
        x[i] = x[i] * np.float32(0.5) + np.float32(0.5)


COLUMNS = {
    "symbols": "d",
    "kernel_us": ".1f",
    "kernel_us_per_symbol": ".1f",
    "torch_eager_us": ".0f",
    "floor_us": ".1f",
    "torch_over_kernel": ".1f",
    "kernel_over_floor": ".1f",
}


def table(result: dict[str, object]) -> str:
    weights_kb, memory_kb = result["weight_bytes"] / 1e3, result["state_bytes_per_symbol"] / 1e3
    lines = [
        f"weights {weights_kb:.0f} kB, memory {memory_kb:.0f} kB a symbol",
        f"first step {result['first_step_s']:.1f} s CPU (compiled, or loaded from the cache)",
        "".join(f"{name:>{len(name) + 2}}" for name in COLUMNS),
    ]
    lines += [
        "".join(f"{step[name]:>{len(name) + 2}{form}}" for name, form in COLUMNS.items())
        for step in result["steps"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
