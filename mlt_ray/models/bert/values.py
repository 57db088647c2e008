"""Configuration of Bert alone, and what it shares with others that read a text encoder."""

from dataclasses import dataclass

from mlt_ray.parsing import SHARE, require
from mlt_ray.spec import ExtraInput, ModelSpec


@dataclass(frozen=True, kw_only=True)
class EncoderSpec(ModelSpec):
    """Base of the systems that read a pre-trained text encoder.

    `encoder` is ``minilm`` (packaged), a folder or a name on the Hugging Face hub; planning turns
    it into ``name@digest``. With `fine_tune` (the paper's way, *assumed* from section 3.2.2 and
    its reference 12) it is trained with the rest; without, its CLS vectors are inputs computed
    once, and it is no part of the model.
    """

    encoder: str | None = "minilm"
    fine_tune: bool = True

    def __post_init__(self) -> None:
        if not self.encoder:
            got = "an empty text" if self.encoder == "" else self.encoder
            raise ValueError(f"encoder: expected minilm, a folder or a name, got {got}")

    @property
    def text_encoder(self) -> str | None:
        """The encoder; None where a system can do without, and is to."""
        return self.encoder

    @property
    def extras(self) -> tuple[ExtraInput, ...]:
        """Word pieces for an encoder that is trained, its vectors for one that is not."""
        if self.encoder is None:
            return ()
        return (ExtraInput("pieces" if self.fine_tune else "text_embedding", self.encoder),)


@dataclass(frozen=True, kw_only=True)
class BertSpec(EncoderSpec):
    """Configuration of Bert alone: CLS vector and classification head.

    *Assumed*: the head is dropout, then one linear layer, as in Devlin et al. (2019); `dropout`
    is theirs. Dropout inside the encoder is what its own configuration says.
    """

    system: str = "bert"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, SHARE, "dropout")
