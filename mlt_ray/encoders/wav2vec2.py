"""wav2vec 2.0, HuBERT and data2vec-audio. Shapes: N samples, T states of H values."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from mlt_ray.corpus.audio import Samples, lengthened
from mlt_ray.encoders.speech import SpeechEncoder, resampled


class Wav2Vec2(SpeechEncoder):
    """An encoder of samples: convolutions, a projection, convolved positions, then blocks.

    Samples are scaled as the folder's preprocessor says. Those of the base models normalise their
    first convolution over the whole recording, and data2vec's positions look far: another reason
    to compute all of this for one recording at a time. Dropout of attention weights, which is
    functional, is left out.
    """

    lora_modules = ("q_proj", "v_proj")

    def __init__(self, model: Any, prepare: Any) -> None:
        encoder = model.encoder
        # Large models normalise behind their blocks, base models before them.
        self_normed = "Stable" in type(encoder).__name__
        super().__init__(encoder.layers, encoder.layer_norm if self_normed else None)
        self.prepare = prepare
        self.features = model.feature_extractor
        self.projection = model.feature_projection
        self.positions = encoder.pos_conv_embed
        self.start_norm = nn.Identity() if self_normed else encoder.layer_norm
        config = model.config
        self.width, self.num_layers = config.hidden_size, config.num_hidden_layers
        self.states_per_s = prepare.sampling_rate / math.prod(config.conv_stride)
        self.shortest = receptive_field(config)
        for block in self.blocks:
            block.attention.dropout = 0.0

    @torch.no_grad()
    def start(self, samples: Samples, pad_to_30s: bool = False) -> Tensor:
        """(N,) → (T, H); a recording too short for one state is lengthened by zeros."""
        if pad_to_30s:
            raise ValueError("only Whisper is trained on recordings that are padded to 30 s")
        rate = self.prepare.sampling_rate
        inputs = self.prepare(
            lengthened(resampled(samples, rate), 1), sampling_rate=rate, return_tensors="pt"
        )
        values = inputs["input_values"]
        values = nn.functional.pad(values, (0, max(0, self.shortest - values.shape[1])))
        device = next(self.projection.parameters()).device
        projected = self.projection(self.features(values.to(device)).transpose(1, 2))
        # HuBERT's projection gives its states alone, wav2vec 2.0's also what it has normalised.
        states = projected[0] if isinstance(projected, tuple) else projected
        found: Tensor = self.start_norm(states + self.positions(states))[0]
        return found

    def block(self, number: int, states: Tensor, context: Any) -> Tensor:
        """The next layer; `context` is the additive mask."""
        found = self.blocks[number - self.first](states, attention_mask=context)
        states = found[0] if isinstance(found, tuple) else found
        return states

    def keep_blocks(self, first: int) -> None:
        """Forget convolutions, projection and positions too."""
        super().keep_blocks(first)
        self.features = self.projection = self.positions = self.start_norm = nn.Identity()


def receptive_field(config: Any) -> int:
    """Number of samples that the convolutions of a transformers encoder need for one state."""
    samples = 1
    for kernel, stride in zip(config.conv_kernel[::-1], config.conv_stride[::-1], strict=True):
        samples = (samples - 1) * stride + kernel
    return samples
