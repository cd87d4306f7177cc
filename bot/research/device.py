"""Where a model is trained: on the CPU, or on an accelerator of NVIDIA's."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bot.domain.errors import BadUsage


def find_device(name: str) -> str:
    """Return a device of this machine by name: cpu, cuda, cuda:1; auto: cuda where there is one, else cpu.

    Raises:
        BadUsage: there is no such device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        kind, index = device.type, device.index
    except RuntimeError:
        kind, index = "", None
    if kind not in ("cpu", "cuda") or (kind == "cpu" and index):
        raise BadUsage(f"--device {name}: is no device to train on; give cpu, cuda, cuda:1 or auto")
    if kind == "cuda" and not torch.cuda.is_available():
        why = "was built without CUDA" if torch.version.cuda is None else "finds none"
        raise BadUsage(
            f"--device {name}: there is no accelerator to train on: torch {torch.__version__} {why}; train "
            "with --device cpu, or install torch for CUDA on a machine that has one"
        )
    if kind == "cuda" and (index or 0) >= torch.cuda.device_count():
        raise BadUsage(f"--device {name}: this machine has {torch.cuda.device_count()}, counted from cuda:0")
    return name


@contextmanager
def repeatable(device: str) -> Iterator[None]:
    """Make an accelerator add in one order, so that the same seed gives the same weights on one machine.

    A CPU does so anyway, with a fixed number of threads.
    """
    if torch.device(device).type == "cpu":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
