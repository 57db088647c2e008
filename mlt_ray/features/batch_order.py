"""Which utterances form a batch, and in which order an epoch takes the batches."""

from collections.abc import Sequence
from typing import Final

import numpy as np

EVALUATION_BATCH = 32
"""Utterances in a batch of dev or test, at most. Fixed, so that it cannot change a score."""

EVALUATION_PAIRS: Final = 2**25
TRAINING_PAIRS: Final = 2**24
"""Pairs of steps in a batch, at most: utterances times the square of the longest's steps.

They bound the memory of self-attention. The scores of one head take 64 MiB for 2^24 pairs.
Training keeps about twenty such tensors if attention weights are dropped, and none otherwise.
"""


def training_batches(
    indices: Sequence[int] | np.ndarray,
    num_steps: np.ndarray,
    batch_size: int,
    bucket_batches: int,
    rng: np.random.Generator,
    most_steps: int | None = None,
) -> list[np.ndarray]:
    """One epoch: each of `indices` once, in batches of utterances of similar length.

    `num_steps` is the length of each utterance of the corpus, in steps. The utterances are
    shuffled and cut into buckets of `bucket_batches` batches, or of half of all batches if that is
    less. Each bucket is sorted by length and cut into batches. One batch may be smaller. With
    `most_steps`, a batch has as many utterances as together have at most so many steps, padding
    included, and one at least; `batch_size` then decides the size of buckets alone.

    Two utterances can share a batch if less than a batch of their bucket lies between them. This
    is possible for any two, except for the very shortest with the very longest.

    The batches with the longest utterances come first; `step_order` says when each is taken.
    """
    shuffled = rng.permutation(np.asarray(indices))
    size = batch_size * max(1, min(bucket_batches, len(shuffled) // (2 * batch_size)))
    batches: list[np.ndarray] = []
    for start in range(0, len(shuffled), size):
        bucket = shuffled[start : start + size]
        bucket = bucket[np.argsort(num_steps[bucket], kind="stable")]
        if most_steps is None:
            batches += [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
        else:
            batches += _cut(bucket, num_steps[bucket], most_steps)
    return sorted(batches, key=lambda batch: -num_steps[batch].max())


def _cut(bucket: np.ndarray, lengths: np.ndarray, most_steps: int) -> list[np.ndarray]:
    """A bucket that is sorted by length in batches of at most `most_steps` padded steps."""
    starts = [0]
    for place, length in enumerate(lengths):
        if place > starts[-1] and (place - starts[-1] + 1) * length > most_steps:
            starts.append(place)
    return np.split(bucket, starts[1:])


def step_order(num_batches: int, epoch: int) -> np.ndarray:
    """(num_batches,) places in the list of `training_batches`, in the order an epoch takes them.

    The order is random, but depends on the `epoch` alone. So runs of any seed and fold that are
    trained as one pack take batches of similar length at the same step, with little padding. A run
    with fewer batches takes its own in the same order, and skips the places that it lacks.
    """
    return np.argsort(np.random.default_rng(epoch).random(num_batches))


def evaluation_batches(indices: Sequence[int], num_steps: np.ndarray) -> list[np.ndarray]:
    """Each of `indices` once, in batches that fit into memory, the longest utterances first."""
    order = np.asarray(sorted(indices, key=lambda i: (-num_steps[i], i)))
    batches = (order[n : n + EVALUATION_BATCH] for n in range(0, len(order), EVALUATION_BATCH))
    return [part for batch in batches for part in split_batch(batch, num_steps, EVALUATION_PAIRS)]


def split_batch(indices: np.ndarray, num_steps: np.ndarray, most_pairs: int) -> list[np.ndarray]:
    """The batch in parts of at most `most_pairs` pairs of steps; one utterance may have more."""
    longest = int(num_steps[indices].max())
    size = max(1, most_pairs // longest**2)
    return [indices[n : n + size] for n in range(0, len(indices), size)]
