"""Configuration of classifiers that are no networks."""

from dataclasses import dataclass
from typing import Annotated, Literal

from mlt_ray.parsing import Range
from mlt_ray.spec import ExtraInput, LayerNumber, ModelSpec

Penalty = Annotated[float, Range(0, 1_000_000, without_lowest=True)]


@dataclass(frozen=True, kw_only=True)
class ClassicalSpec(ModelSpec):
    """Configuration of a classifier of the audio, of the text, or of both (late fusion).

    `mlt_ray.training.classical` fits it.

    `audio`: ``egemaps`` is a support vector machine with a radial kernel and penalty `audio_c`. Its
    inputs are the 88 functionals of the extended Geneva minimalistic acoustic parameter set (Eyben
    et al., 2016), standardised. *Assumed*: kernel and penalty, scikit-learn's defaults. ``speech``
    is a logistic regression with inverse penalty `speech_c` (*assumed*). Its inputs are mean and
    deviation over time of one layer of the pre-trained `speech_encoder`, standardised:
    `speech_layer` is ``best``, the layer with the highest dev UA of those fits (of equally good
    ones the lowest), ``last``, or a number.

    `text`: a logistic regression with inverse penalty `text_c`. Its inputs are ``tfidf``, the
    TF-IDF weights of sequences of up to `ngrams` words, or ``embedding``, the mean of the vectors
    that the pre-trained `encoder` (as in `EncoderSpec`) gives the word pieces, scaled to length 1
    (Reimers and Gurevych, 2019). *Assumed*: `ngrams` and `text_c`.

    All classes weigh the same in every fit, whatever their numbers of utterances (*assumed*, since
    UA does so). With audio and text, `fusion` is the mean of their class probabilities: plain
    (``mean``), or with the weights that give the best dev WA (``weighted``). Of a study's
    ``training`` nothing is read, neither ``class_weights`` nor ``select_by``.
    """

    system: str = "classical"
    audio: Literal["egemaps", "speech"] | None = None
    text: Literal["tfidf", "embedding"] | None = None
    audio_c: Penalty = 1.0
    text_c: Penalty = 4.0
    ngrams: Annotated[int, Range(1, 20)] = 2
    encoder: str = "minilm"
    fusion: Literal["mean", "weighted"] = "mean"
    speech_encoder: str | None = None
    speech_layer: Literal["best", "last"] | LayerNumber = "best"
    speech_c: Penalty = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.inputs:
            raise ValueError("audio: expected audio, text or both, got neither; set text: tfidf")
        if not self.encoder:
            raise ValueError("encoder: expected minilm, a folder or a name, got an empty text")
        if (self.audio == "speech") != bool(self.speech_encoder):
            got = self.speech_encoder or "none"
            raise ValueError(
                f"speech_encoder: expected one with audio: speech, and none without, got {got}"
            )

    @property
    def reads_seed(self) -> bool:
        """False: each fit has one solution, found from the same start."""
        return False

    @property
    def inputs(self) -> tuple[str, ...]:
        """One name for each classifier, audio first: ``egemaps``, ``speech``, ``tfidf``, …"""
        return tuple(name for name in (self.audio, self.text) if name is not None)

    @property
    def reads_audio(self) -> bool:
        """True with a classifier of the audio."""
        return self.audio is not None

    @property
    def reads_words(self) -> bool:
        """True for TF-IDF."""
        return self.text == "tfidf"

    @property
    def text_encoder(self) -> str | None:
        """The encoder of ``embedding``, else None."""
        return self.encoder if self.text == "embedding" else None

    @property
    def extras(self) -> tuple[ExtraInput, ...]:
        """A vector an utterance for each classifier, except TF-IDF, which reads the words."""
        needed = {
            "egemaps": ExtraInput("egemaps"),
            "speech": ExtraInput("speech_layers", self.speech_encoder or "", "weighted"),
            "embedding": ExtraInput("sentence_embedding", self.encoder),
        }
        return tuple(needed[name] for name in self.inputs if name in needed)
