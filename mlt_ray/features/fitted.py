"""Normalisation and vocabularies of a fold, fitted on its training part alone.

A study may have values normalised speaker by speaker instead, over all recordings of each.

Shapes: N utterances of a corpus, in its order; F values a frame.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np

from mlt_ray.corpus.folds import Fold
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.errors import UserError
from mlt_ray.features.extract import FeatureCache

PAD_ID, UNKNOWN_ID = 0, 1
"""The first two ids of every vocabulary: padding, and a symbol that training does not have."""

SMALLEST_DEVIATION = 1e-3
"""Lower limit of a frame's deviation. A mel filter that contains no line of the spectrum gives a
constant value, and division by its deviation of 0 would give NaN."""

SMALLEST_OF_VECTORS: Final = 1e-6
"""Lower limit of the deviation of a value that an utterance has once."""

LEAST_RECORDINGS: Final = 5
"""Recordings that a speaker must have, to be standardised by them (*assumed*)."""

Standardise = Callable[[np.ndarray], np.ndarray]
"""A function of the values (N, …) of all utterances, each standardised by itself."""


@dataclass(frozen=True, kw_only=True)
class FittedInputs:
    """What a training part says about the inputs.

    `mean` and `deviation` are (F,), one for each value of a frame. `phonemes` are the symbols of
    the training part. `words` are its words without a pre-trained vector, for which the model
    learns one. Words with a vector need no fitting: their vectors do not come from this corpus.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    phonemes: tuple[str, ...]
    words: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def normalise(self, frames: np.ndarray) -> np.ndarray:
        """(T, F) float32, scaled to zero mean and unit deviation over the training part."""
        return normalised(frames, np.asarray(self.mean), np.asarray(self.deviation))


def fit_inputs(
    training: Iterable[Utterance], cache: FeatureCache, max_words: int | None = None
) -> FittedInputs:
    """Normalisation and vocabularies of the training utterances.

    Of each text, only the first `max_words` words count (None: all).
    """
    utterances = list(training)
    mean, deviation = mean_and_deviation(utterances, cache)
    words: set[str] = set()
    phonemes: set[str] = set()
    for text in {u.text for u in utterances}:
        for word, symbols in cache.words_of(text)[:max_words]:
            phonemes.update(symbols)
            if cache.vectors.rows(word) == 0:
                words.add(word)
    return FittedInputs(
        mean=tuple(mean.tolist()),
        deviation=tuple(deviation.tolist()),
        phonemes=tuple(sorted(phonemes)),
        words=tuple(sorted(words)),
    )


def mean_and_deviation(
    utterances: Sequence[Utterance], cache: FeatureCache
) -> tuple[np.ndarray, np.ndarray]:
    """(F,) mean, and (F,) deviation of at least `SMALLEST_DEVIATION`, over all their frames."""
    moments = [cache.moments[u.audio_sha256] for u in utterances]
    count = sum(cache.frames.rows(u.audio_sha256) for u in utterances)
    mean, squares = np.sum(moments, axis=0) / count
    return mean, np.sqrt(np.maximum(squares - mean**2, SMALLEST_DEVIATION**2))


def normalised(frames: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """(T, F) float32 with the (F,) mean and deviation taken out."""
    return (frames.astype(np.float32) - mean.astype(np.float32)) / deviation.astype(np.float32)


def standardising(corpus: Corpus, fold: Fold, by: Literal["train", "speaker"]) -> Standardise:
    """Standardise over the training part of a fold, or over all recordings of each speaker."""

    def standardise(values: np.ndarray) -> np.ndarray:
        groups = [(np.arange(len(values)), np.asarray(fold.train))]
        if by == "speaker":
            groups = [(own, own) for own in map(np.asarray, speakers_of(corpus).values())]
        found = np.empty_like(values)
        for places, over in groups:
            deviation = np.maximum(values[over].std(axis=0), SMALLEST_OF_VECTORS)
            found[places] = (values[places] - values[over].mean(axis=0)) / deviation
        return found

    return standardise


def speakers_of(corpus: Corpus) -> Mapping[str, Sequence[int]]:
    """The places of each speaker's utterances."""
    places: dict[str, list[int]] = {}
    for place, utterance in enumerate(corpus.utterances):
        places.setdefault(utterance.speaker, []).append(place)
    return places


def check_speakers(corpus: Corpus) -> None:
    """`UserError` if the corpus names no speakers, or one of them has too few recordings."""
    for speaker, places in speakers_of(corpus).items():
        if not speaker:
            raise UserError(
                "features.standardise: speaker expects the speaker of every recording, got none "
                f"for {corpus.utterances[places[0]].id}; set it to train"
            )
        if len(places) < LEAST_RECORDINGS:
            raise UserError(
                f"features.standardise: speaker expects at least {LEAST_RECORDINGS} recordings of "
                f"every speaker, got {len(places)} of {speaker}; set it to train"
            )


def symbol_ids(symbols: Iterable[str]) -> dict[str, int]:
    """The id of each symbol of a vocabulary; they follow `UNKNOWN_ID`."""
    return {symbol: n for n, symbol in enumerate(symbols, start=UNKNOWN_ID + 1)}
