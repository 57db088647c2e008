"""The multi-granularity model (section 3.2): pre-trained encoders beside a multilevel transformer.

Shapes: B utterances, H = `projection`.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.models.bert.network import TextVector
from mlt_ray.models.dropout import Dropout
from mlt_ray.models.mixture import LayerMixture
from mlt_ray.models.multigranularity.values import SPEECH_LAYERS, MultigranularitySpec
from mlt_ray.models.multilevel.network import Multilevel
from mlt_ray.models.registry import builds
from mlt_ray.models.system import System


@builds(MultigranularitySpec)
class Multigranularity(System):
    """All utterance vectors projected, concatenated and classified by one layer (3.2.2)."""

    def __init__(self, spec: MultigranularitySpec, sizes: InputSizes) -> None:
        super().__init__()
        self.text = self.text_projection = self.speech_projection = None
        if spec.encoder is not None:
            self.text = TextVector(spec, sizes)
        self.multilevel = Multilevel(spec.multilevel, sizes)
        del self.multilevel.classifier  # one classifier reads all vectors
        if self.text is not None:
            self.text_projection = nn.Linear(self.text.dim, spec.projection)
        self.multilevel_projection = nn.Linear(spec.multilevel.width, spec.projection)
        if spec.speech_encoder is not None:
            self.speech_projection = nn.Linear(sizes.extras[SPEECH_LAYERS], spec.projection)
        self.mixture = None
        if spec.speech_encoder is not None and spec.speech_layer == "weighted":
            self.mixture = LayerMixture(sizes.num_speech_layers)
        self.dropout = Dropout(spec.dropout)
        num_vectors = 1 + (spec.encoder is not None) + (spec.speech_encoder is not None)
        self.classifier = nn.Linear(num_vectors * spec.projection, sizes.num_classes)

    def encode(self, batch: Batch) -> Tensor:
        """→ (B, 2H), or (B, 3H) with both encoders: the projected vectors, the head's input."""
        vectors = []
        if self.text is not None and self.text_projection is not None:
            vectors.append(self.text_projection(self.text(batch)))
        vectors.append(self.multilevel_projection(self.multilevel.encode(batch)))
        if self.speech_projection is not None:
            layers = batch.extras[SPEECH_LAYERS]
            vector = layers if self.mixture is None else self.mixture(layers)
            vectors.append(self.speech_projection(vector))
        return torch.cat(vectors, dim=1)

    def forward(self, batch: Batch) -> Tensor:
        """→ (B, K) logits of K classes."""
        return self.classifier(self.dropout(self.encode(batch)))

    def pretrained(self) -> Iterable[nn.Parameter]:
        """The weights of the text encoder, where it is part of the network."""
        return () if self.text is None else self.text.parameters()

    def details(self) -> dict[str, Any]:
        """The weights of the speech encoder's layers, of pooled ones and of frames."""
        own = {} if self.mixture is None else {"layer_weights": self.mixture.details()}
        return {**own, **self.multilevel.details()}
