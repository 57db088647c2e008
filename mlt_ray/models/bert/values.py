"""Configuration of Bert alone, and the base of all configurations that read a text encoder."""

from dataclasses import dataclass

from mlt_ray.parsing import SHARE, require
from mlt_ray.spec import ExtraInput, ModelSpec


@dataclass(frozen=True, kw_only=True)
class EncoderSpec(ModelSpec):
    """Base of the configurations that read a pre-trained text encoder.

    `encoder` is ``minilm`` (packaged), a folder or a name on the Hugging Face hub; planning
    replaces it by ``name@digest``. With `fine_tune` (the paper's way, *assumed* from section 3.2.2
    and its reference 12) the encoder is part of the network and trained with it. Without, its CLS
    vectors are computed once and are an input.
    """

    encoder: str | None = "minilm"
    fine_tune: bool = True

    def __post_init__(self) -> None:
        if not self.encoder:
            got = "an empty text" if self.encoder == "" else self.encoder
            raise ValueError(f"encoder: expected minilm, a folder or a name, got {got}")

    @property
    def text_encoder(self) -> str | None:
        """The encoder; None for a system that is configured without one."""
        return self.encoder

    @property
    def extras(self) -> tuple[ExtraInput, ...]:
        """Word pieces for an encoder that is fine-tuned, else its CLS vectors."""
        if self.encoder is None:
            return ()
        return (ExtraInput("pieces" if self.fine_tune else "text_embedding", self.encoder),)


@dataclass(frozen=True, kw_only=True)
class BertSpec(EncoderSpec):
    """Configuration of Bert alone: CLS vector and classification head.

    *Assumed*: the head is dropout, then one linear layer, as in Devlin et al. (2019), from whom
    the rate `dropout` is. The rates inside the encoder are those of the encoder's own
    configuration.
    """

    system: str = "bert"
    dropout: float = 0.1

    @property
    def reads_words(self) -> bool:
        """False: the encoder cuts the texts into word pieces of its own."""
        return False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, SHARE, "dropout")
