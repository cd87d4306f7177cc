"""Training on another device: one error where there is none, and no tensor that stays behind on the CPU."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from bot.cli import main
from bot.domain.errors import BadUsage
from bot.research.dataset import Batch
from bot.research.device import find_device
from bot.research.train import batch_loss
from tests.research import series

FACTORIES = (torch.arange, torch.empty, torch.full, torch.ones, torch.tensor, torch.zeros)


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has an accelerator")
def test_without_an_accelerator_the_command_says_so_in_one_line_before_it_reads_data(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--data", "no.parquet", "--out", str(tmp_path / "model"), "--device", name]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --device {name}: there is no accelerator to train on: torch ")
    assert "train with --device cpu" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["gpu", "meta", "mps", "cpu:1", ""])
def test_a_name_of_no_device_is_refused(name: str) -> None:
    with pytest.raises(BadUsage, match="is no device to train on; give cpu, cuda, cuda:1 or auto"):
        find_device(name)


def test_auto_is_what_there_is() -> None:
    assert find_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert find_device("cpu") == "cpu"


class Named(TorchFunctionMode):
    """Remembers on which device each new tensor was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[object] = []

    def __torch_function__(
        self,
        function: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Any = None,
    ) -> object:
        given = kwargs or {}
        if function in FACTORIES:
            self.made.append(given.get("device"))
        return function(*args, **given)


def test_no_tensor_of_a_step_is_made_on_an_unnamed_device() -> None:
    # Without a name it would be made on the CPU, and not fit the tensors of an accelerator.
    model = series.untrained().requires_grad_(True).train()
    x = np.random.default_rng(0).normal(size=(2, 16, model.config.n_in)).astype(np.float32)
    batch = Batch(x, np.ones((2, 16, 4)), np.array([True, False]))
    with Named() as named:
        total, _ = batch_loss(model, batch, model.start(2), 5.0)
    total.backward()  # type: ignore[no-untyped-call]
    assert len(named.made) > 3
    assert None not in named.made
