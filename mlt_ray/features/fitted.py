"""What a fold learns of its inputs from its training part alone: normalisation and vocabularies."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mlt_ray.corpus.utterance import Utterance
from mlt_ray.features.extract import FeatureCache

PAD_ID, UNKNOWN_ID = 0, 1
"""Ids that every vocabulary shares; symbols follow from 2 on."""

SMALLEST_DEVIATION = 1e-3
"""A mel filter without a bin inside it is constant: dividing by its deviation would give NaN."""


@dataclass(frozen=True, kw_only=True)
class FittedInputs:
    """Fitted on a training part.

    `mean` and `deviation` are (F,) per frame value. `phonemes` are the symbols seen. `words` are
    the words seen that have no vector, so that a row must be learned for each; words with a
    vector need no fitting, since the vectors are frozen and not of this corpus.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    phonemes: tuple[str, ...]
    words: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def normalise(self, frames: np.ndarray) -> np.ndarray:
        """(T, F) float32 with zero mean and unit deviation over the training part."""
        mean = np.asarray(self.mean, np.float32)
        return (frames.astype(np.float32) - mean) / np.asarray(self.deviation, np.float32)


def fit_inputs(
    training: Iterable[Utterance], cache: FeatureCache, max_words: int | None = None
) -> FittedInputs:
    """Statistics of the training part's frames, and its symbols and words up to `max_words`."""
    utterances = list(training)
    moments = [cache.moments[u.audio_sha256] for u in utterances]
    count = sum(cache.frames.rows(u.audio_sha256) for u in utterances)
    sums, squares = np.sum(moments, axis=0) / count
    deviation = np.sqrt(np.maximum(squares - sums**2, SMALLEST_DEVIATION**2))
    words: set[str] = set()
    phonemes: set[str] = set()
    for text in {u.text for u in utterances}:
        for word, symbols in cache.words_of(text)[:max_words]:
            phonemes.update(symbols)
            if cache.vectors.rows(word) == 0:
                words.add(word)
    return FittedInputs(
        mean=tuple(sums.tolist()),
        deviation=tuple(deviation.tolist()),
        phonemes=tuple(sorted(phonemes)),
        words=tuple(sorted(words)),
    )


def symbol_ids(symbols: Iterable[str]) -> dict[str, int]:
    """Ids of a vocabulary's symbols, after `PAD_ID` and `UNKNOWN_ID`."""
    return {symbol: n for n, symbol in enumerate(symbols, start=UNKNOWN_ID + 1)}
