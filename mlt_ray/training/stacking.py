"""One batch of every run of a pack, padded to common shapes and stacked along a run axis.

Shapes: R runs, B utterances of the largest batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlt_ray.batch import NO_LABEL, Batch, InputSizes
from mlt_ray.features.batching import FoldData

FILL = {"labels": NO_LABEL, "num_frames": 1, "num_words": 1}
"""What stands for an utterance that a smaller batch lacks; the rest is zero."""


class Stacking:
    """Makes batches of the folds of a pack's runs, on a device."""

    def __init__(self, data: Sequence[FoldData], sizes: InputSizes, device: torch.device) -> None:
        """`sizes` are those of the pack's model, which holds the largest of all vocabularies."""
        self._data, self._device = data, device
        own = [d.num_learned_words for d in data]
        self._first_vector = torch.tensor(own)[:, None, None]
        self._shift = sizes.num_learned_words - self._first_vector

    def batch(self, indices: Sequence[np.ndarray | None]) -> dict[str, Any]:
        """The fields of `Batch`, (R, B, …) each, for (B,) indices of every run.

        A run without indices gets an utterance all the same, so that its numbers are finite.
        """
        parts = [
            d.batch(d.parts["train"][:1] if i is None else i)
            for d, i in zip(self._data, indices, strict=True)
        ]
        stack = {f.name: self._stack(f.name, parts) for f in fields(Batch) if f.name != "extras"}
        # Rows of word vectors follow the learned rows, of which the pack's model may have more.
        words = stack["words"]
        stack["words"] = torch.where(words < self._first_vector, words, words + self._shift)
        on_device = {name: self._moved(value) for name, value in stack.items()}
        extras = {k: self._moved(stacked([p.extras[k] for p in parts])) for k in parts[0].extras}
        return {**on_device, "extras": extras}

    def _stack(self, name: str, parts: Sequence[Batch]) -> Tensor:
        return stacked([getattr(part, name) for part in parts], FILL.get(name, 0))

    def _moved(self, value: Tensor) -> Tensor:
        if self._device.type == "cuda":
            value = value.pin_memory()
        return value.to(self._device, non_blocking=True)


def stacked(tensors: Sequence[Tensor], fill: int = 0) -> Tensor:
    """Tensors of differing sizes as one, behind a new first axis, with `fill` in what is left."""
    largest = [max(sizes) for sizes in zip(*(t.shape for t in tensors), strict=True)]
    whole = tensors[0].new_full((len(tensors), *largest), fill)
    for place, tensor in zip(whole, tensors, strict=True):
        place[tuple(map(slice, tensor.shape))] = tensor
    return whole


def picked(batch: Mapping[str, Any], rows: slice) -> dict[str, Any]:
    """Some runs of a stacked batch."""
    return {k: picked(v, rows) if isinstance(v, Mapping) else v[rows] for k, v in batch.items()}
