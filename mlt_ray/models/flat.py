"""Layers that compute all runs of a pack in one operation.

A pack calls one model with the weights of R runs: `torch.vmap` adds a run axis to weights and
inputs. Under it, some of torch's layers are slow or wrong: linear layers repeat the weights for
every utterance and add the bias in a pass of its own, convolutions are computed in groups,
embeddings train the row of padding, and attention loops over the runs.

`FLAT` names a class for each such layer, with the same weights and the same result for each run.
`PackTrainer` sets it, by `flat_class`, as the ``__class__`` of the layers of its model. The classes
compute through `AcrossRuns`, a function that `torch.vmap` calls once with the tensors of all runs.

Shapes: R runs, N rows, C and D channels; (…) are the axes that a single run has.
"""

from typing import Any, Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.models.attention import Attention
from mlt_ray.models.convolution import Conv1d, windows
from mlt_ray.models.dropout import Dropout, scaled_mask
from mlt_ray.models.layers import CharCnn


class AcrossRuns(torch.autograd.Function):
    """A function that `torch.vmap` calls once for all runs, with the run axis first.

    `forward` is the function of a single run, `compute` the same for all runs. There is no
    backward: `compute` runs outside `torch.vmap`, where autograd records its operations.
    """

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @classmethod
    def compute(cls, *given: Any) -> Tensor:
        """The (R, …) result of (R, …) tensors and other values."""
        raise NotImplementedError

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int | None, ...], *given: Any) -> tuple[Tensor, int]:
        runs = [_runs_first(x, dim, info.batch_size) for x, dim in zip(given, in_dims, strict=True)]
        return cls.compute(*runs), 0


def _runs_first(value: Any, dim: int | None, num_runs: int) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.expand(num_runs, *value.shape) if dim is None else value.movedim(dim, 0)


class LinearAcrossRuns(AcrossRuns):
    """`F.linear` of (N, C) rows, for all runs."""

    @staticmethod
    def forward(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.linear(rows, weight, bias)

    @classmethod
    def compute(cls, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        kind = rows.device.type
        if torch.is_autocast_enabled(kind):
            lower = torch.get_autocast_dtype(kind)
            rows, weight, bias = rows.to(lower), weight.to(lower), bias.to(lower)
        return cast(Tensor, StackedLinear.apply(rows, weight, bias))


class StackedLinear(torch.autograd.Function):
    """(R, N, C) rows, (R, D, C) weights and (R, D) biases → (R, N, D).

    The backward is written out so that the gradient of the weights has the memory layout of the
    weights.
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


class MixAcrossRuns(AcrossRuns):
    """`Attention.mix` for all runs: runs and utterances become one batch axis."""

    @staticmethod
    def forward(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)

    @classmethod
    def compute(cls, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        query, key, value, mask = (x.flatten(0, 1) for x in (query, key, value, bias))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return mixed.unflatten(0, bias.shape[:2])


class LayerNormAcrossRuns(AcrossRuns):
    """`F.layer_norm` over the last axis of (…, D), with (D,) weight and bias, for all runs."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        return F.layer_norm(x, weight.shape, weight, bias, eps)

    @classmethod
    def compute(cls, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        shape = (len(x), *(1 for _ in x.shape[2:]), x.shape[-1])
        return cast(Tensor, StackedLayerNorm.apply(x, weight.view(shape), bias.view(shape), eps))


class StackedLayerNorm(torch.autograd.Function):
    """Layer norm of (R, …, D) values with (R, 1, …, D) weight and bias.

    The backward is written out: autograd's would go over the values three times more.
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


class ScaledMaskAcrossRuns(AcrossRuns):
    """`scaled_mask` of the positions, for all runs."""

    @staticmethod
    def forward(positions: Tensor, size: int, p: float) -> Tensor:
        return scaled_mask(positions, size, p)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.mark_non_differentiable(output)

    @classmethod
    def compute(cls, positions: Tensor, size: int, p: float) -> Tensor:
        return scaled_mask(positions, size, p)


class FlatLinear(nn.Linear):
    """`torch.nn.Linear` as one matrix product: (…, C) → (…, D)."""

    def forward(self, x: Tensor) -> Tensor:
        flat = cast(Tensor, LinearAcrossRuns.apply(x.flatten(0, -2), self.weight, self.bias))
        return flat.unflatten(0, x.shape[:-1])


class FlatConv1d(Conv1d):
    """`Conv1d` with padding ``same`` as one matrix product: (B, C, T) → (B, D, T)."""

    def forward(self, x: Tensor) -> Tensor:
        rows = windows(x, self).transpose(1, 2).flatten(0, 1).flatten(1)
        flat = cast(Tensor, LinearAcrossRuns.apply(rows, self.weight.flatten(1), self.bias))
        return flat.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)


class FlatEmbedding(nn.Embedding):
    """`torch.nn.Embedding`; the row of padding, if there is one, is zero and is not trained."""

    def forward(self, ids: Tensor) -> Tensor:
        table = self.weight
        if self.padding_idx is not None:
            rows = torch.arange(len(table), device=table.device)
            table = table * (rows != self.padding_idx)[:, None]
        return F.embedding(ids, table)


class FlatCharCnn(CharCnn):
    """`CharCnn` with its convolution as one matrix product over the windows of phonemes."""

    def convolve(self, phonemes: Tensor) -> Tensor:
        convolution = self.convolution
        rows = self.embedding(windows(phonemes, convolution)).flatten(2).flatten(0, 1)
        weight = convolution.weight.transpose(1, 2).flatten(1)
        flat = cast(Tensor, LinearAcrossRuns.apply(rows, weight, convolution.bias))
        return flat.unflatten(0, phonemes.shape)


class FlatLayerNorm(nn.LayerNorm):
    """`torch.nn.LayerNorm` over the last axis."""

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, LayerNormAcrossRuns.apply(x, self.weight, self.bias, self.eps))


class FlatAttention(Attention):
    """`Attention` as one operation for all runs."""

    def mix(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        return cast(Tensor, MixAcrossRuns.apply(query, key, value, bias))


class FlatDropout(Dropout):
    """`Dropout` whose masks are made for all runs at once."""

    def drop(self, x: Tensor, positions: Tensor) -> Tensor:
        return x * cast(Tensor, ScaledMaskAcrossRuns.apply(positions, x.shape[-1], self.p)).to(
            x.dtype
        )


FLAT: Final[dict[type[nn.Module], type[nn.Module]]] = {
    nn.Linear: FlatLinear,
    Conv1d: FlatConv1d,
    nn.Embedding: FlatEmbedding,
    nn.LayerNorm: FlatLayerNorm,
    CharCnn: FlatCharCnn,
    Attention: FlatAttention,
    Dropout: FlatDropout,
}
"""The class that stands in for each class of layers under `torch.vmap`."""


def flat_class(layer: nn.Module) -> type[nn.Module]:
    """The class of `FLAT` that stands in for a layer's; its own if that one is for other layers.

    Torch computes such a layer rightly, but slower, as one without a bias.
    """
    flat = FLAT.get(type(layer))
    return flat if flat is not None and _is_plain(layer) else type(layer)


def _is_plain(layer: nn.Module) -> bool:
    """Whether a layer of a class in `FLAT` has no settings but those that its stand-in knows."""
    if isinstance(layer, Conv1d):
        return layer.padding == "same"
    if isinstance(layer, nn.LayerNorm):
        return len(layer.normalized_shape) == 1 and layer.bias is not None
    return not isinstance(layer, nn.Linear) or layer.bias is not None
