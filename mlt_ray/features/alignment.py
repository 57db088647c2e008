"""The frames in which each word of an utterance was spoken.

B utterances, W words (the tokens that models are given).
"""

import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from mlt_ray.corpus.alignment import word_times
from mlt_ray.corpus.utterance import Utterance
from mlt_ray.features.extract import FeatureCache
from mlt_ray.spec import FeatureSpec


class WordSpans:
    """For every word the first step in which it is spoken, and the one after its last.

    Times are rounded to the nearest step, so that words that follow each other share none; the
    first step of a word is always its own. A span may lie behind the end of the frames, where
    these are cut off.
    """

    dim = 2

    def __init__(self, times: Sequence[np.ndarray], spec: FeatureSpec) -> None:
        step_s = spec.frames.hop_ms * spec.frames_per_step / 1000
        self._spans = [steps(t[: spec.max_words], step_s) for t in times]

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """(B, W, 2) int64; padding is 0 to 0."""
        spans = [self._spans[int(i)] for i in indices]
        padded = np.zeros((len(spans), max(map(len, spans)), 2), np.int64)
        for row, span in zip(padded, spans, strict=True):
            row[: len(span)] = span
        return torch.from_numpy(padded)


def steps(times: np.ndarray, step_s: float) -> np.ndarray:
    """(W, 2) seconds to (W, 2) steps of `step_s` seconds, [first, last)."""
    first, last = np.rint(times / step_s).astype(np.int64).T
    return np.stack([first, np.maximum(last, first + 1)], axis=1)


def spoken(utterances: Sequence[Utterance], cache: FeatureCache) -> Iterator[np.ndarray]:
    """(W, 2) float64 of each utterance: when each of its tokens starts and ends, in seconds."""
    for utterance in utterances:
        words = [word for word, _ in cache.words_of(utterance.text)]
        times = word_times(utterance, words)
        yield np.array([[t.start_s, t.end_s] for t in times])


def alignment_key(utterance: Utterance) -> str:
    """Names what `spoken` reads: text, duration and the bytes of the alignment, if there is one."""
    said = [utterance.audio_sha256, utterance.text, utterance.duration_s]
    said.append(utterance.alignment_sha256)
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
