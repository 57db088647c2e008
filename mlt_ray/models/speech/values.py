"""Configuration of a speech encoder alone."""

from dataclasses import dataclass
from typing import Annotated, Literal

from mlt_ray.parsing import Range, Rate
from mlt_ray.spec import Blocks, ExtraInput, FineTuning, FramesSpec, Layer, ModelSpec, Rank


@dataclass(frozen=True, kw_only=True)
class SpeechSpec(ModelSpec):
    """Configuration of a pre-trained speech encoder with a small head, as the field's benchmarks.

    `speech_encoder` is ``resemblyzer``, a folder or a name on the Hugging Face hub; planning
    replaces it by ``name@digest``. `speech_layer` is ``weighted``, a mean of all layers with
    weights that are learned (SUPERB: Yang et al., 2021), ``last``, or a number.

    `head`: ``pooled`` reads mean and deviation over time of the layers, and may have a layer of
    `hidden_width` units with ReLU before the last (0: none). ``states`` has that layer on every
    state, and takes the mean over time behind it (EmoBox: Ma et al., 2024).

    `fine_tune`: the encoder is frozen (False), or part of the network: all blocks are trained
    (``all``), the last `last_n`, or adapters of rank `lora_rank` in all blocks (``lora``). What
    comes before the first block that is trained never is: it is computed once for each recording.
    Then ``weighted`` mixes the layers from there on, and a number must be one of them. Each state
    is scaled to mean 0 and deviation 1 before the head reads it, as frozen ones are over train.

    *Assumed*: `dropout` before the last layer.
    """

    system: str = "speech"
    speech_encoder: str = "resemblyzer"
    speech_layer: Layer = "weighted"
    head: Literal["pooled", "states"] = "pooled"
    hidden_width: Annotated[int, Range(0, 10_000_000)] = 0
    dropout: Rate = 0.1
    fine_tune: FineTuning = False
    last_n: Blocks = 2
    lora_rank: Rank = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.speech_encoder:
            raise ValueError(
                "speech_encoder: expected resemblyzer, a folder or a name, got an empty text"
            )
        if self.fine_tune is True:
            object.__setattr__(self, "fine_tune", "all")
        if self.head == "states" and not self.hidden_width:
            raise ValueError("hidden_width: expected at least 1 with head: states, got 0")

    @property
    def reads_words(self) -> bool:
        """False: it hears alone."""
        return False

    @property
    def can_be_packed(self) -> bool:
        """True while the encoder is frozen."""
        return self.fine_tune is False

    @property
    def fine_tuning(self) -> FineTuning:
        """What is trained of the encoder."""
        return self.fine_tune

    @property
    def extras(self) -> tuple[ExtraInput, ...]:
        """The pooled layers, where the head reads them and they are frozen."""
        if self.frames is not None:
            return ()
        return (ExtraInput("speech_layers", self.speech_encoder, self.speech_layer),)

    @property
    def frames(self) -> FramesSpec | None:
        """The states that the network reads, or None where it reads pooled layers."""
        if self.fine_tune is not False:
            first = -(self.last_n + 1) if self.fine_tune == "last_n" else 0
            return FramesSpec(kind="encoder", encoder=self.speech_encoder, layer=first)
        if self.head == "states":
            return FramesSpec(kind="encoder", encoder=self.speech_encoder, layer=self.speech_layer)
        return None

    @property
    def normalises_frames(self) -> bool:
        """False if the encoder's own blocks read them."""
        return self.fine_tune is False
