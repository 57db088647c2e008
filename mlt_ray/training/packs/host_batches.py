"""Batches of the runs of a pack, padded to common shapes and stacked along a run axis.

Shapes: R runs, B utterances of the largest batch, S steps.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlt_ray.batch import NO_LABEL, Batch
from mlt_ray.features.batching import FoldData

Steps = Sequence[Sequence[np.ndarray | None]]
"""For each of S steps and R runs, the utterances of the batch; None where a run has none."""

Stacked = dict[str, Any]
"""The fields of `Batch`, (R, B, …) each. What a smaller batch lacks is padded with utterances that
have `NO_LABEL`; a run without a batch gets some utterance, so that its numbers are finite."""

FILL = {"labels": NO_LABEL, "num_frames": 1, "num_words": 1}
"""What stands for an utterance that is not there; the rest is zero."""


class HostBatches:
    """Makes batches on the host, for data that a device cannot hold."""

    def __init__(
        self, folds: Mapping[int, FoldData], num_learned_words: int, device: torch.device
    ) -> None:
        """`num_learned_words` is that of the pack's model: the most of any fold."""
        self._folds, self._device = folds, device
        self._num_learned_words = num_learned_words

    def batches(self, steps: Steps, numbers: Sequence[int]) -> Iterator[Stacked]:
        """The batches of all steps, for runs of the folds with (R,) `numbers`."""
        data = [self._folds[n] for n in numbers]
        for step in steps:
            yield self._stack([self._part(d, i) for d, i in zip(data, step, strict=True)])

    def _part(self, data: FoldData, indices: np.ndarray | None) -> Mapping[str, Any]:
        batch = data.batch(stand_in(data) if indices is None else indices)
        words = renumbered(batch.words, data.num_learned_words, self._num_learned_words)
        return {**{f.name: getattr(batch, f.name) for f in fields(Batch)}, "words": words}

    def _stack(self, parts: Sequence[Mapping[str, Any]]) -> Stacked:
        names = [f.name for f in fields(Batch) if f.name != "extras"]
        stack = {n: self._moved(stacked([p[n] for p in parts], FILL.get(n, 0))) for n in names}
        extras = {
            n: self._moved(stacked([p["extras"][n] for p in parts])) for n in parts[0]["extras"]
        }
        return {**stack, "extras": extras}

    def _moved(self, value: Tensor) -> Tensor:
        if self._device.type == "cuda":
            value = value.pin_memory()
        return value.to(self._device, non_blocking=True)


def stand_in(data: FoldData) -> np.ndarray:
    """The utterance that a run without a batch gets."""
    return np.asarray(data.parts["train"][:1])


def renumbered(words: Tensor, own: int, common: int) -> Tensor:
    """Word ids where the model has `common` learned rows, and the fold only its `own`.

    Rows of word vectors follow the learned ones.
    """
    return torch.where(words < own, words, words + (common - own))


def stacked(tensors: Sequence[Tensor], fill: int = 0) -> Tensor:
    """Tensors of differing sizes as one, behind a new first axis, with `fill` in what is left."""
    largest = [max(sizes) for sizes in zip(*(t.shape for t in tensors), strict=True)]
    whole = tensors[0].new_full((len(tensors), *largest), fill)
    for place, tensor in zip(whole, tensors, strict=True):
        place[tuple(map(slice, tensor.shape))] = tensor
    return whole


def picked(batch: Mapping[str, Any], rows: slice) -> Stacked:
    """Some runs of a stacked batch."""
    return {k: picked(v, rows) if isinstance(v, Mapping) else v[rows] for k, v in batch.items()}
