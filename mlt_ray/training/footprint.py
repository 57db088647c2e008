"""Counts the memory that training a network takes without taking it, on torch's meta device.

Tensors there have shapes and no values: a network of any size is built and stepped in a second.

Shapes: B utterances, T positions, C channels, H units.
"""

import warnings
import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.models.attention import Attention
from mlt_ray.models.dropout import set_dropout_keys
from mlt_ray.models.registry import build_model
from mlt_ray.models.system import System
from mlt_ray.spec import ModelSpec

_FLOAT_BYTES = 4

_KEPT_OF_OUTPUTS = 3
"""Tensors of a layer's size that a step keeps at each position, where the step cannot be traced."""


class Footprint(NamedTuple):
    """Bytes of a network: all its weights and buffers, those of its weights that are trained, and
    the most that a step needs besides them and besides the moments of Adam: gradients,
    what the forward pass keeps for them, and what is computed on the way.
    """

    weights: int
    trained: int
    step: int


class Peak(TorchDispatchMode):
    """Counts the bytes of the tensors that are made inside the block; `most` were alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._alive = 0
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, Tensor):
                self._note(one.untyped_storage())
        return made

    def _note(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen:
            return
        self._seen.add(storage)
        size = storage.nbytes()
        self._alive += size
        self.most = max(self.most, self._alive)
        weakref.finalize(storage, self._freed, size)

    def _freed(self, size: int) -> None:
        self._alive -= size


def footprint(spec: ModelSpec, sizes: InputSizes, trained: Batch, scored: Batch) -> Footprint:
    """What a network of these values takes, for the batch that it is trained with and one of dev.

    The batches and the word vectors of `sizes` are on the meta device. Raises whatever the network
    raises if it cannot be built there. One that can be built there and not be stepped, as values
    decide what it computes, is taken to keep `_KEPT_OF_OUTPUTS` tensors of the size of every
    layer's output, at every step and word of the batch.
    """
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's of weights that are read for nothing
        network = build_model(spec, sizes)
    values = [*network.parameters(), *network.buffers()]
    learnt = [p for p in network.parameters() if p.requires_grad]
    for layer in network.modules():
        if isinstance(layer, nn.RNNBase) and _is_plain(layer):
            layer.forward = _Unrolled(layer)
        if isinstance(layer, Attention):
            layer.mix = _fused  # type: ignore[method-assign]
    try:
        step = max(_training(network, trained), _scoring(network, scored))
    except Exception:  # whatever a model of one's own raises that asks for values
        positions = trained.frames.shape[:2].numel() + trained.words.numel()
        step = _nbytes(learnt) + _kept(network) * positions
    return Footprint(_nbytes(values), _nbytes(learnt), step)


def _nbytes(values: list[Any]) -> int:
    return sum(value.numel() * value.element_size() for value in values)


def _training(network: System, batch: Batch) -> int:
    """The most bytes that a training step makes."""
    network.train()
    with torch.device("meta"), Peak() as peak:
        set_dropout_keys(network, batch.utterances, 1)
        network.loss(batch).backward()
    for weight in network.parameters():
        weight.grad = None
    return peak.most


@torch.no_grad()
def _scoring(network: System, batch: Batch) -> int:
    """The most bytes that the logits of a batch of dev make on the way."""
    network.eval()
    with torch.device("meta"), Peak() as peak:
        network(batch)
    return peak.most


def _kept(network: nn.Module) -> int:
    """Bytes that a step keeps at each position, by the sizes of the layers' outputs."""
    outputs = 0
    for layer in network.modules():
        if isinstance(layer, nn.RNNBase):
            outputs += 6 * layer.hidden_size
        else:
            sizes = ("out_features", "out_channels", "embedding_dim")
            outputs += next((getattr(layer, size) for size in sizes if hasattr(layer, size)), 0)
    return _KEPT_OF_OUTPUTS * _FLOAT_BYTES * outputs


def _fused(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Stands in for torch's fused attention, which the meta device computes with all weights.

    (B, H, T, d) queries and (B, H, S, d) keys and values → (B, H, T, d).
    """
    return query * key.sum(dim=2, keepdim=True) + value.sum(dim=2, keepdim=True)


def _is_plain(layer: nn.RNNBase) -> bool:
    """Whether `_Unrolled` can stand in for a recurrent layer."""
    return layer.num_layers == 1 and layer.bias and not layer.bidirectional and layer.batch_first


class _Unrolled:
    """Stands in for a recurrent layer of torch, which the meta device computes step by step.

    It makes the same tensors at all positions at once: the gates, the state and what they need.
    """

    def __init__(self, layer: nn.RNNBase) -> None:
        self._layer = layer

    def __call__(self, x: Tensor, *_: Any) -> tuple[Tensor, Any]:
        """(B, T, C) → (B, T, H), and a (1, B, H) state; an LSTM gives its cells beside that."""
        weights = dict(self._layer.named_parameters())
        gates = F.linear(x, weights["weight_ih_l0"], weights["bias_ih_l0"])
        # The states of each gate, from the states before.
        gates = torch.sigmoid(gates) * torch.tanh(gates)
        width = self._layer.hidden_size
        states = F.linear(gates[..., :width], weights["weight_hh_l0"], weights["bias_hh_l0"])
        states = torch.tanh(states[..., :width])
        if isinstance(self._layer, nn.LSTM):
            # It has cells beside its states, and keeps its gates twice.
            gates = gates * torch.sigmoid(gates)
            states = torch.tanh(states * gates[..., :width]) * gates[..., -width:]
            return states, (states[None, :, -1], states[None, :, -1])
        return states, states[None, :, -1]
