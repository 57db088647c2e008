"""Normalisation and vocabularies of a fold, fitted on its training part alone.

A study may have values normalised speaker by speaker instead, over all recordings of each.

Shapes: N utterances of a corpus, in its order; F values a frame.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

import numpy as np

from mlt_ray.corpus.folds import Fold
from mlt_ray.corpus.utterance import Corpus, Spoken, Utterance
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

Moments = tuple[np.ndarray, np.ndarray]
"""Mean and deviation, of one shape."""


@dataclass(frozen=True, kw_only=True)
class FittedExtra:
    """An extra input of a fold: the size of its last axis, and what is taken out of its values.

    The (…, `dim`) mean and deviation of `moments` are those of the training part. None: the values
    are read as they are computed, or standardised speaker by speaker.
    """

    dim: int
    moments: Moments | None = None

    def standardised(self, values: np.ndarray) -> np.ndarray:
        """(N, …, `dim`) values with the moments taken out."""
        if self.moments is None:
            return values
        mean, deviation = self.moments
        return (values - mean) / deviation


@dataclass(frozen=True, kw_only=True)
class FittedInputs:
    """What a training part says about the inputs.

    `mean` and `deviation` are (F,), one for each value of a frame. `phonemes` are the symbols of
    the training part. `words` are its words without a pre-trained vector, for which the model
    learns one. Words with a vector need no fitting: their vectors do not come from this corpus.

    A network is built for more than that. `vectors` are the words of the whole corpus that have a
    pre-trained vector, in the order of their ids. `frame_layers` and `num_speech_layers` are those
    of `mlt_ray.batch.InputSizes`. `extras` are the extra inputs by name.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    phonemes: tuple[str, ...]
    words: tuple[str, ...]
    vectors: tuple[str, ...] = ()
    frame_layers: int = 1
    num_speech_layers: int = 0
    extras: Mapping[str, FittedExtra] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**values, "extras": {k: _plain_extra(v) for k, v in self.extras.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FittedInputs | None":
        """The inputs that `as_dict` described; None if an earlier version wrote fewer values."""
        names = {f.name for f in fields(cls)}
        if not names <= values.keys():
            return None
        kept: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in names
        }
        kept["extras"] = {k: _extra(v) for k, v in values["extras"].items()}
        return cls(**kept)

    def normalise(self, frames: np.ndarray) -> np.ndarray:
        """(T, F) float32, scaled to zero mean and unit deviation over the training part."""
        return normalised(frames, np.asarray(self.mean), np.asarray(self.deviation))


def _plain_extra(extra: FittedExtra) -> dict[str, Any]:
    if extra.moments is None:
        return {"dim": extra.dim}
    mean, deviation = (_shortest(values) for values in extra.moments)
    return {"dim": extra.dim, "mean": mean, "deviation": deviation}


def _shortest(values: np.ndarray) -> Any:
    """The values as nested lists of the shortest numbers that read as the same float32."""
    if values.ndim > 1:
        return [_shortest(row) for row in values]
    return [float(np.format_float_scientific(v)) for v in values.astype(np.float32)]


def _extra(values: Mapping[str, Any]) -> FittedExtra:
    moments = None
    if "mean" in values:
        mean, deviation = (np.asarray(values[k], np.float32) for k in ("mean", "deviation"))
        moments = mean, deviation
    return FittedExtra(dim=values["dim"], moments=moments)


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
    return of_sums(moments, sum(cache.frames.rows(u.audio_sha256) for u in utterances))


def of_sums(moments: Sequence[np.ndarray], count: int) -> Moments:
    """(F,) mean, and deviation of at least `SMALLEST_DEVIATION`, of `count` frames.

    The (2, F) `moments` of each recording are the sums of its frames, and of their squares.
    """
    mean, squares = np.sum(moments, axis=0) / count
    return mean, np.sqrt(np.maximum(squares - mean**2, SMALLEST_DEVIATION**2))


def normalised(frames: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """(T, F) float32 with the (F,) mean and deviation taken out."""
    return (frames.astype(np.float32) - mean.astype(np.float32)) / deviation.astype(np.float32)


class Standardise:
    """Standardises the values (N, …) of all utterances, over some groups of them.

    Values that are in no group stay as they are. A group is the places that are standardised, and
    the places whose mean and deviation count. `moments` are the last values' mean and deviation
    where they are those of training utterances, so that they are good for other recordings too,
    else None.
    """

    def __init__(
        self, groups: Iterable[tuple[np.ndarray, np.ndarray]], *, is_fitted: bool = False
    ) -> None:
        self._groups = tuple(groups)
        self._is_fitted = is_fitted
        self.moments: Moments | None = None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(N, …) → the same shape."""
        found = values.copy()
        for places, over in self._groups:
            mean = values[over].mean(axis=0)
            deviation = np.maximum(values[over].std(axis=0), SMALLEST_OF_VECTORS)
            found[places] = (values[places] - mean) / deviation
            self.moments = (mean, deviation) if self._is_fitted else None
        return found


def standardising(corpus: Corpus, fold: Fold, by: Literal["train", "speaker"]) -> Standardise:
    """Standardise over the training part of a fold, or over all recordings of each speaker."""
    if by == "speaker":
        return by_speaker(corpus.utterances)
    groups = [(np.arange(len(corpus)), np.asarray(fold.train))]
    return Standardise(groups, is_fitted=True)


def by_speaker(spoken: Sequence[Spoken]) -> Standardise:
    """Standardise over all recordings of each speaker."""
    return Standardise((own, own) for own in map(np.asarray, speakers_of(spoken).values()))


def speakers_of(spoken: Sequence[Spoken]) -> Mapping[str, Sequence[int]]:
    """The places of each speaker's utterances."""
    places: dict[str, list[int]] = {}
    for place, utterance in enumerate(spoken):
        places.setdefault(utterance.speaker, []).append(place)
    return places


def check_speakers(spoken: Sequence[Spoken], remedy: str = "set it to train") -> None:
    """`UserError` if an utterance names no speaker, or a speaker has too few recordings."""
    for speaker, places in speakers_of(spoken).items():
        if not speaker:
            raise UserError(
                "features.standardise: speaker expects the speaker of every recording, got none "
                f"for {spoken[places[0]].id}; {remedy}"
            )
        if len(places) < LEAST_RECORDINGS:
            raise UserError(
                f"features.standardise: speaker expects at least {LEAST_RECORDINGS} recordings of "
                f"every speaker, got {len(places)} of {speaker}; {remedy}"
            )


def symbol_ids(symbols: Iterable[str]) -> dict[str, int]:
    """The id of each symbol of a vocabulary; they follow `UNKNOWN_ID`."""
    return {symbol: n for n, symbol in enumerate(symbols, start=UNKNOWN_ID + 1)}
