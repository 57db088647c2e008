"""Configuration of the multi-granularity model."""

from dataclasses import dataclass, field

from mlt_ray.models.bert.values import EncoderSpec
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.parsing import Rate, Width, check_numbers
from mlt_ray.spec import ExtraInput, Layer

SPEECH_LAYERS = "speech_layers"
"""The input that holds the layers of the speech encoder."""


@dataclass(frozen=True, kw_only=True)
class MultigranularitySpec(EncoderSpec):
    """Configuration of the multi-granularity model: encoders and a multilevel transformer.

    `encoder` reads the text; None leaves it out. `speech_encoder`, the paper's outlook (section 5),
    reads the recording: ``resemblyzer``, a folder or a name on the Hugging Face hub, such as
    ``facebook/wav2vec2-base``; planning replaces it by ``name@digest``. Its vector is the mean and
    the deviation over time of a layer's states, computed once and standardised. `speech_layer` is
    ``last``, a number, or ``weighted``: the mean of all layers with learned weights. It is never
    fine-tuned (*assumed*): `fine_tune` is about the text encoder. At least one of the two must be
    given.

    *Assumed*: `projection`, the width to which each vector is projected (the width of all
    transformer layers, 4.2), and `dropout` before the head, as in Bert alone. The paper names no
    activation between projection and head, so there is none.
    """

    system: str = "multigranularity"
    multilevel: MultilevelSpec = field(default_factory=MultilevelSpec)
    projection: Width = 128
    dropout: Rate = 0.1
    speech_encoder: str | None = None
    speech_layer: Layer = "last"

    def __post_init__(self) -> None:
        if self.encoder is not None:
            super().__post_init__()
        elif self.speech_encoder is None:
            raise ValueError("encoder: expected a text encoder or speech_encoder, got neither")
        else:
            check_numbers(self)
        if self.speech_encoder == "":
            raise ValueError(
                "speech_encoder: expected resemblyzer, a folder or a name, got an empty text"
            )
        if self.multilevel.tts_weight:
            raise ValueError(
                "multilevel.tts_weight: expected 0 (the joint loss is the multilevel "
                f"transformer's alone), got {self.multilevel.tts_weight}"
            )

    @property
    def extras(self) -> tuple[ExtraInput, ...]:
        """What the encoders and the multilevel transformer read."""
        speech: tuple[ExtraInput, ...] = ()
        if self.speech_encoder is not None:
            speech = (ExtraInput(SPEECH_LAYERS, self.speech_encoder, self.speech_layer),)
        return (*super().extras, *speech, *self.multilevel.extras)

    @property
    def reads_words(self) -> bool:
        """True if the multilevel transformer does."""
        return self.multilevel.reads_words

    @property
    def can_be_packed(self) -> bool:
        """True unless the text encoder is part of the network."""
        return self.encoder is None or not self.fine_tune
