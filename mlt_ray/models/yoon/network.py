"""S. Yoon, S. Byun, K. Jung: Multimodal speech emotion recognition using audio and text (2018).

A recurrent encoder for MFCC frames and one for words, joined at the end. "Code" is the authors'
public code. Shapes: B utterances, T steps, W words, H = `width`, P prosody values.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.models.dropout import Dropout
from mlt_ray.models.layers import WordEmbedding
from mlt_ray.models.recurrent import Recurrent, last_states
from mlt_ray.models.registry import builds
from mlt_ray.models.system import System
from mlt_ray.models.yoon.values import YoonSpec


class Encoder(nn.Module):
    """A GRU in one direction, with dropout on its inputs and outputs but not on its last state.

    The code is TensorFlow's, where the last state is no output and has no dropout.
    """

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.input_dropout = Dropout(dropout)
        self.gru = Recurrent("gru", inputs, width, bidirectional=False)
        self.output_dropout = Dropout(dropout)
        initialise(self.gru.ahead, inputs, width)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, C) → (B, T, H) outputs and (B, H) last state."""
        states = self.gru(self.input_dropout(x), lengths)
        return self.output_dropout(states), last_states(states, lengths)


@builds(YoonSpec)
class Yoon(System):
    """The dual recurrent encoder, with attention (``mdrea``) or without (``mdre``)."""

    def __init__(self, spec: YoonSpec, sizes: InputSizes) -> None:
        super().__init__()
        self.words = WordEmbedding(sizes.num_learned_words, sizes.word_vectors, trainable=True)
        self.audio = Encoder(sizes.frame_dim, spec.width, spec.audio_dropout)
        self.text = Encoder(self.words.dim, spec.width, spec.text_dropout)
        heard, read = spec.width + sizes.extras["prosody"], spec.width
        self.attends = spec.variant == "mdrea"
        # 235 → 117 and 200 → 100 without attention, 235 → 200 with it.
        self.audio_projection = projection(heard, read if self.attends else heard // 2)
        self.text_projection = None if self.attends else projection(read, read // 2)
        joined = 2 * read if self.attends else heard // 2 + read // 2
        self.classifier = projection(joined, sizes.num_classes)

    def forward(self, batch: Batch) -> Tensor:
        """→ (B, K) logits of K classes."""
        _, heard = self.audio(batch.frames, batch.num_frames)
        outputs, read = self.text(self.words(batch.words), batch.num_words)
        audio = self.audio_projection(torch.cat([heard, batch.extras["prosody"]], dim=-1))
        if self.text_projection is None:
            text = attend(audio, outputs, batch.word_mask)
        else:
            text = self.text_projection(read)
        return self.classifier(torch.cat([text, audio], dim=-1))

    def loss(self, batch: Batch) -> Tensor:
        """() sigmoid cross entropy of each class, averaged over classes and utterances.

        All of an utterance's count as often as its weight says.
        """
        logits = self(batch)
        expected = F.one_hot(batch.labels, logits.shape[1]).to(logits.dtype)
        weights = None if batch.weights is None else batch.weights[:, None]
        return F.binary_cross_entropy_with_logits(logits, expected, weights)


def attend(query: Tensor, states: Tensor, mask: Tensor) -> Tensor:
    """Luong's dot attention: (B, H) over (B, W, H) states with their (B, W) mask → (B, H)."""
    scores = (states @ query[..., None])[..., 0]
    weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
    return (weights[:, None] @ states)[:, 0]


def projection(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer; its weights start uniform within ±0.25, its bias at zero (code)."""
    layer = nn.Linear(inputs, outputs)
    nn.init.uniform_(layer.weight, -0.25, 0.25)
    nn.init.zeros_(layer.bias)
    return layer


def initialise(gru: nn.RNNBase, inputs: int, width: int) -> None:
    """Start a GRU as TensorFlow does: orthogonal matrices, gate biases 1, candidate biases 0.

    TensorFlow has one matrix for both gates and one for the candidate, each over input and state
    side by side. A difference stays: the candidate's reset gate is applied before that matrix in
    TensorFlow, and after it in torch, as in cuDNN.
    """
    gates, candidate = slice(0, 2 * width), slice(2 * width, 3 * width)
    parameters = dict(gru.named_parameters())
    with torch.no_grad():
        for rows in (gates, candidate):
            matrix = nn.init.orthogonal_(torch.empty(rows.stop - rows.start, inputs + width))
            halves = matrix.split([inputs, width], dim=1)
            parameters["weight_ih_l0"][rows], parameters["weight_hh_l0"][rows] = halves
        for name in ("bias_ih_l0", "bias_hh_l0"):
            parameters[name].zero_()
        parameters["bias_ih_l0"][gates] = 1
