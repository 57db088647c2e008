"""Configuration of Bert alone, and the base of all configurations that read a text encoder."""

from dataclasses import dataclass
from typing import Literal

from mlt_ray.parsing import Rate
from mlt_ray.spec import Blocks, ExtraInput, FineTuning, ModelSpec, Rank


@dataclass(frozen=True, kw_only=True)
class EncoderSpec(ModelSpec):
    """Base of the configurations that read a pre-trained text encoder.

    `encoder` is ``minilm`` (packaged), a folder or a name on the Hugging Face hub; planning
    replaces it by ``name@digest``. Of its last states, `pool` takes that at CLS (section 3.2.2) or
    the ``mean``.

    With `fine_tune` the encoder is part of the network and trained with it: all of it (True or
    ``all``, the paper's way, *assumed* from section 3.2.2 and its reference 12), its `last_n`
    blocks, or adapters of rank `lora_rank` (``lora``). Without, its vectors are computed once and
    are an input.
    """

    encoder: str | None = "minilm"
    fine_tune: FineTuning = True
    last_n: Blocks = 2
    lora_rank: Rank = 8
    pool: Literal["cls", "mean"] = "cls"

    def __post_init__(self) -> None:
        if self.fine_tune == "all":
            object.__setattr__(self, "fine_tune", True)
        super().__post_init__()
        if not self.encoder:
            got = "an empty text" if self.encoder == "" else self.encoder
            raise ValueError(f"encoder: expected minilm, a folder or a name, got {got}")

    @property
    def text_encoder(self) -> str | None:
        """The encoder; None for a system that is configured without one."""
        return self.encoder

    @property
    def fine_tuning(self) -> FineTuning:
        """What is trained of the text encoder."""
        return self.fine_tune if self.encoder is not None else False

    @property
    def extras(self) -> tuple[ExtraInput, ...]:
        """Word pieces for an encoder that is fine-tuned, else its CLS vectors."""
        if self.encoder is None:
            return ()
        frozen = {"cls": "text_embedding", "mean": "text_mean"}[self.pool]
        return (ExtraInput("pieces" if self.fine_tune else frozen, self.encoder),)


@dataclass(frozen=True, kw_only=True)
class BertSpec(EncoderSpec):
    """Configuration of Bert alone: CLS vector and classification head.

    *Assumed*: the head is dropout, then one linear layer, as in Devlin et al. (2019), from whom
    the rate `dropout` is. The rates inside the encoder are those of the encoder's own
    configuration.
    """

    system: str = "bert"
    dropout: Rate = 0.1

    @property
    def reads_audio(self) -> bool:
        """False: it reads alone."""
        return False

    @property
    def reads_words(self) -> bool:
        """False: the encoder cuts the texts into word pieces of its own."""
        return False
