"""Processes that train one run together, each with its share of every batch.

The group is torch.distributed's own, initialised by whoever started the processes (gloo or nccl).
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
    """One process's part of a batch.

    `size` utterances of it are its own. A process that gets none takes part with one utterance of
    the batch, all the same, and a `size` of 0: gradients are reduced by all processes or by none.
    """

    indices: np.ndarray  # at least one index in the corpus
    size: int


@dataclass(frozen=True, kw_only=True)
class Group:
    """This process's place in the group; alone unless told otherwise."""

    rank: int = 0
    size: int = 1

    @classmethod
    def joined(cls) -> "Group":
        """The group of this process, once torch.distributed is initialised."""
        return cls(rank=dist.get_rank(), size=dist.get_world_size())

    @property
    def leads(self) -> bool:
        """Whether this process writes, reports and decides for all."""
        return self.rank == 0

    def sub_batch(self, indices: np.ndarray) -> SubBatch:
        """Every N-th utterance of (B,) indices, from the rank on."""
        own = indices[self.rank :: self.size]
        return SubBatch(own if len(own) else indices[:1], len(own))

    def every_nth(self, items: Sequence[T]) -> Sequence[T]:
        """This process's part of work that can be shared out in whole pieces."""
        return items[self.rank :: self.size]

    def loss_weight(self, size: int, batch_size: int) -> float:
        """What the mean loss of `size` utterances is multiplied by, so that the gradients' mean
        over all processes is the gradient of the whole batch's mean loss: N · size / B.
        """
        return self.size * size / batch_size

    def averaging_gradients(
        self, loss: Callable[[Batch], Tensor], is_last: bool
    ) -> contextlib.AbstractContextManager[None]:
        """Gradients inside the block are averaged over the processes with the last piece's."""
        if isinstance(loss, DistributedDataParallel) and not is_last:
            return loss.no_sync()
        return contextlib.nullcontext()

    def across_processes(self, loss: "Loss") -> Callable[[Batch], Tensor]:
        """The loss, with gradients that are averaged over the processes as they are computed."""
        if self.size == 1:
            return loss
        # Buffers are frozen inputs, the same in every process.
        return DistributedDataParallel(loss, broadcast_buffers=False)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def agree(self, value: T, device: torch.device) -> T:
        """What the leading process has, in every process; `device` carries it."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=device)
        return box[0]


ALONE = Group()
"""A process that trains a run by itself."""


class Loss(nn.Module):
    """A system's loss as a forward pass, which is what torch spreads over processes."""

    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system

    def forward(self, batch: Batch) -> Tensor:
        """→ () mean loss of the batch."""
        return self.system.loss(batch)
