"""The blocks of a speech encoder that are trained. Shapes: B utterances, T states of H values."""

from pathlib import Path

import torch
from torch import Tensor, nn

from mlt_ray.encoders.folder import encoder_name
from mlt_ray.encoders.opening import encoder_shape, open_encoder
from mlt_ray.encoders.trained import trained_layers
from mlt_ray.models.fine_tuning import keyed_attention, train_adapters, use_keyed_dropout
from mlt_ray.models.speech.values import SpeechSpec


class Tail(nn.Module):
    """What follows the frozen part of a speech encoder (`SpeechSpec.frames`).

    It gives the layers from `first_layer` on, S = `num_layers` of them, of `width` values each; or
    one alone. Blocks behind that one are left out.
    """

    def __init__(self, spec: SpeechSpec, folder: Path) -> None:
        super().__init__()
        shape = encoder_shape(folder)
        self.width = shape.width
        self.first_layer, self.last_layer = trained_layers(
            shape.num_layers,
            spec.fine_tune,
            last_n=spec.last_n,
            layer=spec.speech_layer,
            encoder=encoder_name(spec.speech_encoder),
        )
        is_one = spec.speech_layer != "weighted"
        self.num_layers = 1 if is_one else self.last_layer - self.first_layer + 1
        self.encoder = open_encoder(
            folder, torch.get_default_device(), first=self.first_layer, attention=keyed_attention
        )
        self.encoder.drop_blocks(self.last_layer)
        if spec.fine_tune == "lora":
            train_adapters(self.encoder, self.encoder.lora_modules, spec.lora_rank)
        use_keyed_dropout(self.encoder)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """(B, T, H) states of `first_layer`, (B, T) mask → (B, S, T, H)."""
        layers = self.encoder(states, mask, self.first_layer, self.last_layer)
        return torch.stack(layers[-self.num_layers :], dim=1)
