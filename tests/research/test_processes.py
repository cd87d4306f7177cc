"""Two processes train one model together: as ``torchrun`` starts them, over loopback."""

import os
import socket
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import numpy as np
import pytest

from bot.adapters.model import checkpoint
from bot.cli import main
from bot.domain.errors import BadUsage
from bot.research.dataset import LabelledRows
from bot.research.processes import ALONE, Processes, join
from bot.research.record import weights
from bot.research.train import TrainingProgress, fit
from tests.research import series
from tests.research.test_commands import TINY

BARS = 2500
EVEN = replace(series.TINY, dropout=0.0, patience=0, epochs=1)
"""Without values that are left out by chance two processes do what one does, up to rounding."""


def pair(work: Callable[[int], object]) -> list[object]:
    """Run ``work(rank)`` in two processes that find each other as those of ``torchrun``: what each says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    forked = get_context("fork")  # torch is loaded once
    said = [forked.SimpleQueue() for _ in range(2)]
    ran = [forked.Process(target=_join, args=(work, rank, port, said[rank])) for rank in range(2)]
    for each in ran:
        each.start()
    for each in ran:
        each.join(timeout=100)
        assert each.exitcode is not None, "a process hangs"
    return [None if queue.empty() else queue.get() for queue in said]


def _join(work: Callable[[int], object], rank: int, port: int, said: "SimpleQueue[object]") -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    said.put(work(rank))
    os._exit(0)


@pytest.fixture(scope="module")
def rows() -> list[LabelledRows]:
    return [series.rows(series.candles(BARS, seed)) for seed in (0, 1)]


def test_two_processes_give_the_same_bits_again_and_the_weights_of_one_up_to_rounding(
    rows: list[LabelledRows],
) -> None:
    def work(processes: Processes) -> tuple[list[float], dict[str, np.ndarray]]:
        losses: list[float] = []
        given = rows, series.FEATURES, series.split(BARS), EVEN
        made = fit(*given, lambda progress: losses.append(progress.loss), processes)
        return [*losses[:-1], made.chosen_qlike], dict(weights(made.model))

    def joined(rank: int) -> object:
        return work(join())

    (losses, first), *others = made = [*pair(joined), *pair(joined)]  # type: ignore[misc]
    assert len(made) == 4
    for again, found in others:  # type: ignore[misc]
        assert again == losses
        assert all(np.array_equal(found[name], value) for name, value in first.items())
    alone, expected = work(ALONE)
    assert losses == pytest.approx(alone, rel=1e-4)
    for name, value in expected.items():
        np.testing.assert_allclose(first[name], value, atol=2e-4)


def test_the_command_writes_and_speaks_once(tmp_path: Path) -> None:
    data = series.saved_candles(tmp_path, series.candles(2600))
    words = ["train", "--data", str(data), "--out", str(tmp_path / "model"), *TINY, "--epochs", "1"]

    def run(rank: int, *more: str) -> tuple[int, str]:
        written = tmp_path / f"said-{rank}"
        with written.open("w") as file, redirect_stdout(file), redirect_stderr(file):
            try:
                code = main([*words, *more])
            except SystemExit as silent:
                code = int(str(silent.code))
        return code, written.read_text()

    (first, spoken), (second, silent) = pair(run)  # type: ignore[misc]
    assert (first, second, silent) == (0, 0, "")
    assert "tokens/s" in spoken
    assert checkpoint.load(tmp_path / "model").manifest.settings["processes"] == 2
    for more, said in (
        (("--force", "--lanes", "3"), "--lanes 3: must be a multiple of the 2 processes"),
        ((), "a model is there already"),
    ):
        (first, spoken), (second, silent) = pair(lambda rank, more=more: run(rank, *more))  # type: ignore[misc]
        assert (first, second, silent) == (2, 2, "")
        assert said in spoken
    alone = pair(lambda rank: run(rank, "--force", *(("--data", "no.parquet") if rank else ())))
    assert [code for code, _ in alone] == [5, 5]  # type: ignore[misc]
    assert "no.parquet" in alone[1][1]  # type: ignore[index]
    seeds = pair(lambda rank: run(rank, "--force", "--seed", str(rank)))
    assert "the processes read other bars or settings" in seeds[0][1]  # type: ignore[index]


def test_a_process_that_is_lost_ends_the_others_with_one_line(rows: list[LabelledRows]) -> None:
    def work(rank: int) -> object:
        def on_progress(progress: TrainingProgress) -> None:
            if rank == 1 and progress.step == 2:
                os._exit(9)

        try:
            fit(rows, series.FEATURES, series.split(BARS), EVEN, on_progress, join())
        except Exception as error:  # whatever it is, the test shows it
            return f"{type(error).__name__}: {error}"
        return "nothing"

    first, second = pair(work)
    assert second is None
    assert str(first).startswith("ProcessLost: another process of this training ended")
    assert len(str(first).splitlines()) == 1


def test_several_processes_that_cannot_find_each_other_are_refused() -> None:
    with pytest.raises(BadUsage, match="WORLD_SIZE is 2, but RANK is not set: start several"):
        join({"WORLD_SIZE": "2"})
    assert join({}).count == join({"WORLD_SIZE": "1"}).count == 1
