"""A speech encoder alone. Shapes: B utterances, T states of H values, S layers, K classes."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.models.dropout import Dropout
from mlt_ray.models.mixture import LayerMixture
from mlt_ray.models.registry import builds
from mlt_ray.models.speech.values import SpeechSpec
from mlt_ray.models.system import System


@builds(SpeechSpec)
class Speech(System):
    """Layers of an encoder, mixed or one of them, and a head."""

    def __init__(self, spec: SpeechSpec, sizes: InputSizes) -> None:
        super().__init__()
        self.tail = None
        if spec.fine_tune is not False:
            from mlt_ray.models.speech.tail import Tail

            if sizes.speech_encoder is None:
                raise ValueError("fine-tuning needs the folder in InputSizes.speech_encoder")
            self.tail = Tail(spec, sizes.speech_encoder)
            num_layers, width = self.tail.num_layers, self.tail.width
        elif spec.frames is not None:
            num_layers = sizes.frame_layers
            width = sizes.frame_dim // num_layers
        else:
            num_layers, width = sizes.num_speech_layers, sizes.extras["speech_layers"] // 2
        self.reads_states = spec.head == "states"
        self.mixture = LayerMixture(num_layers) if spec.speech_layer == "weighted" else None
        inputs = width if self.reads_states else 2 * width
        self.hidden = nn.Linear(inputs, spec.hidden_width) if spec.hidden_width else None
        self.dropout = Dropout(spec.dropout)
        self.classifier = nn.Linear(spec.hidden_width or inputs, sizes.num_classes)

    def forward(self, batch: Batch) -> Tensor:
        """→ (B, K) logits of K classes."""
        if self.tail is None and not self.reads_states:
            return self._classified(self._mixed(batch.extras["speech_layers"]))
        mask = batch.frame_mask
        states = self._states(batch, mask)
        if not self.reads_states:
            return self._classified(self._mixed(pooled(states, mask)))
        states = self._mixed(states.transpose(1, 2))
        assert self.hidden is not None
        return self.classifier(self.dropout(mean(self.hidden(states).relu(), mask)))

    def _states(self, batch: Batch, mask: Tensor) -> Tensor:
        """→ (B, S, T, H) states of the layers that the head reads."""
        if self.tail is not None:
            # As s3prl can: layers differ in scale by orders of magnitude.
            states: Tensor = self.tail(batch.frames, mask)
            return F.layer_norm(states, (self.tail.width,))
        layers = len(self.mixture.scores) if self.mixture is not None else 1
        return batch.frames.unflatten(2, (layers, -1)).transpose(1, 2)

    def _mixed(self, layers: Tensor) -> Tensor:
        """(B, …, S, C) → (B, …, C); where one layer is read there is nothing to mix."""
        if self.mixture is not None:
            return self.mixture(layers)
        return layers if layers.dim() == 2 else layers.squeeze(-2)

    def _classified(self, vectors: Tensor) -> Tensor:
        if self.hidden is not None:
            vectors = self.hidden(vectors).relu()
        return self.classifier(self.dropout(vectors))

    def details(self) -> dict[str, Any]:
        """The weights of the layers, where they are learned."""
        first_layer = 0 if self.tail is None else self.tail.first_layer
        return {} if self.mixture is None else {"layer_weights": self.mixture.details(first_layer)}

    def save_memory(self) -> None:
        """The encoder's blocks compute their inside once more."""
        if self.tail is not None:
            self.tail.encoder.recomputes = True

    def pretrained(self) -> Iterable[nn.Parameter]:
        """The weights of the encoder that are trained."""
        return () if self.tail is None else self.tail.parameters()


def mean(values: Tensor, mask: Tensor) -> Tensor:
    """(B, …, T, C) values, (B, T) mask → (B, …, C): the mean over real states."""
    while mask.dim() < values.dim() - 1:
        mask = mask[:, None]
    weights = mask[..., None].to(values.dtype)
    return (values * weights).sum(dim=-2) / weights.sum(dim=-2)


def pooled(states: Tensor, mask: Tensor) -> Tensor:
    """(B, S, T, H) → (B, S, 2H): mean and population deviation over real states.

    The variance is at least 1e-8, so that its root has a gradient where all states are the same.
    """
    centre = mean(states, mask)
    variance = mean((states - centre[..., None, :]).square(), mask)
    return torch.cat([centre, variance.clamp_min(1e-8).sqrt()], dim=-1)
