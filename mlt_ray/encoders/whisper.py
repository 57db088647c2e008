"""Whisper's encoder. Shapes: N samples, M mel frames, T states of H values."""

import math
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, Samples, lengthened
from mlt_ray.encoders.speech import SpeechEncoder, resampled

_FRAMES_PER_STATE: Final = 2
"""The second convolution's stride."""


class Whisper(SpeechEncoder):
    """The encoder of Whisper: log-mel frames, two convolutions, fixed positions, then blocks.

    Whisper was trained on 30 seconds, silence included. Here it reads a recording of N samples as
    T = ⌈N / 320⌉ states, with as many of its positions, which is five to ten times faster. Its mel
    frames are those of the padded recording up to there. With `pad_to_30s` it computes all states
    of the padded recording, and those of silence are cut afterwards. A recording is cut at 30
    seconds, since there are no positions beyond.

    Dropout, which is functional and 0 in what OpenAI has published, is left out.
    """

    lora_modules = ("q_proj", "v_proj")
    positions: Tensor

    def __init__(self, model: Any, prepare: Any) -> None:
        super().__init__(model.layers, model.layer_norm)
        self.prepare = prepare
        self.convolutions = nn.ModuleList([model.conv1, model.conv2])
        self.register_buffer("positions", model.embed_positions.weight.detach().clone())
        config = model.config
        self.width, self.num_layers = config.d_model, config.encoder_layers
        self.samples_per_state = _FRAMES_PER_STATE * prepare.hop_length
        self.states_per_s = prepare.sampling_rate / self.samples_per_state
        for block in self.blocks:
            block.dropout = block.activation_dropout = block.self_attn.dropout = 0.0

    def num_states(self, num_samples: int) -> int:
        """⌈N / 320⌉, at least 1 and at most those of 30 s, for N samples at 16 kHz."""
        samples = math.ceil(num_samples * self.prepare.sampling_rate / SAMPLE_RATE_HZ)
        return min(max(1, -(-samples // self.samples_per_state)), len(self.positions))

    @torch.no_grad()
    def start(self, samples: Samples, pad_to_30s: bool = False) -> Tensor:
        """(N,) → (T, H)."""
        rate = self.prepare.sampling_rate
        num_states = len(self.positions) if pad_to_30s else self.num_states(len(samples))
        inputs = self.prepare(
            lengthened(resampled(samples, rate), 1),
            # One state more: the last frames look at what follows them, which is silence.
            max_length=min((num_states + 1) * self.samples_per_state, self.prepare.n_samples),
            sampling_rate=rate,
            return_tensors="pt",
        )
        mel = inputs["input_features"][..., : _FRAMES_PER_STATE * num_states]
        states = mel.to(self.positions.device)
        for convolution in self.convolutions:
            states = F.gelu(convolution(states))
        found: Tensor = states[0].T + self.positions[:num_states]
        return found

    def block(self, number: int, states: Tensor, context: Tensor) -> Tensor:
        """The next layer; `context` is the additive mask."""
        found = self.blocks[number - self.first](states, context)
        states = found[0] if isinstance(found, tuple) else found
        return states

    def keep_blocks(self, first: int) -> None:
        """Forget convolutions and positions too."""
        super().keep_blocks(first)
        self.convolutions, self.positions = nn.ModuleList(), self.positions[:0]
