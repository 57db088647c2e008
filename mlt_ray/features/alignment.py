"""The steps in which each word of an utterance is spoken.

Shapes: B utterances, W words (the tokens that models read). A step is `frames_per_step` frames.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from mlt_ray.corpus.alignment import word_times
from mlt_ray.corpus.utterance import Spoken, Utterance
from mlt_ray.corpus.words import tokenize
from mlt_ray.features.fitted import Moments
from mlt_ray.spec import FeatureSpec


class WordSpans:
    """The first step of every word, and the step after its last.

    Times are rounded to the nearest step, so that consecutive words share no step. A word has at
    least one step. Where the frames of an utterance are cut off, a span may lie behind their end.
    Frames start `hop_ms` after one another.
    """

    dim = 2
    moments: Moments | None = None

    def __init__(self, times: Sequence[np.ndarray], spec: FeatureSpec, hop_ms: float) -> None:
        step_s = hop_ms * spec.frames_per_step / 1000
        self._spans = [spans_in_steps(t[: spec.max_words], step_s) for t in times]

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """(B, W, 2) int64: [first, last) of each word; (0, 0) is padding."""
        spans = [self._spans[int(i)] for i in indices]
        padded = np.zeros((len(spans), max(map(len, spans)), 2), np.int64)
        for row, span in zip(padded, spans, strict=True):
            row[: len(span)] = span
        return torch.from_numpy(padded)


def spans_in_steps(times: np.ndarray, step_s: float) -> np.ndarray:
    """(W, 2) seconds → (W, 2) int64 steps of `step_s` seconds, as [first, last)."""
    first, last = np.rint(times / step_s).astype(np.int64).T
    return np.stack([first, np.maximum(last, first + 1)], axis=1)


def token_times(utterances: Sequence[Spoken], language: str) -> Iterator[np.ndarray]:
    """(W, 2) float64 for each utterance: start and end of each token, in seconds."""
    for utterance in utterances:
        times = word_times(utterance, tokenize(utterance.text, language))
        yield np.array([[t.start_s, t.end_s] for t in times])


def alignment_key(utterance: Utterance) -> str:
    """Digest of all that `token_times` depends on: recording, text, duration, alignment if any."""
    read = [utterance.audio_sha256, utterance.text, utterance.duration_s]
    read.append(utterance.alignment_sha256)
    return hashlib.sha256(json.dumps(read).encode()).hexdigest()
