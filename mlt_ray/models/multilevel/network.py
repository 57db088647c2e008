"""The multilevel transformer (section 3.1): log-mel frames, phonemes and words in one network.

Shapes: B utterances, T steps, F values a frame, W words, P phonemes a word, D = `width`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.models.layers import (
    CharCnn,
    ConvolutionPrenet,
    Highway,
    MelPrenet,
    ScaledPositions,
    TransformerLayer,
    WordEmbedding,
    masked_max,
)
from mlt_ray.models.mixture import LayerMixture
from mlt_ray.models.multilevel.synthesis import SpeechSynthesis
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.registry import builds
from mlt_ray.models.system import System, cross_entropy


class TextInput(nn.Module):
    """One vector a word, from its phonemes and its word vector (sections 3.1.3 and 3.1.4)."""

    def __init__(self, spec: MultilevelSpec, sizes: InputSizes) -> None:
        super().__init__()
        self.phonemes = self.words = self.highway = None
        self.dim = 0
        if spec.text != "word":
            channels = spec.phoneme_channels
            self.phonemes = CharCnn(
                sizes.num_phonemes, spec.phoneme_dim, channels, spec.phoneme_kernel
            )
            self.dim += channels
        if spec.text != "phoneme":
            self.words = WordEmbedding(sizes.num_learned_words, sizes.word_vectors)
            self.dim += self.words.dim
        if spec.text == "highway":
            self.highway = Highway(self.dim, spec.highway_layers)

    def forward(self, batch: Batch) -> Tensor:
        """→ (B, W, `dim`)."""
        levels = []
        if self.phonemes is not None:
            levels.append(self.phonemes(batch.phonemes))
        if self.words is not None:
            levels.append(self.words(batch.words))
        combined = torch.cat(levels, dim=-1)
        return combined if self.highway is None else self.highway(combined)


class TextEncoder(nn.Module):
    """Text input, encoder pre-net, positions and self-attention layers."""

    def __init__(self, spec: MultilevelSpec, sizes: InputSizes) -> None:
        super().__init__()
        self.input = TextInput(spec, sizes)
        self.prenet = ConvolutionPrenet(
            self.input.dim,
            spec.width,
            spec.prenet_layers,
            spec.prenet_kernel,
            spec.prenet_dropout,
        )
        self.positions = ScaledPositions(spec.dropout)
        self.layers = stack(spec, spec.text_encoder_layers)

    def forward(self, batch: Batch, mask: Tensor) -> Tensor:
        """→ (B, W, D) for the (B, W) word mask."""
        x = self.positions(self.prenet(self.input(batch), mask))
        for layer in self.layers:
            x = layer(x, mask)
        return x


class SpeechInput(nn.Module):
    """A learnt dummy mel vector before the frames, the mel pre-net and positions (3.1.2).

    Frames with all layers of a speech encoder side by side are mixed first.
    """

    def __init__(self, spec: MultilevelSpec, sizes: InputSizes) -> None:
        super().__init__()
        self.mixture = LayerMixture(sizes.frame_layers) if sizes.frame_layers > 1 else None
        frame_dim = sizes.frame_dim // sizes.frame_layers
        self.dummy = None
        if spec.deep_fusion_layers:
            self.dummy = nn.Parameter(torch.randn(frame_dim) * 0.02)
        self.prenet = MelPrenet(
            frame_dim, spec.mel_prenet_width, spec.width, spec.mel_prenet_dropout
        )
        self.positions = ScaledPositions(spec.dropout)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """→ (B, 1 + T, D) and its mask; (B, T, D) without a dummy vector."""
        frames, mask = batch.frames, batch.frame_mask
        if self.mixture is not None:
            frames = self.mixture(frames.unflatten(2, (len(self.mixture.scores), -1)))
        if self.dummy is not None:
            frames, mask = prepend(self.dummy, frames, mask)
        return self.positions(self.prenet(frames)), mask


@builds(MultilevelSpec)
class Multilevel(System):
    """The multilevel transformer; `encode` gives the utterance's vector, `forward` its logits.

    With `tts_weight` the cross-modality module is causal: else it could copy the frames that it
    must predict. Deep fusion still sees the whole utterance, and so do the logits.
    """

    def __init__(self, spec: MultilevelSpec, sizes: InputSizes) -> None:
        super().__init__()
        self.text = TextEncoder(spec, sizes) if spec.inputs != "audio" else None
        self.speech = SpeechInput(spec, sizes) if spec.inputs != "text" else None
        self.text_dummy = None
        if spec.inputs == "text" and spec.deep_fusion_layers:
            self.text_dummy = nn.Parameter(torch.randn(spec.width) * 0.02)
        crosses = 0 if spec.inputs == "text" else spec.cross_modality_layers
        self.cross_modality = stack(
            spec, crosses, cross=spec.inputs == "both", causal=spec.tts_weight > 0
        )
        self.deep_fusion = stack(spec, spec.deep_fusion_layers)
        self.classifier = nn.Linear(spec.width, sizes.num_classes)
        # Made last, so that all other weights are drawn as they are without it.
        self.tts_weight = spec.tts_weight
        self.synthesis = None
        if spec.tts_weight:
            self.synthesis = SpeechSynthesis(spec.width, sizes.frame_dim, spec.tts_stop_weight)

    def details(self) -> dict[str, Any]:
        """The weights of a speech encoder's layers, where the frames are all of them."""
        mixture = None if self.speech is None else self.speech.mixture
        return {} if mixture is None else {"frame_layer_weights": mixture.details()}

    def encode(self, batch: Batch) -> Tensor:
        """→ (B, D): deep fusion's output at the dummy vector; without it, the maximum over time."""
        return self._fuse(*self._cross(batch))

    def loss(self, batch: Batch) -> Tensor:
        """Cross entropy (equation 4), and `tts_weight` times the loss of speech synthesis."""
        if self.synthesis is None:
            return super().loss(batch)
        crossed, mask = self._cross(batch)
        logits = self.classifier(self._fuse(crossed, mask))
        synthesis = self.synthesis.losses(crossed, batch.frames, batch.frame_mask)
        return cross_entropy(logits, batch) + self.tts_weight * batch.mean_loss(synthesis)

    def _cross(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The cross-modality module's output and its mask. The dummy vector is position 0."""
        text = word_mask = None
        if self.text is not None:
            word_mask = batch.word_mask
            text = self.text(batch, word_mask)
        if self.speech is not None:
            x, mask = self.speech(batch)
            for layer in self.cross_modality:
                x = layer(x, mask, text, word_mask)
            return x, mask
        assert text is not None
        assert word_mask is not None
        if self.text_dummy is not None:
            return prepend(self.text_dummy, text, word_mask)
        return text, word_mask

    def _fuse(self, x: Tensor, mask: Tensor) -> Tensor:
        if not len(self.deep_fusion):
            return masked_max(x, mask)
        *earlier, last = self.deep_fusion
        for layer in earlier:
            x = layer(x, mask)
        return last(x, mask, first=1)[:, 0]

    def forward(self, batch: Batch) -> Tensor:
        """→ (B, K) logits of K classes."""
        return self.classifier(self.encode(batch))


def stack(
    spec: MultilevelSpec, num_layers: int, cross: bool = False, causal: bool = False
) -> nn.ModuleList:
    """Transformer layers of the configuration's sizes."""
    sizes = (spec.width, spec.num_heads, spec.feed_forward)
    return nn.ModuleList(
        TransformerLayer(*sizes, spec.dropout, cross, causal, spec.attention_dropout)
        for _ in range(num_layers)
    )


def prepend(vector: Tensor, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Put a (C,) vector before (B, T, C), and True before its (B, T) mask."""
    first = vector.expand(x.shape[0], 1, -1)
    return torch.cat([first, x], dim=1), torch.cat([mask.new_ones(mask.shape[0], 1), mask], dim=1)
