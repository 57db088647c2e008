"""Layers for a model that runs under `torch.vmap`, with weights of its own for each run.

There, torch's linear layers repeat the weights for every utterance and add their bias in a pass of
its own, its convolutions are computed in groups, its embeddings train the row of padding, and its
attention falls back to a loop over the runs. Here, what one run's layer does in one operation is
one for all runs. These are classes that a layer's instance is given in place of its own.

Shapes: R runs, N rows, C and D channels; (…) is what a single run has.
"""

from typing import Any, Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.models.attention import Attention
from mlt_ray.models.dropout import Dropout, scaled_mask
from mlt_ray.models.layers import CharCnn


class OfAllRuns(torch.autograd.Function):
    """A function under `torch.vmap` that is called once, with the run axis first.

    Its gradient is that of what `of_runs` computes, which is recorded outside `torch.vmap`; so
    there is no backward here.
    """

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @classmethod
    def of_runs(cls, *given: Any) -> Tensor:
        """The result, (R, …), of tensors with a run axis and of other values."""
        raise NotImplementedError

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int | None, ...], *given: Any) -> tuple[Tensor, int]:
        runs = [_runs_first(x, dim, info.batch_size) for x, dim in zip(given, in_dims, strict=True)]
        return cls.of_runs(*runs), 0


def _runs_first(value: Any, dim: int | None, num_runs: int) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.expand(num_runs, *value.shape) if dim is None else value.movedim(dim, 0)


class Product(OfAllRuns):
    """`F.linear` of (N, C) rows."""

    @staticmethod
    def forward(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.linear(rows, weight, bias)

    @classmethod
    def of_runs(cls, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        kind = rows.device.type
        if torch.is_autocast_enabled(kind):
            lower = torch.get_autocast_dtype(kind)
            rows, weight, bias = rows.to(lower), weight.to(lower), bias.to(lower)
        return cast(Tensor, RunsLinear.apply(rows, weight, bias))


class RunsLinear(torch.autograd.Function):
    """(R, N, C) rows, (R, D, C) weights and (R, D) biases → (R, N, D).

    With a backward of its own, whose gradient of the weights lies in memory as the weights do.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return torch.baddbmm(bias[:, None], rows, weight.mT)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        [gradient] = gradients
        of_rows = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        return of_rows, torch.bmm(gradient.mT, rows), gradient.sum(1)


class Mix(OfAllRuns):
    """`Attention.mix`, the run axis as a part of the batch axis."""

    @staticmethod
    def forward(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)

    @classmethod
    def of_runs(cls, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        query, key, value, mask = (x.flatten(0, 1) for x in (query, key, value, bias))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return mixed.unflatten(0, bias.shape[:2])


class Standardised(OfAllRuns):
    """`F.layer_norm` over the last axis of (…, D) values, with a (D,) weight and bias."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        return F.layer_norm(x, weight.shape, weight, bias, eps)

    @classmethod
    def of_runs(cls, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        shape = (len(x), *(1 for _ in x.shape[2:]), x.shape[-1])
        return cast(Tensor, RunsLayerNorm.apply(x, weight.view(shape), bias.view(shape), eps))


class RunsLayerNorm(torch.autograd.Function):
    """Layer norm of (R, …, D) values with (R, 1, …, D) weight and bias.

    With a backward of its own: torch's would go over the values three times more.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        standard, mean, rstd = torch.native_layer_norm(x, x.shape[-1:], None, None, eps)
        ctx.save_for_backward(x, weight, standard, mean, rstd)
        return torch.addcmul(bias, standard, weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, standard, mean, rstd = ctx.saved_tensors
        [gradient] = gradients
        scaled = (gradient * weight).to(x.dtype)
        of_x, _, _ = torch.ops.aten.native_layer_norm_backward(
            scaled, x, x.shape[-1:], mean, rstd, None, None, [True, False, False]
        )
        own = (gradient * standard).sum_to_size(weight.shape)
        return of_x, own, gradient.sum_to_size(weight.shape), None


class ScaledMasks(OfAllRuns):
    """`scaled_mask` of the positions of all runs."""

    @staticmethod
    def forward(positions: Tensor, size: int, p: float) -> Tensor:
        return scaled_mask(positions, size, p)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @classmethod
    def of_runs(cls, positions: Tensor, size: int, p: float) -> Tensor:
        return scaled_mask(positions, size, p)


class FlatLinear(nn.Linear):
    """`torch.nn.Linear` as one matrix product: (…, C) → (…, D)."""

    def forward(self, x: Tensor) -> Tensor:
        flat = cast(Tensor, Product.apply(x.flatten(0, -2), self.weight, self.bias))
        return flat.unflatten(0, x.shape[:-1])


class FlatConv1d(nn.Conv1d):
    """`torch.nn.Conv1d` with padding ``same`` as one matrix product: (B, C, T) → (B, D, T)."""

    def forward(self, x: Tensor) -> Tensor:
        rows = windows(x, self).transpose(1, 2).flatten(0, 1).flatten(1)
        flat = cast(Tensor, Product.apply(rows, self.weight.flatten(1), self.bias))
        return flat.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


class FlatEmbedding(nn.Embedding):
    """`torch.nn.Embedding` whose row of padding, if it has one, is zero."""

    def forward(self, ids: Tensor) -> Tensor:
        table = self.weight
        if self.padding_idx is not None:
            rows = torch.arange(len(table), device=table.device)
            table = table * (rows != self.padding_idx)[:, None]
        return F.embedding(ids, table)


class FlatCharCnn(CharCnn):
    """`CharCnn` whose convolution reads the embedding's rows where they are."""

    def convolve(self, phonemes: Tensor) -> Tensor:
        convolution = self.convolution
        rows = self.embedding(windows(phonemes, convolution)).flatten(2).flatten(0, 1)
        weight = convolution.weight.transpose(1, 2).flatten(1)
        flat = cast(Tensor, Product.apply(rows, weight, convolution.bias))
        return flat.unflatten(0, phonemes.shape)


def windows(x: Tensor, convolution: nn.Conv1d) -> Tensor:
    """(…, T) → (…, T, reach): what the convolution sees at each of T positions."""
    [reach] = convolution.kernel_size
    before = (reach - 1) // 2
    return F.pad(x, (before, reach - 1 - before)).unfold(-1, reach, 1)


class FlatLayerNorm(nn.LayerNorm):
    """`torch.nn.LayerNorm` over the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, Standardised.apply(x, self.weight, self.bias, self.eps))


class FlatAttention(Attention):
    """`Attention` in one pass for all runs."""

    def mix(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        return cast(Tensor, Mix.apply(query, key, value, bias))


class FlatDropout(Dropout):
    """`Dropout` whose masks are made for all runs at once."""

    def drop(self, x: Tensor, positions: Tensor) -> Tensor:
        return x * cast(Tensor, ScaledMasks.apply(positions, x.shape[-1], self.p)).to(x.dtype)


FLAT: Final[dict[type[nn.Module], type[nn.Module]]] = {
    nn.Linear: FlatLinear,
    nn.Conv1d: FlatConv1d,
    nn.Embedding: FlatEmbedding,
    nn.LayerNorm: FlatLayerNorm,
    CharCnn: FlatCharCnn,
    Attention: FlatAttention,
    Dropout: FlatDropout,
}
