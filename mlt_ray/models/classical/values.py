"""Configuration of classifiers that are no networks."""

from dataclasses import dataclass
from typing import Literal

from mlt_ray.parsing import ABOVE_0, at_least, require
from mlt_ray.spec import ExtraInput, ModelSpec


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
    def extras(self) -> tuple[ExtraInput, ...]:
        """A vector an utterance for everything but TF-IDF, which reads the words themselves."""
        needed = {
            "egemaps": ExtraInput("egemaps"),
            "embedding": ExtraInput("sentence_embedding", self.encoder),
        }
        return tuple(needed[name] for name in self.inputs if name in needed)
