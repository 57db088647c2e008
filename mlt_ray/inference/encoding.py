"""Features of recordings as inputs of an ensemble: cut, averaged, and in batches of similar length.

Shapes: T steps, F values a frame.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mlt_ray.corpus.utterance import Spoken
from mlt_ray.features.extract import Words, moments_of
from mlt_ray.features.extras import INPUTS, FoldInput
from mlt_ray.features.fitted import (
    Standardise,
    by_speaker,
    check_speakers,
    normalised,
    of_sums,
    speakers_of,
)
from mlt_ray.features.frames import average_frames
from mlt_ray.inference.ensemble import Ensemble, Inputs
from mlt_ray.inference.raw import RawFeatures
from mlt_ray.inference.trained import TrainedModel


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Features of recordings, ready to be cut into batches.

    `frames` are (T, F) float32 of each, `extras` hold the extra inputs of all, by name.
    """

    frames: Sequence[np.ndarray]
    words: Sequence[Words]
    extras: Mapping[str, FoldInput]


def encoded(
    features: Sequence[RawFeatures], spoken: Sequence[Spoken], model: TrainedModel
) -> Encoded:
    """The features as all runs of a model read them; standardised by speaker where its row was.

    Raises `UserError` if it was, for recordings without a speaker, or of speakers with too few.
    """
    spec, standardise = model.spec.features, Standardise(())
    frames = [x.frames.astype(np.float32) for x in features]
    if model.is_by_speaker:
        check_speakers(spoken, "name the speakers of all, or use a row of standardise: train")
        standardise = by_speaker(spoken)
        if model.spec.model.normalises_frames:
            frames = _frames_by_speaker(frames, spoken)
    return Encoded(
        frames=[average_frames(f, spec.frames_per_step)[: spec.max_steps] for f in frames],
        words=[x.words[: spec.max_words] for x in features],
        extras={
            extra.name: INPUTS[extra.name].use(
                [x.extras[extra.name] for x in features], standardise, extra, model.tools.sources
            )
            for extra in model.spec.model.extras
        },
    )


def _frames_by_speaker(frames: Sequence[np.ndarray], spoken: Sequence[Spoken]) -> list[np.ndarray]:
    """(T, F) frames of each recording, normalised over all recordings of its speaker."""
    found = list(frames)
    for places in speakers_of(spoken).values():
        moments = [moments_of(frames[i]) for i in places]
        mean, deviation = of_sums(moments, sum(len(frames[i]) for i in places))
        for place in places:
            found[place] = normalised(frames[place], mean, deviation)
    return found


def inputs_of(
    features: Encoded, indices: NDArray[np.int64], model: TrainedModel, ensemble: Ensemble
) -> Inputs:
    """The recordings at `indices` as one batch, on the CPU."""
    frames = [features.frames[i] for i in indices]
    texts = [features.words[i] for i in indices]
    lengths = [len(f) for f in frames]
    padded = np.zeros((len(frames), max(lengths), frames[0].shape[1]), np.float32)
    for row, frame in zip(padded, frames, strict=True):
        row[: len(frame)] = frame
    vectors = _further_vectors({word for text in texts for word, _ in text}, model, ensemble)
    rows = {word: row for row, word in enumerate(vectors)}
    words, phonemes = ensemble.vocabulary.ids_of(texts, rows)
    table = [*vectors.values()] or [np.zeros(model.vector_dim, np.float32)]
    return Inputs(
        frames=torch.from_numpy(padded),
        num_frames=torch.tensor(lengths),
        words=torch.from_numpy(words),
        num_words=torch.tensor([len(text) for text in texts]),
        word_vectors=torch.from_numpy(np.stack(table)),
        phonemes=torch.from_numpy(phonemes),
        extras={name: extra.batch(indices) for name, extra in features.extras.items()},
    )


def _further_vectors(
    words: set[str], model: TrainedModel, ensemble: Ensemble
) -> dict[str, np.ndarray]:
    """Pre-trained vectors of those words that the training corpus does not have."""
    unknown = words - ensemble.vocabulary.word_ids.keys()
    # Without a vector in the training corpus, networks have no table of vectors at all.
    if not unknown or not ensemble.reads_new_words or not model.vectors:
        return {}
    return model.tools.vectors_of(sorted(unknown))
