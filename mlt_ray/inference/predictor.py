"""Predictions of a trained model for recordings that it has never seen.

Shapes: M runs, N recordings, K classes.
"""

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from mlt_ray.corpus.utterance import Spoken
from mlt_ray.features.batch_order import evaluation_batches
from mlt_ray.features.extract import Words
from mlt_ray.features.extras import INPUTS, Sources
from mlt_ray.features.fitted import (
    SMALLEST_DEVIATION,
    FittedExtra,
    Standardise,
    by_speaker,
    check_speakers,
    normalised,
    speakers_of,
)
from mlt_ray.features.frames import average_frames
from mlt_ray.inference.ensemble import Ensemble, Inputs, build_ensemble
from mlt_ray.inference.raw import RawFeatures, raw_features
from mlt_ray.inference.trained import TrainedModel
from mlt_ray.training.classical import Readable, read_inputs
from mlt_ray.training.classifiers import Classical

Probabilities = NDArray[np.float64]

BLOCK: Final = 512
"""Recordings whose features are in memory at once."""

Progress = Callable[[int, int], None]
"""Called with the number of recordings that are done, and of all."""


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    """Features of N utterances, ready to be cut into batches."""

    frames: Sequence[np.ndarray]
    words: Sequence[Words]
    extras: Mapping[str, Any]


class Predictor:
    """A trained model at work: the probabilities of each of its runs, and their mean.

    The mean over runs is the model's answer. A recording's probabilities do not depend on the
    others of a call, but for rounding: alone and in batches they differ by less than 1e-5. Several
    threads may call one predictor.
    """

    def __init__(self, model: TrainedModel, device: torch.device | None = None) -> None:
        """`device` computes (None: a GPU if there is one)."""
        self.model = model
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.ensemble: Ensemble | None = None
        if model.is_network:
            self.ensemble = build_ensemble(model).to(self.device)
        self._one_at_a_time = threading.Lock()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes, in the order of probabilities."""
        return self.model.spec.classes

    def probabilities(
        self, spoken: Sequence[Spoken], progress: Progress = lambda done, total: None
    ) -> Probabilities:
        """(M, N, K) probabilities that each run gives each recording.

        Raises `UserError` for a recording that cannot be read, and, where the row was standardised
        by speaker, for recordings without speakers or speakers of too few.
        """
        if not spoken:
            return np.zeros((len(self.model.runs), 0, len(self.classes)))
        size = len(spoken) if self._is_by_speaker else BLOCK
        features = raw_features(spoken, self.model.spec, self.model.tools)
        found = []
        for start in range(0, len(spoken), size):
            block = spoken[start : start + size]
            found.append(self.of_features(list(islice(features, len(block))), block))
            progress(start + len(block), len(spoken))
        return np.concatenate(found, axis=1)

    def of_features(
        self, features: Sequence[RawFeatures], spoken: Sequence[Spoken]
    ) -> Probabilities:
        """(M, N, K) probabilities that each run gives, from features of the recordings."""
        encoded = self._encoded(features, spoken)
        with self._one_at_a_time, torch.inference_mode():
            if self.ensemble is None:
                return self._of_classifiers(encoded, spoken)
            found = np.empty((len(self.model.runs), len(spoken), len(self.classes)))
            lengths = np.array([len(frames) for frames in encoded.frames])
            for indices in evaluation_batches(range(len(spoken)), lengths):
                inputs = self._inputs(encoded, indices).to(self.device)
                found[:, indices] = self.ensemble(inputs).cpu().numpy()
        return found

    def inputs(self, features: Sequence[RawFeatures], spoken: Sequence[Spoken]) -> Inputs:
        """The recordings as one batch for `ensemble`, on the CPU, in their order."""
        return self._inputs(self._encoded(features, spoken), np.arange(len(spoken)))

    @property
    def _is_by_speaker(self) -> bool:
        return self.model.spec.features.standardise == "speaker"

    def _encoded(self, features: Sequence[RawFeatures], spoken: Sequence[Spoken]) -> _Encoded:
        spec = self.model.spec.features
        standardise = Standardise(())
        if self._is_by_speaker:
            check_speakers(spoken)
            standardise = by_speaker(spoken)
        frames = [x.frames.astype(np.float32) for x in features]
        if self._is_by_speaker and self.model.spec.model.normalises_frames:
            frames = _by_speaker(frames, spoken)
        sources = Sources(self.model.tools.folder_of, spec)
        return _Encoded(
            frames=[average_frames(f, spec.frames_per_step)[: spec.max_steps] for f in frames],
            words=[x.words[: spec.max_words] for x in features],
            extras={
                extra.name: INPUTS[extra.name].use(
                    [x.extras[extra.name] for x in features], standardise, extra, sources
                )
                for extra in self.model.spec.model.extras
            },
        )

    def _inputs(self, encoded: _Encoded, indices: NDArray[np.int64]) -> Inputs:
        assert self.ensemble is not None
        vocabulary = self.ensemble.vocabulary
        frames = [encoded.frames[i] for i in indices]
        texts = [encoded.words[i] for i in indices]
        lengths = [len(f) for f in frames]
        padded = np.zeros((len(frames), max(lengths), frames[0].shape[1]), np.float32)
        for row, frame in zip(padded, frames, strict=True):
            row[: len(frame)] = frame
        vectors = self._further_vectors({word for text in texts for word, _ in text})
        rows = {word: row for row, word in enumerate(vectors)}
        words, phonemes = vocabulary.ids_of(texts, rows)
        table = [*vectors.values()] or [np.zeros(self.model.vector_dim, np.float32)]
        return Inputs(
            frames=torch.from_numpy(padded),
            num_frames=torch.tensor(lengths),
            words=torch.from_numpy(words),
            num_words=torch.tensor([len(text) for text in texts]),
            word_vectors=torch.from_numpy(np.stack(table)),
            phonemes=torch.from_numpy(phonemes),
            extras={name: extra.batch(indices) for name, extra in encoded.extras.items()},
        )

    def _further_vectors(self, words: set[str]) -> dict[str, np.ndarray]:
        """Pre-trained vectors of those words that the training corpus does not have."""
        assert self.ensemble is not None
        unknown = words - self.ensemble.vocabulary.word_ids.keys()
        if not unknown or not self.ensemble.reads_new_words:
            return {}
        return self.model.tools.vectors.lookup(sorted(unknown))

    def _of_classifiers(self, encoded: _Encoded, spoken: Sequence[Spoken]) -> Probabilities:
        everything = np.arange(len(spoken))
        arrays = {name: x.batch(everything).numpy() for name, x in encoded.extras.items()}
        found = []
        for run in self.model.runs:
            assert isinstance(run.weights, Classical)
            source = Readable(
                names=[one.id for one in spoken],
                texts=[one.text for one in spoken],
                features=self.model.spec.features,
                extra=functools.partial(_standardised, run.fitted.extras, arrays),
            )
            inputs = {c.kind: read_inputs(c.kind, source) for c in run.weights.classifiers}
            found.append(run.weights.probabilities(inputs))
        return np.stack(found)


def _standardised(
    fitted: Mapping[str, FittedExtra], arrays: Mapping[str, np.ndarray], name: str
) -> np.ndarray:
    return fitted[name].standardised(arrays[name])


def _by_speaker(frames: Sequence[np.ndarray], spoken: Sequence[Spoken]) -> list[np.ndarray]:
    """(T, F) frames of each recording, normalised over all recordings of its speaker."""
    found = list(frames)
    for places in speakers_of(spoken).values():
        wide = np.concatenate([frames[i] for i in places]).astype(np.float64)
        mean, squares = wide.mean(axis=0), np.square(wide).mean(axis=0)
        deviation = np.sqrt(np.maximum(squares - mean**2, SMALLEST_DEVIATION**2))
        for place in places:
            found[place] = normalised(frames[place], mean, deviation)
    return found
