"""Training on several processes, through torch's own means: ``torchrun --nproc-per-node 2 -m bot train ...``.

Every process reads the same files and plans the same windows. Of each batch it takes its own lanes; the
gradients of all are added up before each step. So all hold the same weights, those of one process with all
lanes up to rounding. The first process alone decides what is measured, writes and speaks.

What they tell each other is pickled by torch: all processes must be your own, on a network that you trust.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bot.domain.errors import BadUsage, BotError
from bot.research.dataset import Batch

T = TypeVar("T")
_NAMES = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Variables that ``torchrun`` sets, beside ``WORLD_SIZE``."""
_TELLS_S = 5
"""Seconds that a process has to tell its error before the others end."""


class ProcessLost(BotError):
    """Another process of the training ended, or cannot be reached."""


@dataclass(frozen=True)
class Processes:
    """The processes of one training, and which of them this one is. One alone needs nothing of torch's."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process measures, writes and speaks."""
        return self.rank == 0

    def lanes_of(self, lanes: int) -> int:
        """Return how many of ``lanes`` this process reads.

        Raises:
            BadUsage: they cannot be shared out evenly.
        """
        if lanes % self.count:
            raise BadUsage(f"--lanes {lanes}: must be a multiple of the {self.count} processes")
        return lanes // self.count

    def share_of(self, batch: Batch) -> Batch:
        """Return this process's lanes of a batch."""
        if self.count == 1:
            return batch
        own = slice(self.rank, None, self.count)
        return Batch(batch.x[own], batch.y[own], batch.fresh[own])

    def total(self, count: Tensor) -> Tensor:
        """Return the sum of a count over all processes."""
        if self.count > 1:
            count = count.detach().clone()
            with _spoken_of():
                dist.all_reduce(count)
        return count

    def add_gradients(self, model: nn.Module, value: Tensor) -> float:
        """Add up the gradients of all processes, in one message; return the sum of ``value``."""
        if self.count == 1:
            return value.item()
        grads = [each.grad for each in model.parameters() if each.grad is not None]
        flat = torch.cat([each.flatten() for each in (*grads, value.detach().to(grads[0]))])
        with _spoken_of():
            dist.all_reduce(flat)
        for grad, part in zip(grads, torch.split(flat[:-1], [each.numel() for each in grads]), strict=True):
            grad.copy_(part.view_as(grad))
        return flat[-1].item()

    def same_start(self, model: nn.Module) -> None:
        """Give every process the first one's weights: another kind of CPU may round differently."""
        if self.count > 1:
            with _spoken_of():
                for each in model.state_dict().values():
                    dist.broadcast(each, 0)

    def decide(self, make: Callable[[], T]) -> T:
        """Return what the first process makes of it; the others wait.

        Raises:
            BotError: in the first process; the others end without a word.
        """
        if self.count == 1:
            return make()
        made: T | None = None
        error: BotError | None = None
        if self.is_first:
            try:
                made = make()
            except BotError as failed:
                error = failed
        told: list[Any] = [0 if error is None else error.exit_code, made]
        with _spoken_of():
            dist.broadcast_object_list(told, 0)
        if error is not None:
            raise error
        if told[0]:
            raise _silent(told[0])
        return cast(T, told[1])

    def together(self, make: Callable[[], T], same: Callable[[T], object] = lambda made: None) -> T:
        """Return what this process makes of it, once all have; ``same`` of it must be equal in all of them.

        Raises:
            BotError: in the first process that failed; the others end without a word.
        """
        if self.count == 1:
            return make()
        made: T | None = None
        error: BotError | None = None
        try:
            made = make()
        except BotError as failed:
            error = failed
        everyone: list[Any] = [None] * self.count
        with _spoken_of():
            dist.all_gather_object(everyone, (error.exit_code, None) if error else (0, same(cast(T, made))))
        failed_at = [rank for rank, (code, _) in enumerate(everyone) if code]
        if failed_at:
            raise error if error and failed_at[0] == self.rank else _silent(everyone[failed_at[0]][0])
        if any(words != everyone[0][1] for _, words in everyone):
            raise self.of_all(
                BadUsage("the processes read other bars or settings: give all of them the same")
            )
        return cast(T, made)

    def of_all(self, error: BotError) -> BaseException:
        """Return an error that every process has found at the same time: the first one alone tells it."""
        return error if self.is_first else _silent(error.exit_code)

    def leave(self) -> None:
        """End the connection to the others."""
        if self.count > 1 and dist.is_initialized():
            dist.destroy_process_group()


ALONE = Processes()


def join(environment: Mapping[str, str] = os.environ) -> Processes:
    """Join the processes that ``torchrun`` started; alone if it did not.

    Raises:
        BadUsage: the environment says that there are several, but not how to find them.
        ProcessLost: they cannot be reached.
    """
    count = environment.get("WORLD_SIZE", "1")
    if count == "1":
        return ALONE
    missing = [name for name in _NAMES if name not in environment]
    if missing:
        raise BadUsage(
            f"WORLD_SIZE is {count}, but {missing[0]} is not set: start several processes with "
            "`torchrun --nproc-per-node 2 -m bot train ...`, or unset WORLD_SIZE"
        )
    if not dist.is_initialized():
        with _spoken_of():
            dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    return Processes(dist.get_rank(), dist.get_world_size())


def own_device(device: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the accelerator of this process, if there are several: the first takes cuda:0."""
    if device != "cuda" or environment.get("WORLD_SIZE", "1") == "1":
        return device
    return f"cuda:{environment.get('LOCAL_RANK', '0')}"


def _silent(code: int) -> SystemExit:
    """Wait until the process that tells the error has ended: ``torchrun`` stops all when one ends."""
    with suppress(RuntimeError, ValueError):
        dist.barrier(async_op=True).wait(timedelta(seconds=_TELLS_S))
    return SystemExit(code)


@contextmanager
def _spoken_of() -> Iterator[None]:
    """Say in one line that another process is gone; torch says it in many."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0][:200]
        raise ProcessLost(
            "another process of this training ended or cannot be reached, so nothing was written; its own "
            f"error stands above ({first})"
        ) from error
