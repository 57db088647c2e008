"""Scales values to zero mean and unit deviation: over a training part, or speaker by speaker.

Shapes: N utterances of a corpus, in its order.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import numpy as np

from mlt_ray.corpus.folds import Fold
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import UserError

LEAST_RECORDINGS: Final = 5
"""Recordings that a speaker must have, to be standardised by them (*assumed*)."""

SMALLEST_DEVIATION: Final = 1e-6

Standardise = Callable[[np.ndarray], np.ndarray]
"""A function of values (N, …) of all utterances of a corpus, each standardised by itself."""


def standardising(corpus: Corpus, fold: Fold, by: Literal["train", "speaker"]) -> Standardise:
    """Standardise over the training part of a fold, or over all recordings of each speaker."""

    def standardise(values: np.ndarray) -> np.ndarray:
        groups = [(np.arange(len(values)), np.asarray(fold.train))]
        if by == "speaker":
            groups = [(own, own) for own in map(np.asarray, speakers_of(corpus).values())]
        found = np.empty_like(values)
        for places, over in groups:
            deviation = np.maximum(values[over].std(axis=0), SMALLEST_DEVIATION)
            found[places] = (values[places] - values[over].mean(axis=0)) / deviation
        return found

    return standardise


def speakers_of(corpus: Corpus) -> Mapping[str, Sequence[int]]:
    """The places of each speaker's utterances."""
    places: dict[str, list[int]] = {}
    for place, utterance in enumerate(corpus.utterances):
        places.setdefault(utterance.speaker, []).append(place)
    return places


def check_speakers(corpus: Corpus, where: str) -> None:
    """`UserError`, which begins with `where`, if a speaker has too few recordings."""
    for speaker, places in speakers_of(corpus).items():
        if len(places) < LEAST_RECORDINGS:
            raise UserError(
                f"{where}: speaker expects at least {LEAST_RECORDINGS} recordings of every "
                f"speaker, got {len(places)} of {speaker}; set it to train"
            )
