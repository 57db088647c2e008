"""H. Li et al.: Learning fine-grained cross modality excitement for speech emotion (2021).

Every word is given the frames in which it was spoken, and each modality gates the other ("excites"
it). "Code" is the authors' public code. Shapes: B utterances, T steps, P positions after the
convolutions, W words, C channels, D = `width`.
"""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.models.convolution import Conv1d
from mlt_ray.models.layers import WordEmbedding, masked_max, symbol_embedding
from mlt_ray.models.li.values import LiSpec
from mlt_ray.models.recurrent import Recurrent
from mlt_ray.models.registry import builds
from mlt_ray.models.system import System

UNKNOWN: Final = 1
"""Id of an unknown word (`InputSizes`)."""


class SpeechEncoder(nn.Module):
    """Convolutions over the frames, then mean ‖ maximum over the positions of each word.

    The convolutions have neither padding nor activation. A position belongs to every word of which
    its kernels have seen a frame. An utterance with fewer frames than the kernels reach is
    continued with zeros (the mean of the normalised frames) to a single position. The vector of a
    word without a position, because its frames are cut off, is zero.
    """

    def __init__(self, spec: LiSpec, inputs: int) -> None:
        super().__init__()
        width = spec.width // 2
        self.convolutions = nn.Sequential(
            Conv1d(inputs, spec.channels, spec.first_kernel),
            Conv1d(spec.channels, width, spec.next_kernel),
            Conv1d(width, width, spec.next_kernel),
        )
        self.reach = spec.first_kernel + 2 * spec.next_kernel - 2

    def forward(self, batch: Batch) -> Tensor:
        """→ (B, W, D)."""
        frames = batch.frames * batch.frame_mask[..., None]
        missing = max(0, self.reach - frames.shape[1])
        x = F.pad(frames, (0, 0, 0, missing)).transpose(1, 2)
        x = self.convolutions(x).transpose(1, 2)
        num_positions = (batch.num_frames - self.reach + 1).clamp(min=1)
        first, last = seen(batch.extras["alignment"], self.reach, num_positions)
        return torch.cat([interval_mean(x, first, last), interval_max(x, first, last)], dim=-1)


@builds(LiSpec)
class Li(System):
    """Words and the speech of each word gate each other; a recurrent layer reads both."""

    def __init__(self, spec: LiSpec, sizes: InputSizes) -> None:
        super().__init__()
        self.words = WordEmbedding(sizes.num_learned_words, sizes.word_vectors, trainable=True)
        self.text = nn.Linear(self.words.dim, spec.width)
        self.speech = SpeechEncoder(spec, sizes.frame_dim)
        num_words = sizes.num_learned_words + len(sizes.word_vectors)
        self.text_excitement = nn.Linear(spec.width, spec.width)
        self.speech_excitement = symbol_embedding(num_words, spec.width)
        self.fusion = Recurrent("lstm", 2 * spec.width, spec.recurrent_width, bidirectional=True)
        self.classifier = nn.Linear(self.fusion.width, sizes.num_classes)

    def forward(self, batch: Batch) -> Tensor:
        """→ (B, K) logits of K classes."""
        speech, text = self.speech(batch), self.text(self.words(batch.words))
        fused = torch.cat(self.excite(text, speech, batch.words), dim=-1)
        states = self.fusion(fused, batch.num_words)
        return self.classifier(masked_max(states, batch.word_mask))

    def excite(self, text: Tensor, speech: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """(B, W, D) text and speech, each plus itself gated by the other modality.

        The gate of text is computed from the speech, that of speech from the (B, W) word ids. A
        word that the network was not built for has the gate of an unknown one.
        """
        words = words.where(words < self.speech_excitement.num_embeddings, UNKNOWN)
        text_gate = torch.sigmoid(self.text_excitement(speech))
        speech_gate = torch.sigmoid(self.speech_excitement(words))
        return text + text * text_gate, speech + speech * speech_gate


def seen(spans: Tensor, reach: int, num_positions: Tensor) -> tuple[Tensor, Tensor]:
    """For each word, the positions [first, last) that have seen a frame of it, (B, W) both.

    `spans` are the (B, W, 2) frames [first, last) of the words, `num_positions` is (B,). Position
    p has seen the frames p to p + `reach` − 1. A word without a position has equal bounds.
    """
    last = torch.minimum(spans[..., 1], num_positions[:, None])
    first = (spans[..., 0] - reach + 1).clamp(min=0)
    return torch.minimum(first, last), last


def interval_mean(x: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Mean of (B, P, C) over each of the (B, W) intervals [first, last) → (B, W, C); 0 if empty."""
    place = torch.arange(x.shape[1], device=x.device)
    inside = (place >= first[..., None]) & (place < last[..., None])
    return inside.to(x.dtype) @ x / (last - first).clamp(min=1)[..., None]


def interval_max(x: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Maximum of (B, P, C) over each of the (B, W) intervals [first, last) → (B, W, C); 0 if empty.

    Table k holds the maximum over 2^k positions from each position on. Two entries of the largest k
    that fits cover an interval. So log₂ P tables of (B, P, C) suffice, where a mask would need
    (B, W, P, C) values.
    """
    length = last - first
    # On the meta device nothing has a value: any interval may be the whole.
    longest = x.shape[1] if length.is_meta else int(length.max())
    found = x.new_zeros(*first.shape, x.shape[2])
    table = x
    for level in range(longest.bit_length()):
        size = 1 << level
        if level:
            table = torch.maximum(table[:, : -size // 2], table[:, size // 2 :])
        fits = (length >= size) & (length < 2 * size)
        ends = (rows(table, start.where(fits, 0)) for start in (first, last - size))
        found = torch.where(fits[..., None], torch.maximum(*ends), found)
    return found


def rows(table: Tensor, index: Tensor) -> Tensor:
    """(B, P, C) at the (B, W) positions → (B, W, C)."""
    return table.gather(1, index[..., None].expand(-1, -1, table.shape[2]))
