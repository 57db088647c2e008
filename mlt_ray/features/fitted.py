"""Normalisation and vocabularies of a fold, fitted on its training part alone."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mlt_ray.corpus.utterance import Utterance
from mlt_ray.features.extract import FeatureCache

PAD_ID, UNKNOWN_ID = 0, 1
"""The first two ids of every vocabulary: padding, and a symbol that training does not have."""

SMALLEST_DEVIATION = 1e-3
"""Lower limit of a deviation. A mel filter that contains no line of the spectrum gives a constant
value, and division by its deviation of 0 would give NaN."""


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


def symbol_ids(symbols: Iterable[str]) -> dict[str, int]:
    """The id of each symbol of a vocabulary; they follow `UNKNOWN_ID`."""
    return {symbol: n for n, symbol in enumerate(symbols, start=UNKNOWN_ID + 1)}
