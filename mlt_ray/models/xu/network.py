"""H. Xu et al.: Learning alignment for multimodal emotion recognition from speech (2019).

An attention from words to frames learns where each word was spoken. "Code" is the authors' public
code. Shapes: B utterances, T steps, W words, D channels.
"""

import torch
from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.models.attention import Attention
from mlt_ray.models.dropout import Dropout
from mlt_ray.models.layers import WordEmbedding
from mlt_ray.models.recurrent import Recurrent
from mlt_ray.models.registry import builds
from mlt_ray.models.system import System
from mlt_ray.models.xu.values import XuSpec


class SpeechEncoder(nn.Module):
    """A dense layer with ReLU and dropout on every frame, then a recurrent layer."""

    def __init__(self, spec: XuSpec, inputs: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(
            nn.Linear(inputs, spec.dense_width), nn.ReLU(), Dropout(spec.dropout)
        )
        self.recurrent = Recurrent(spec.cell, spec.dense_width, spec.width, bidirectional=True)

    def forward(self, batch: Batch) -> Tensor:
        """→ (B, T, 2 `width`)."""
        return self.recurrent(self.dense(batch.frames), batch.num_frames)


class TextEncoder(nn.Module):
    """Trainable word vectors, then a recurrent layer."""

    def __init__(self, spec: XuSpec, sizes: InputSizes) -> None:
        super().__init__()
        self.words = WordEmbedding(sizes.num_learned_words, sizes.word_vectors, trainable=True)
        self.recurrent = Recurrent(spec.cell, self.words.dim, spec.width, bidirectional=True)

    def forward(self, batch: Batch) -> Tensor:
        """→ (B, W, 2 `width`)."""
        return self.recurrent(self.words(batch.words), batch.num_words)


class AttentionPooling(nn.Module):
    """Weighted mean over positions; the weight of position x is softmax(u · tanh(A x + b)).

    After Yang et al. (2016), Hierarchical attention networks for document classification.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.context = nn.Linear(width, 1, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, W, D) with its (B, W) mask → (B, D)."""
        scores = self.context(torch.tanh(self.hidden(x)))[..., 0]
        weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
        return (weights[:, None] @ x)[:, 0]


@builds(XuSpec)
class Xu(System):
    """The state of each word and the speech aligned to it, read by a third recurrent layer."""

    def __init__(self, spec: XuSpec, sizes: InputSizes) -> None:
        super().__init__()
        width = 2 * spec.width
        self.speech = SpeechEncoder(spec, sizes.frame_dim)
        self.text = TextEncoder(spec, sizes)
        self.alignment = Attention(width, spec.num_heads, spec.attention_dropout)
        self.fusion = Recurrent(spec.cell, 2 * width, spec.width, bidirectional=True)
        self.pooling = AttentionPooling(width)
        self.dropout = Dropout(spec.dropout)
        self.classifier = nn.Linear(width, sizes.num_classes)

    def forward(self, batch: Batch) -> Tensor:
        """→ (B, K) logits of K classes."""
        speech, text = self.speech(batch), self.text(batch)
        aligned = self.alignment(text, speech, batch.frame_mask)
        fused = self.fusion(torch.cat([text, aligned], dim=-1), batch.num_words)
        return self.classifier(self.dropout(self.pooling(fused, batch.word_mask)))
