"""The multi-granularity model (section 3.2): pre-trained encoders beside a multilevel transformer.

Shapes: B utterances, H = `projection`.
"""

import torch
from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.models.bert.network import ClsVector
from mlt_ray.models.dropout import Dropout
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
            self.text = ClsVector(spec, sizes)
        self.multilevel = Multilevel(spec.multilevel, sizes)
        del self.multilevel.classifier  # one classifier reads all vectors
        if self.text is not None:
            self.text_projection = nn.Linear(self.text.dim, spec.projection)
        self.multilevel_projection = nn.Linear(spec.multilevel.width, spec.projection)
        if spec.speech_encoder is not None:
            self.speech_projection = nn.Linear(sizes.extras[SPEECH_LAYERS], spec.projection)
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
            vectors.append(self.speech_projection(batch.extras[SPEECH_LAYERS]))
        return torch.cat(vectors, dim=1)

    def forward(self, batch: Batch) -> Tensor:
        """→ (B, K) logits of K classes."""
        return self.classifier(self.dropout(self.encode(batch)))
