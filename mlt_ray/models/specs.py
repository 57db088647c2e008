"""The configuration of every system, as study files have it; data alone: planning needs no torch.

Each names where its values come from: the paper of the multilevel transformer (by section or
table), the compared system's paper or code, or *assumed*.
"""

from dataclasses import dataclass, field
from typing import Literal

from mlt_ray.parsing import ABOVE_0, SHARE, at_least, require
from mlt_ray.spec import ModelSpec, Need

Cell = Literal["lstm", "gru"]

SPEECH_EMBEDDING = "speech_embedding"
"""The input that holds the speech encoder's vector."""


@dataclass(frozen=True, kw_only=True)
class MultilevelSpec(ModelSpec):
    """Configuration of the multilevel transformer.

    From the paper: `width` (4.2), `highway_layers` (3.1.4), `prenet_layers` (3.1.1), the layer
    counts of the three transformer modules (Table 2). `deep_fusion_layers: 0` is the ablation
    *w/o deep fusion*: max pooling, and no dummy mel vector. `inputs` other than ``both`` are
    diagnostics of ours. Every other value is *assumed*.

    `dropout` falls where the vanilla transformer has it (Vaswani et al. 2017, section 5.4, the
    paper's reference 16): on the output of each sub-layer and on the sums of embeddings and
    positions. `attention_dropout`, that of attention weights, is what later code adds (torch.nn's
    layers); the vanilla transformer's paper has none, so it is 0 (*assumed*).

    `tts_weight` is that of the loss of speech synthesis beside cross entropy (3.1.6): 0 is the
    paper's final choice, and no weight is published for the joint loss that it tried. A learning
    curve has the joint loss of the training part, and cross entropy alone of dev.
    `tts_stop_weight` is that of the last position among the stop tokens (Transformer TTS: 5 to 8).
    """

    system: str = "multilevel"
    inputs: Literal["both", "audio", "text"] = "both"
    text: Literal["highway", "concatenation", "phoneme", "word"] = "highway"
    width: int = 128
    num_heads: int = 4
    feed_forward: int = 512
    dropout: float = 0.1
    attention_dropout: float = 0.0
    text_encoder_layers: int = 1
    cross_modality_layers: int = 1
    deep_fusion_layers: int = 2
    highway_layers: int = 2
    phoneme_dim: int = 64
    phoneme_channels: int = 100
    phoneme_kernel: int = 5
    prenet_layers: int = 3
    prenet_kernel: int = 5
    prenet_dropout: float = 0.2
    mel_prenet_width: int = 256
    mel_prenet_dropout: float = 0.2
    tts_weight: float = 0.0
    tts_stop_weight: float = 5.0

    def __post_init__(self) -> None:
        layers = ("text_encoder", "cross_modality", "deep_fusion", "highway", "prenet")
        require(self, at_least(0), *(f"{name}_layers" for name in layers))
        require(self, at_least(0), "tts_weight")
        require(self, ABOVE_0, "tts_stop_weight")
        rates = ("dropout", "attention_dropout", "prenet_dropout", "mel_prenet_dropout")
        require(self, SHARE, *rates)
        sizes = ("width", "num_heads", "feed_forward", "mel_prenet_width")
        require(self, at_least(1), *sizes, "phoneme_dim", "phoneme_channels")
        require(self, at_least(1), "phoneme_kernel", "prenet_kernel")
        if self.width % self.num_heads:
            raise ValueError(
                f"width: expected a multiple of num_heads ({self.num_heads}), got {self.width}"
            )
        if self.tts_weight:
            self._check_synthesis()

    @property
    def packs(self) -> bool:
        """All configurations do."""
        return True

    def _check_synthesis(self) -> None:
        """`ValueError` where there is nothing that frames could be predicted from."""
        if self.inputs != "both":
            raise ValueError(f"inputs: expected both where tts_weight is set, got {self.inputs}")
        for name in ("cross_modality_layers", "deep_fusion_layers"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected at least 1 where tts_weight is set, got 0")


@dataclass(frozen=True, kw_only=True)
class YoonSpec(ModelSpec):
    """Configuration of the dual recurrent encoder.

    ``mdre`` concatenates what the two encoders end with; in ``mdrea`` the audio's end asks an
    attention over the words. From the code: `width`, and the dropouts, which keep 0.7 of the
    audio and 0.3 of the text. *Assumed*: that the table's row is ``mdrea``, which is what the
    multilevel transformer's paper describes (section 2).
    """

    system: str = "yoon"
    variant: Literal["mdrea", "mdre"] = "mdrea"
    width: int = 200
    audio_dropout: float = 0.3
    text_dropout: float = 0.7

    def __post_init__(self) -> None:
        require(self, at_least(2), "width")
        require(self, SHARE, "audio_dropout", "text_dropout")

    @property
    def needs(self) -> tuple[Need, ...]:
        """A vector of prosody for every utterance."""
        return (Need("prosody"),)


@dataclass(frozen=True, kw_only=True)
class XuSpec(ModelSpec):
    """Configuration of the learnt alignment.

    From the paper: `cell` (the code's configuration says ``gru``) and `width`, the units in each
    direction. From the code: `dense_width`, `num_heads`, and the form of the attention pooling.
    *Assumed*: one `dropout`, on the dense layer and on what is classified, and none elsewhere:
    `attention_dropout`, that of the alignment's weights, is 0.
    """

    system: str = "xu"
    cell: Cell = "lstm"
    dense_width: int = 512
    width: int = 100
    num_heads: int = 8
    dropout: float = 0.5
    attention_dropout: float = 0.0

    def __post_init__(self) -> None:
        require(self, at_least(1), "dense_width", "width", "num_heads")
        require(self, SHARE, "dropout", "attention_dropout")
        if 2 * self.width % self.num_heads:
            raise ValueError(
                f"width: expected twice of it to be a multiple of num_heads ({self.num_heads}), "
                f"got {self.width}"
            )


@dataclass(frozen=True, kw_only=True)
class LiSpec(ModelSpec):
    """Configuration of the cross modality excitement.

    All values are from the code: `channels` and `first_kernel` of the first convolution,
    `next_kernel` of the second and third, `width` of a word in each modality (half of it these
    two convolutions' channels) and `recurrent_width`, the units in each direction. There is no
    dropout: the code names one for a recurrent layer with none above it, where torch applies none.
    """

    system: str = "li"
    channels: int = 64
    first_kernel: int = 5
    next_kernel: int = 2
    width: int = 256
    recurrent_width: int = 256

    def __post_init__(self) -> None:
        require(self, at_least(1), "channels", "recurrent_width", "first_kernel", "next_kernel")
        require(self, at_least(2), "width")
        if self.width % 2:
            raise ValueError(f"width: expected an even number, got {self.width}")

    @property
    def needs(self) -> tuple[Need, ...]:
        """When each word was spoken."""
        return (Need("alignment"),)


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
    def needs(self) -> tuple[Need, ...]:
        """Word pieces for an encoder that is trained, its vectors for one that is not."""
        if self.encoder is None:
            return ()
        return (Need("pieces" if self.fine_tune else "text_embedding", self.encoder),)


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

    @property
    def packs(self) -> bool:
        """Those whose encoder is no part of the model do."""
        return self.encoder is None or not self.fine_tune


@dataclass(frozen=True, kw_only=True)
class ClassicalSpec(ModelSpec):
    """Configuration of a classifier of the audio, of the text, or of both (late fusion).

    What it describes is no network: `mlt_ray.training.classical` fits it.

    `audio`: ``egemaps`` are the 88 functionals of the extended Geneva minimalistic acoustic
    parameter set (Eyben et al., 2016), standardised, for a support vector machine of penalty
    `audio_c` with a radial kernel; *assumed*: kernel and penalty, which are scikit-learn's
    defaults. `text`: ``tfidf`` weighs sequences of up to `ngrams` words; ``embedding`` is the mean
    of what the pre-trained `encoder` (as in `EncoderSpec`) gives each word piece, of length 1
    (Reimers and Gurevych, 2019). Either is for a logistic regression of inverse penalty `text_c`;
    *assumed*: `ngrams` and `text_c`. Classes count alike in every fit, however many utterances
    they have (*assumed*, since UA does so).

    With both, the class probabilities are averaged: alike (``mean``), or with the weights that
    give the best dev WA (``weighted``).
    """

    system: str = "classical"
    audio: Literal["egemaps"] | None = None
    text: Literal["tfidf", "embedding"] | None = None
    audio_c: float = 1.0
    text_c: float = 4.0
    ngrams: int = 2
    encoder: str = "minilm"
    fusion: Literal["mean", "weighted"] = "mean"

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError("audio: expected audio, text or both, got neither; set text: tfidf")
        if not self.encoder:
            raise ValueError("encoder: expected minilm, a folder or a name, got an empty text")
        require(self, ABOVE_0, "audio_c", "text_c")
        require(self, at_least(1), "ngrams")

    @property
    def inputs(self) -> tuple[str, ...]:
        """What there is a classifier for: ``egemaps``, ``tfidf`` or ``embedding``, audio first."""
        return tuple(name for name in (self.audio, self.text) if name is not None)

    @property
    def text_encoder(self) -> str | None:
        """The encoder of the embedding; without that, none is read."""
        return self.encoder if self.text == "embedding" else None

    @property
    def needs(self) -> tuple[Need, ...]:
        """A vector an utterance for everything but TF-IDF, which reads the words themselves."""
        needed = {
            "egemaps": Need("egemaps"),
            "embedding": Need("sentence_embedding", self.encoder),
        }
        return tuple(needed[name] for name in self.inputs if name in needed)
