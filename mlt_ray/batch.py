"""What features give to models: a batch of utterances, and the sizes that a network is built for.

Shapes: B utterances, T steps (averaged frames), F values a frame, W words, P phonemes a word,
D values a word vector, V word vectors.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from mlt_ray.labels import FOUR

NO_LABEL = -100
"""Label of an utterance that only fills up a batch. No loss counts it."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Padded utterances; lengths are at least 1. Padding is zero, but no network may rely on it."""

    utterances: Tensor  # (B,) int64: index in the corpus
    labels: Tensor  # (B,) int64: index in the corpus's classes, or NO_LABEL
    frames: Tensor  # (B, T, F) float32: normalised
    num_frames: Tensor  # (B,) int64
    words: Tensor  # (B, W) int64: ids of the fold's vocabulary
    num_words: Tensor  # (B,) int64
    phonemes: Tensor  # (B, W, P) int64: ids of the fold's vocabulary
    extras: Mapping[str, Tensor] = field(default_factory=dict)  # further inputs by name, (B, …)
    weights: Tensor | None = None  # (B,) float32: times that a loss counts; None: each once

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        extras = {k: v.to(device, non_blocking=True) for k, v in self.extras.items()}
        moved = {k: v.to(device, non_blocking=True) for k, v in self.tensors.items()}
        return Batch(**moved, extras=extras)

    def mean_loss(self, losses: Tensor) -> Tensor:
        """() mean of (B,) losses over the utterances with a label, each loss times its weight.

        It is not divided by the weights: so the mean of a batch follows from those of its parts,
        whatever the classes in each.
        """
        if self.weights is not None:
            losses = losses * self.weights
        counted = self.labels != NO_LABEL
        return losses.masked_fill(~counted, 0).sum() / counted.sum()

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The fields that this batch has, by name, without `extras`."""
        names = (f.name for f in dataclasses.fields(self) if f.name != "extras")
        return {n: value for n in names if (value := getattr(self, n)) is not None}

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def frame_mask(self) -> Tensor:
        """(B, T) bool: True where a step is real."""
        return real(self.num_frames, self.frames.shape[1])

    @property
    def word_mask(self) -> Tensor:
        """(B, W) bool: True where a word is real."""
        return real(self.num_words, self.words.shape[1])


@dataclass(frozen=True, kw_only=True)
class InputSizes:
    """Sizes of the inputs, which a network is built for.

    A word id below `num_learned_words` is a row of a table that the network learns (0 is padding, 1
    an unknown word). The ids from `num_learned_words` on are the rows of `word_vectors`. `encoder`
    is the folder of the pre-trained text encoder, or None if the run has none. `num_classes`: the
    number of logits.

    `frame_layers`: how many layers of a speech encoder stand side by side in the F values of a
    frame. `num_speech_layers`: how many the extra input ``speech_layers`` has, layer 0 included.
    `speech_encoder` is the folder of a speech encoder that is fine-tuned, else None.
    """

    frame_dim: int
    num_phonemes: int
    num_learned_words: int
    word_vectors: Tensor  # (V, D) float32
    extras: Mapping[str, int] = field(default_factory=dict)  # size of the last axis, by name
    encoder: Path | None = None
    num_classes: int = len(FOUR)
    frame_layers: int = 1
    num_speech_layers: int = 0
    speech_encoder: Path | None = None


def real(lengths: Tensor, size: int) -> Tensor:
    """(B, size) bool mask, True at positions below each length of (B,)."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]
