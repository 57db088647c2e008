"""The multi-granularity model (section 3.2): pre-trained views of an utterance beside the fine one.

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

SPEECH_EMBEDDING = "speech_embedding"
"""The input that holds the speech encoder's vector."""


@dataclass(frozen=True, kw_only=True)
class MultigranularitySpec(EncoderSpec):
    """Configuration of the multi-granularity model: encoders and a multilevel transformer.

    `encoder` reads the text (None: no Bert). `speech_encoder`, the paper's outlook (section 5),
    reads the recording: ``resemblyzer``, a folder or a name on the Hugging Face hub, such as
    ``facebook/wav2vec2-base``; planning turns it into ``name@digest``. Its vector is the mean and
    the deviation over time of its last states, an input computed once and standardised: it is
    not fine-tuned, whatever `fine_tune`, which is of the text encoder, says (*assumed*). One of
    the two must be given.

    *Assumed*: `projection`, the width that each vector is projected to (that of all transformer
    layers, 4.2), and `dropout` before the head, as in Bert alone. The paper names no activation
    between projection and head, so there is none.
    """

    system: str = "multigranularity"
    multilevel: MultilevelSpec = field(default_factory=MultilevelSpec)
    projection: int = 128
    dropout: float = 0.1
    speech_encoder: str | None = None

    def __post_init__(self) -> None:
        if self.encoder is not None:
            super().__post_init__()
        elif self.speech_encoder is None:
            raise ValueError("encoder: expected a text encoder or speech_encoder, got neither")
        if self.speech_encoder == "":
            raise ValueError(
                "speech_encoder: expected resemblyzer, a folder or a name, got an empty text"
            )
        require(self, at_least(1), "projection")
        require(self, SHARE, "dropout")
        if self.multilevel.tts_weight:
            raise ValueError(
                "multilevel.tts_weight: expected 0 (the joint loss is the multilevel "
                f"transformer's alone), got {self.multilevel.tts_weight}"
            )

    @property
    def needs(self) -> tuple[Need, ...]:
        """What the encoders and the multilevel transformer read."""
        speech = (
            () if self.speech_encoder is None else (Need(SPEECH_EMBEDDING, self.speech_encoder),)
        )
        return (*super().needs, *speech, *self.multilevel.needs)


class Multigranularity(System):
    """All utterance vectors projected, concatenated and classified by one layer (3.2.2)."""

    @classmethod
    def vectorises(cls, spec: MultigranularitySpec) -> bool:
        """Those whose encoder is no part of the model do."""
        return spec.encoder is None or not spec.fine_tune

    def __init__(self, spec: MultigranularitySpec, sizes: InputSizes) -> None:
        super().__init__()
        self.text = self.text_projection = self.speech_projection = None
        if spec.encoder is not None:
            self.text = ClsVector(spec, sizes)
        self.multilevel = Multilevel(spec.multilevel, sizes)
        del self.multilevel.classifier  # the vectors share one
        if self.text is not None:
            self.text_projection = nn.Linear(self.text.dim, spec.projection)
        self.multilevel_projection = nn.Linear(spec.multilevel.width, spec.projection)
        if spec.speech_encoder is not None:
            self.speech_projection = nn.Linear(sizes.extras[SPEECH_EMBEDDING], spec.projection)
        self.dropout = Dropout(spec.dropout)
        num_vectors = 1 + (spec.encoder is not None) + (spec.speech_encoder is not None)
        self.classifier = nn.Linear(num_vectors * spec.projection, len(CLASSES))

    def encode(self, batch: Batch) -> Tensor:
        """→ (B, 2H), or (B, 3H) with both encoders: what the head reads."""
        vectors = []
        if self.text is not None and self.text_projection is not None:
            vectors.append(self.text_projection(self.text(batch)))
        vectors.append(self.multilevel_projection(self.multilevel.encode(batch)))
        if self.speech_projection is not None:
            vectors.append(self.speech_projection(batch.extras[SPEECH_EMBEDDING]))
        return torch.cat(vectors, dim=1)

    def forward(self, batch: Batch) -> Tensor:
        """→ (B, 4) logits in the order of `CLASSES`."""
        return self.classifier(self.dropout(self.encode(batch)))
