"""What an explanation of one utterance says, as plain values: a page or a program can show them.

Shapes: M runs of the model (its members), K classes, T steps of the frames that the network reads,
W words, P phonemes of a word, N times, S spans. Probabilities are shares in 0–1. A change is the
probability of the predicted class without a part of the utterance, minus that of the whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, Samples

Part = Literal["attention", "phonemes", "over_time", "words", "spans", "nearest"]
"""What an explanation may lack, with the reason in `Explanation.absent`."""


@dataclass(frozen=True, kw_only=True)
class WordAttention:
    """The attention of frames over words: (T, W) weights, means over heads, layers and runs.

    The weights of a step sum to 1. Step t lies around ``first_s + t step_s`` seconds. Each word has
    (P,) `phoneme_shares`: the share of its channels in which each phoneme gives the maximum, mean
    over runs; they sum to 1. They are None where the network reads no phonemes.
    """

    weights: np.ndarray
    first_s: float
    step_s: float
    phoneme_shares: tuple[np.ndarray, ...] | None

    @property
    def of_words(self) -> np.ndarray:
        """(W,) the mean weight of each word over the steps; they sum to 1."""
        mean: np.ndarray = self.weights.mean(axis=0)
        return mean


@dataclass(frozen=True, kw_only=True)
class OverTime:
    """(M, N, K) probabilities of the recording up to each of N times in seconds."""

    times_s: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True, kw_only=True)
class SpanChanges:
    """(M, S) changes without each of the (S, 2) spans, from and to in seconds.

    `by` says what stands in a span's place: ``frames`` the mean frame of the training part,
    ``silence`` zeros among the samples, from which the features are computed again, and ``both``
    the mean frame, with the other features computed again.
    """

    spans_s: np.ndarray
    changes: np.ndarray
    by: Literal["frames", "silence", "both"]


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A training utterance, and the cosine of the angle between its vector and the utterance's."""

    id: str
    label: str
    speaker: str
    text: str
    similarity: float


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The training utterances nearest to the utterance for one run, the nearest first.

    `run` names the run, `num_utterances` counts its training part.
    """

    run: str
    num_utterances: int
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Which model was asked: its name, system and runs, its corpus by name and fingerprint."""

    model: str
    system: str
    runs: tuple[str, ...]
    corpus: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What a trained model makes of one utterance.

    `words` are the tokens of the text, each with its `phonemes`; `changes` are (M, W), without each
    word. `probabilities` are (M, K); the ensemble's are their mean. `absent` has the reason for
    each part that is None.
    """

    clip: str
    samples: Samples
    text: str
    text_source: str
    words: tuple[str, ...]
    phonemes: tuple[tuple[str, ...], ...]
    classes: tuple[str, ...]
    probabilities: np.ndarray
    provenance: Provenance
    attention: WordAttention | None = None
    over_time: OverTime | None = None
    changes: np.ndarray | None = None
    spans: SpanChanges | None = None
    nearest: Nearest | None = None
    absent: Mapping[Part, str] = field(default_factory=dict)

    @property
    def mean(self) -> np.ndarray:
        """(K,) probabilities of the ensemble."""
        mean: np.ndarray = self.probabilities.mean(axis=0)
        return mean

    @property
    def predicted(self) -> int:
        """Index of the most probable class."""
        return int(self.mean.argmax())

    @property
    def label(self) -> str:
        """Name of the most probable class."""
        return self.classes[self.predicted]

    @property
    def duration_s(self) -> float:
        """Seconds of the recording."""
        return len(self.samples) / SAMPLE_RATE_HZ
