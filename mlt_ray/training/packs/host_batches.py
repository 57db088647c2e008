"""Makes the batches of a pack on the host: those of its runs, padded and stacked along a run axis.

Shapes: R runs, B utterances of the largest batch, S steps.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlt_ray.batch import NO_LABEL
from mlt_ray.features.batching import FoldData

Steps = Sequence[Sequence[np.ndarray | None]]
"""For each of S steps and R runs, the utterances of the batch; None for a run without a batch."""

Stacked = dict[str, Any]
"""The fields that a `Batch` has, each (R, B, …). A smaller batch is filled up with empty
utterances, which have `NO_LABEL`. A run without a batch gets one utterance, so that its numbers are
finite."""

FILL = {"labels": NO_LABEL, "num_frames": 1, "num_words": 1}
"""The fields of an empty utterance that are not zero."""


class HostBatches:
    """Makes batches on the host, for data that the device's memory cannot hold."""

    def __init__(
        self, folds: Mapping[int, FoldData], num_learned_words: int, device: torch.device
    ) -> None:
        """`folds` are by number. `num_learned_words` is the pack's: the largest of any fold."""
        self._folds, self._device = folds, device
        self._num_learned_words = num_learned_words

    def batches(self, steps: Steps, fold_numbers: Sequence[int]) -> Iterator[Stacked]:
        """The batch of every step, for runs on the folds with the (R,) `fold_numbers`."""
        data = [self._folds[n] for n in fold_numbers]
        for step in steps:
            yield self._stack([self._one_run(d, i) for d, i in zip(data, step, strict=True)])

    def _one_run(self, data: FoldData, indices: np.ndarray | None) -> Mapping[str, Any]:
        batch = data.batch(stand_in_utterance(data) if indices is None else indices)
        words = renumbered(batch.words, data.num_learned_words, self._num_learned_words)
        return {**batch.tensors, "words": words, "extras": batch.extras}

    def _stack(self, runs: Sequence[Mapping[str, Any]]) -> Stacked:
        names = [name for name in runs[0] if name != "extras"]
        stack = {n: self._moved(stacked([run[n] for run in runs], FILL.get(n, 0))) for n in names}
        extras = {
            n: self._moved(stacked([run["extras"][n] for run in runs])) for n in runs[0]["extras"]
        }
        return {**stack, "extras": extras}

    def _moved(self, value: Tensor) -> Tensor:
        if self._device.type == "cuda":
            value = value.pin_memory()
        return value.to(self._device, non_blocking=True)


def stand_in_utterance(data: FoldData) -> np.ndarray:
    """(1,) the utterance that a run without a batch gets: the first of train."""
    return np.asarray(data.parts["train"][:1])


def renumbered(words: Tensor, own: int, common: int) -> Tensor:
    """Word ids of a fold with `own` learned rows, for a model with `common` learned rows.

    The ids of word vectors follow those of the learned rows, so they move up.
    """
    return torch.where(words < own, words, words + (common - own))


def stacked(tensors: Sequence[Tensor], fill: int = 0) -> Tensor:
    """Tensors of different sizes, stacked along a new first axis and filled up with `fill`."""
    largest = [max(sizes) for sizes in zip(*(t.shape for t in tensors), strict=True)]
    whole = tensors[0].new_full((len(tensors), *largest), fill)
    for place, tensor in zip(whole, tensors, strict=True):
        place[tuple(map(slice, tensor.shape))] = tensor
    return whole


def picked(batch: Mapping[str, Any], rows: slice) -> Stacked:
    """The part of a stacked batch with the runs in `rows`."""
    return {k: picked(v, rows) if isinstance(v, Mapping) else v[rows] for k, v in batch.items()}
