"""Layers for a model that runs under `torch.vmap`, with weights of its own for each run.

There, torch's linear layers repeat the weights for every utterance, its convolutions are computed
in groups, its embeddings train the row of padding, and a mask's dozen of small operations have a
dispatch more each. Here, one matrix product a run becomes one batched product for all, and masks
are made in one call. These are classes that a layer's instance is given in place of its own.
"""

from typing import Any, Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.models.dropout import Dropout, scaled_mask


class FlatLinear(nn.Linear):
    """`torch.nn.Linear` as one matrix product: (…, C) → (…, D)."""

    def forward(self, x: Tensor) -> Tensor:
        flat = F.linear(x.flatten(0, -2), self.weight, self.bias)
        return flat.unflatten(0, x.shape[:-1])


class FlatConv1d(nn.Conv1d):
    """`torch.nn.Conv1d` with padding ``same`` as one matrix product: (B, C, T) → (B, D, T)."""

    def forward(self, x: Tensor) -> Tensor:
        [reach] = self.kernel_size
        before = (reach - 1) // 2
        windows = F.pad(x, (before, reach - 1 - before)).unfold(2, reach, 1)
        rows = windows.transpose(1, 2).flatten(0, 1).flatten(1)
        flat = F.linear(rows, self.weight.flatten(1), self.bias)
        return flat.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


class FlatEmbedding(nn.Embedding):
    """`torch.nn.Embedding` whose row of padding, if it has one, is zero."""

    def forward(self, ids: Tensor) -> Tensor:
        rows = F.embedding(ids, self.weight)
        if self.padding_idx is None:
            return rows
        return rows * (ids != self.padding_idx)[..., None]


class ScaledMasks(torch.autograd.Function):
    """`scaled_mask`, of the keys of all runs in one call."""

    @staticmethod
    def forward(key: Tensor, shape: tuple[int, ...], p: float) -> Tensor:
        return scaled_mask(key, shape, p)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], key: Tensor, shape: tuple[int, ...], p: float
    ) -> tuple[Tensor, int]:
        return scaled_mask(key.flatten(), shape, p).unflatten(0, key.shape), 0


class FlatDropout(Dropout):
    """`Dropout` whose masks are made for all runs at once."""

    def mask(self, key: Tensor, shape: tuple[int, ...]) -> Tensor:
        return cast(Tensor, ScaledMasks.apply(key, shape, self.p))


FLAT: Final[dict[type[nn.Module], type[nn.Module]]] = {
    nn.Linear: FlatLinear,
    nn.Conv1d: FlatConv1d,
    nn.Embedding: FlatEmbedding,
    Dropout: FlatDropout,
}
