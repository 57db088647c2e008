"""Processes that train one run together: each computes some utterances of every batch.

Whoever starts the processes initialises torch.distributed (gloo or nccl), which connects them.

Shapes: B utterances of the whole batch, N processes.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mlt_ray.batch import Batch
from mlt_ray.models.system import System

T = TypeVar("T")


class SubBatch(NamedTuple):
    """The utterances of a batch that one process computes.

    A process that gets none computes one utterance of the batch all the same, and its `size` of 0
    gives it no weight: all processes must take part when gradients are averaged.
    """

    indices: np.ndarray  # at least one index in the corpus
    size: int  # how many of them count


@dataclass(frozen=True, kw_only=True)
class Group:
    """This process's place in the group; by default it is alone."""

    rank: int = 0
    size: int = 1

    @classmethod
    def joined(cls) -> "Group":
        """The group of this process, once torch.distributed is initialised."""
        return cls(rank=dist.get_rank(), size=dist.get_world_size())

    @property
    def leads(self) -> bool:
        """True for the one process that writes, reports and decides for all."""
        return self.rank == 0

    def sub_batch(self, indices: np.ndarray) -> SubBatch:
        """This process's utterances of a batch: every N-th of (B,) indices, from its rank on."""
        own = indices[self.rank :: self.size]
        return SubBatch(own if len(own) else indices[:1], len(own))

    def every_nth(self, items: Sequence[T]) -> Sequence[T]:
        """This process's items: every N-th, from its rank on; there may be none."""
        return items[self.rank :: self.size]

    def loss_weight(self, size: int, batch_size: int) -> float:
        """The factor N · size / B for the mean loss of `size` utterances of a batch of B.

        With it, the mean of the gradients over the processes is the gradient of the mean loss of
        the whole batch.
        """
        return self.size * size / batch_size

    def averaging_gradients(
        self, loss: Callable[[Batch], Tensor], is_last: bool
    ) -> contextlib.AbstractContextManager[None]:
        """Context of the backward pass of one piece of a batch.

        Gradients add up over the pieces. The last piece averages the sums over the processes.
        """
        if isinstance(loss, DistributedDataParallel) and not is_last:
            return loss.no_sync()
        return contextlib.nullcontext()

    def across_processes(self, loss: "Loss") -> Callable[[Batch], Tensor]:
        """The loss in a form whose backward pass averages the gradients over the processes."""
        if self.size == 1:
            return loss
        # No buffers are sent: they are frozen inputs, the same in every process.
        return DistributedDataParallel(loss, broadcast_buffers=False)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def agree(self, value: T, device: torch.device) -> T:
        """The leading process's value, in every process; it is sent through `device`."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=device)
        return box[0]


ALONE = Group()
"""A process that trains a run by itself."""


class Loss(nn.Module):
    """A system's loss as a forward pass: `DistributedDataParallel` wraps a forward pass only."""

    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system

    def forward(self, batch: Batch) -> Tensor:
        """→ () mean loss of the batch."""
        return self.system.loss(batch)
