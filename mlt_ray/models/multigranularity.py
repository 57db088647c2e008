"""The multi-granularity model (section 3.2): Bert's view of an utterance beside the fine one.

Shapes: B utterances, H = `projection`.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.labels import CLASSES
from mlt_ray.models.bert import ClsVector, EncoderSpec
from mlt_ray.models.dropout import Dropout
from mlt_ray.models.multilevel import Multilevel, MultilevelSpec
from mlt_ray.models.system import System
from mlt_ray.spec import SHARE, Need, at_least, require


@dataclass(frozen=True, kw_only=True)
class MultigranularitySpec(EncoderSpec):
    """Configuration of the multi-granularity model: an encoder and a multilevel transformer.

    *Assumed*: `projection`, the width that each of the two CLS vectors is projected to (that of
    all transformer layers, 4.2), and `dropout` before the head, as in Bert alone. The paper names
    no activation between projection and head, so there is none.
    """

    system: str = "multigranularity"
    multilevel: MultilevelSpec = field(default_factory=MultilevelSpec)
    projection: int = 128
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, at_least(1), "projection")
        require(self, SHARE, "dropout")

    @property
    def needs(self) -> tuple[Need, ...]:
        """What the encoder and the multilevel transformer read."""
        return (*super().needs, *self.multilevel.needs)


class Multigranularity(System):
    """Both CLS vectors projected, concatenated and classified by one layer (section 3.2.2)."""

    @classmethod
    def vectorises(cls, spec: MultigranularitySpec) -> bool:
        """Those whose encoder is no part of the model do."""
        return not spec.fine_tune

    def __init__(self, spec: MultigranularitySpec, sizes: InputSizes) -> None:
        super().__init__()
        self.text = ClsVector(spec, sizes)
        self.multilevel = Multilevel(spec.multilevel, sizes)
        del self.multilevel.classifier  # the two vectors share one
        self.text_projection = nn.Linear(self.text.dim, spec.projection)
        self.multilevel_projection = nn.Linear(spec.multilevel.width, spec.projection)
        self.dropout = Dropout(spec.dropout)
        self.classifier = nn.Linear(2 * spec.projection, len(CLASSES))

    def encode(self, batch: Batch) -> Tensor:
        """→ (B, 2H): what the head reads."""
        text = self.text_projection(self.text(batch))
        fine = self.multilevel_projection(self.multilevel.encode(batch))
        return torch.cat([text, fine], dim=1)

    def forward(self, batch: Batch) -> Tensor:
        """→ (B, 4) logits in the order of `CLASSES`."""
        return self.classifier(self.dropout(self.encode(batch)))
