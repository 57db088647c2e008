"""Layers that a traced graph computes for inputs of every length.

An export to ONNX traces a network on one batch: what Python computes from a tensor's length would
be a constant of the graph. `EXPORTABLE` names a class for each layer that does so, with the same
weights and the same result. `exportable` sets it as the ``__class__`` of the layers of a copy, as
`mlt_ray.models.flat` does for packs.

Shapes: B utterances, H heads, T steps, S key positions, D channels, P positions after convolutions,
W words.
"""

import copy
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mlt_ray.batch import Batch
from mlt_ray.models.attention import Attention
from mlt_ray.models.layers import ScaledPositions
from mlt_ray.models.li.network import SpeechEncoder, interval_mean, rows, seen

OPSET: Final = 17
"""Version of ONNX's operators, of 2022: the first with layer norm. onnxruntime 1.12 can run it."""

AXES: Final[Mapping[str, Mapping[int, str]]] = {
    "frames": {0: "batch", 1: "frames"},
    "num_frames": {0: "batch"},
    "words": {0: "batch", 1: "words"},
    "num_words": {0: "batch"},
    "phonemes": {0: "batch", 1: "words", 2: "phonemes"},
    "alignment": {0: "batch", 1: "words"},
    "pieces": {0: "batch", 1: "pieces"},
}
"""Axes of a network's inputs that have any size. Of one that is not here, it is the first."""

BATCH: Final[Mapping[int, str]] = {0: "batch"}

LEVELS: Final = 16
"""Tables of maxima over 1, 2, 4, … positions: intervals of up to 65,535 positions are covered, some
ten minutes of the shortest steps."""

Network = TypeVar("Network", bound=nn.Module)


class ExportableAttention(Attention):
    """`Attention` that adds no hidden keys to a short memory, and writes out the fused kernel."""

    def forward(
        self, x: Tensor, memory: Tensor, memory_mask: Tensor, causal: bool = False
    ) -> Tensor:
        query = self._split(self.query(x))
        key, value = map(self._split, self.key_value(memory).chunk(2, dim=-1))
        hidden = ~memory_mask[:, None, None, :]
        if causal:
            places, steps = torch.arange(memory.shape[1]), torch.arange(x.shape[1])
            hidden = hidden | (places > steps[:, None])
        scores = query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)
        mixed = scores.masked_fill(hidden, -torch.inf).softmax(dim=-1) @ value
        return self.output(mixed.transpose(1, 2).flatten(2))


class ExportablePositions(ScaledPositions):
    """`ScaledPositions` that computes the sinusoids of as many positions as there are."""

    def forward(self, x: Tensor) -> Tensor:
        width = x.shape[2]
        rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        angle = torch.arange(x.shape[1], dtype=torch.float32)[:, None] * rate
        table = torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width]
        return self.dropout(x + self.scale * table)


class ExportableSpeechEncoder(SpeechEncoder):
    """`SpeechEncoder` that continues every utterance with zeros, and counts no interval's length.

    The positions that only have seen these zeros belong to no word.
    """

    def forward(self, batch: Batch) -> Tensor:
        frames = batch.frames * batch.frame_mask[..., None]
        x = F.pad(frames, (0, 0, 0, self.reach - 1)).transpose(1, 2)
        x = self.convolutions(x).transpose(1, 2)
        num_positions = (batch.num_frames - self.reach + 1).clamp(min=1)
        first, last = seen(batch.extras["alignment"], self.reach, num_positions)
        return torch.cat([interval_mean(x, first, last), traced_max(x, first, last)], dim=-1)


def traced_max(x: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """`interval_max` of (B, P, C) with a fixed number of tables → (B, W, C).

    A table keeps its P positions. The maxima of the last ones are over fewer positions, but no
    interval that a table is read for reaches beyond the end.
    """
    length = last - first
    found = torch.zeros_like(x[:, :1]) * torch.zeros_like(length, dtype=x.dtype)[..., None]
    place = torch.arange(x.shape[1], device=x.device)
    table = x
    for level in range(LEVELS):
        size = 1 << level
        if level:
            later = (place + size // 2).minimum(place[-1])
            table = torch.maximum(table, table.index_select(1, later))
        fits = (length >= size) & (length < 2 * size)
        ends = (
            rows(table, torch.where(fits, s, torch.zeros_like(s))) for s in (first, last - size)
        )
        found = torch.where(fits[..., None], torch.maximum(*ends), found)
    return found


EXPORTABLE: Final[dict[type[nn.Module], type[nn.Module]]] = {
    Attention: ExportableAttention,
    ScaledPositions: ExportablePositions,
    SpeechEncoder: ExportableSpeechEncoder,
}
"""The class that stands in for each class of layers in an export."""


def exportable(network: Network) -> Network:
    """A copy of a network in evaluation mode that gives the same, to be traced."""
    found = copy.deepcopy(network).eval()
    for layer in found.modules():
        layer.__class__ = EXPORTABLE.get(type(layer), type(layer))
        # A user's own network has one that checks the shape of its logits, which are traced here.
        layer._forward_hooks.clear()
    return found


class Reshaping(TorchFunctionMode):
    """While it is active, `Tensor.unflatten` is a reshape: a trace would fix its sizes."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is not Tensor.unflatten:
            return func(*args, **(kwargs or {}))
        x, axis, sizes = args
        axis %= x.dim()
        return x.reshape(*x.shape[:axis], *sizes, *x.shape[axis + 1 :])


def write_graph(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    path: Path,
    axes: Mapping[str, Mapping[int, str]] = AXES,
) -> None:
    """Trace `module`, called with the values of `inputs`, and write it to `path` as ONNX.

    `axes` names the axes of inputs and outputs that may have any size, by default the first; all
    others keep that of the example. Of `inputs`, the graph has those that the outputs depend on.
    Needs onnx besides torch.
    """
    with warnings.catch_warnings(), Reshaping():
        # Of this exporter, and of sizes that are constants, as the number of channels.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            path,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={n: dict(axes.get(n, BATCH)) for n in (*inputs, *outputs)},
            opset_version=OPSET,
            # The other exporter takes 20 to 60 seconds for one small network, unrolls recurrent
            # layers over the example's steps, and fixes lengths without a word.
            dynamo=False,
        )
