"""The utterances of a fold as batches: normalised frames, ids of words and of phonemes."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mlt_ray.batch import Batch, InputSizes
from mlt_ray.corpus.folds import Fold
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.encoders.folder import encoder_folder, folders_in
from mlt_ray.encoders.opening import encoder_shape
from mlt_ray.features.batch_order import evaluation_batches, split_batch, training_batches
from mlt_ray.features.class_weights import balanced_weights
from mlt_ray.features.extract import FeatureCache, hop_ms_of
from mlt_ray.features.extras import FoldInput, load_extras
from mlt_ray.features.fitted import (
    UNKNOWN_ID,
    FittedExtra,
    FittedInputs,
    fit_inputs,
    mean_and_deviation,
    normalised,
    speakers_of,
    symbol_ids,
)
from mlt_ray.features.frames import average_frames
from mlt_ray.spec import ClassWeights, FeatureSpec, Run
from mlt_ray.storage.store import Store

KEPT_BYTES = 512 * 2**20
"""The frames of a fold stay in memory after their first use if all of them fit into this."""


class Text(NamedTuple):
    """One utterance: (W,) word ids and (W, P) phoneme ids."""

    words: np.ndarray
    phonemes: np.ndarray


class FoldData:
    """One fold of a corpus, ready for a model.

    `parts` maps train, dev and test to indices of the corpus's utterances. `num_steps` is the
    length of every utterance of the corpus. Batches have weights where `weighing` is ``balanced``.
    Frames are raw unless it `normalises` them, and start `hop_ms` after one another (None: as
    `spec` says). The encoders' folders and `frame_layers` are for `InputSizes`.
    """

    def __init__(
        self,
        corpus: Corpus,
        fold: Fold,
        spec: FeatureSpec,
        cache: FeatureCache,
        extras: Mapping[str, FoldInput] = MappingProxyType({}),
        encoder: Path | None = None,
        weighing: ClassWeights = "none",
        speech_encoder: Path | None = None,
        frame_layers: int = 1,
        normalises: bool = True,
        hop_ms: float | None = None,
    ) -> None:
        self.corpus = corpus
        self._encoder = encoder
        self._speech_encoder = speech_encoder
        self._frame_layers = frame_layers
        self._normalises = normalises
        self._step_ms = (hop_ms or spec.frames.hop_ms) * spec.frames_per_step
        self._spec = spec
        self._extras = extras
        self.parts = {"train": fold.train, "dev": fold.dev, "test": fold.test}
        self._class_weights: Tensor | None = None
        if weighing == "balanced":
            self._class_weights = balanced_weights(self.labels("train"), len(corpus.classes))
        self._cache = cache
        training = (corpus.utterances[i] for i in fold.train)
        self.fitted: FittedInputs = fit_inputs(training, cache, spec.max_words)
        self._of_speakers: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        if normalises and spec.standardise == "speaker":
            self._of_speakers = {
                speaker: mean_and_deviation([corpus.utterances[i] for i in places], cache)
                for speaker, places in speakers_of(corpus.utterances).items()
            }
        self._phoneme_ids = symbol_ids(self.fitted.phonemes)
        self._word_ids = symbol_ids(self.fitted.words)
        self._vector_ids = self._ids_of_vectors()
        self._texts = [self._ids_of_text(u.text) for u in corpus.utterances]
        rows = [cache.frames.rows(u.audio_sha256) for u in corpus.utterances]
        longest = spec.max_steps or max(rows)
        self.num_steps = np.asarray([min(-(-r // spec.frames_per_step), longest) for r in rows])
        frame_bytes = 4 * len(self.fitted.mean)  # float32
        self._keep = int(self.num_steps.sum()) * frame_bytes <= KEPT_BYTES
        self._kept: dict[int, np.ndarray] = {}

    @classmethod
    def of_run(cls, run: Run, corpus: Corpus, fold: Fold, store: Store) -> "FoldData":
        """The fold of a run, from a store that holds all its features and encoders."""
        features, model = run.spec.features, run.spec.model
        extras = load_extras(corpus, fold, model.extras, store, features)
        encoder = encoder_folder(store, model.text_encoder) if model.text_encoder else None
        frame_layers, heard = 1, features.frames.encoder
        if heard is not None and features.frames.layer == "weighted":
            frame_layers += encoder_shape(encoder_folder(store, heard)).num_layers
        trained = None
        if model.speech_encoder is not None and not model.normalises_frames:
            trained = encoder_folder(store, model.speech_encoder)
        return cls(
            corpus,
            fold,
            features,
            FeatureCache.open(store, features),
            extras,
            encoder,
            run.spec.training.class_weights,
            speech_encoder=trained,
            frame_layers=frame_layers,
            normalises=model.normalises_frames,
            hop_ms=hop_ms_of(features.frames, folders_in(store)),
        )

    @property
    def num_learned_words(self) -> int:
        """Word ids below this have learned vectors; those from it on have pre-trained ones."""
        return len(self._word_ids) + UNKNOWN_ID + 1

    @property
    def all_fitted(self) -> FittedInputs:
        """What the fold has fitted, and all else that its network was built for."""
        return dataclasses.replace(
            self.fitted,
            vectors=tuple(self._vector_ids),
            frame_layers=self._frame_layers,
            num_speech_layers=self._num_speech_layers,
            extras={k: FittedExtra(dim=x.dim, moments=x.moments) for k, x in self._extras.items()},
        )

    @property
    def sizes(self) -> InputSizes:
        """The sizes that a model is built for, and the word vectors of the corpus."""
        words = list(self._vector_ids)
        vectors = [self._cache.vectors[w][0] for w in words]
        dim = self._cache.vectors[next(iter(words))].shape[1] if words else 1
        return InputSizes(
            frame_dim=len(self.fitted.mean),
            num_phonemes=len(self._phoneme_ids) + 2,
            num_learned_words=self.num_learned_words,
            word_vectors=torch.from_numpy(np.array(vectors, np.float32).reshape(-1, dim)),
            extras={name: extra.dim for name, extra in self._extras.items()},
            encoder=self._encoder,
            num_classes=len(self.corpus.classes),
            frame_layers=self._frame_layers,
            num_speech_layers=self._num_speech_layers,
            speech_encoder=self._speech_encoder,
        )

    @property
    def _num_speech_layers(self) -> int:
        """How many layers the extra input of a speech encoder has; 0 if it is absent or has one."""
        layers = self._extras.get("speech_layers")
        one = layers.batch([0]) if layers is not None else torch.empty(1, 0)
        return one.shape[1] if one.dim() == 3 else 0

    def labels(self, part: str) -> np.ndarray:
        """(N,) class indices of a part, in its order."""
        return np.asarray([self.corpus.labels[i] for i in self.parts[part]])

    def extra(self, name: str, part: str) -> np.ndarray:
        """(N, …) array of one extra input for a part, in its order."""
        return self._extras[name].batch(self.parts[part]).numpy()

    def training_batches(
        self,
        batch_size: int,
        bucket_batches: int,
        rng: np.random.Generator,
        batch_seconds: float | None = None,
    ) -> list[np.ndarray]:
        """One epoch of the training part; see `batch_order.training_batches`."""
        most = None if batch_seconds is None else int(1000 * batch_seconds / self._step_ms)
        train = self.parts["train"]
        return training_batches(train, self.num_steps, batch_size, bucket_batches, rng, most)

    def evaluation_order(self, part: str) -> list[np.ndarray]:
        """Every index of a part once, in batches, the longest utterances first."""
        return evaluation_batches(self.parts[part], self.num_steps)

    def pieces(self, indices: np.ndarray, most_pairs: int) -> list[np.ndarray]:
        """A batch in parts that fit into memory; see `batch_order.split_batch`."""
        return split_batch(indices, self.num_steps, most_pairs)

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """The utterances at `indices` of the corpus, padded with zeros."""
        frames = [self.frames(int(i)) for i in indices]
        texts = [self._texts[i] for i in indices]
        lengths = [len(f) for f in frames]
        num_words = [len(t.words) for t in texts]
        padded = np.zeros((len(frames), max(lengths), frames[0].shape[1]), np.float32)
        words = np.zeros((len(texts), max(num_words)), np.int64)
        widest = max(t.phonemes.shape[1] for t in texts)
        phonemes = np.zeros((*words.shape, widest), np.int64)
        for n, (frame, text) in enumerate(zip(frames, texts, strict=True)):
            padded[n, : len(frame)] = frame
            words[n, : len(text.words)] = text.words
            phonemes[n, : len(text.words), : text.phonemes.shape[1]] = text.phonemes
        labels = [self.corpus.labels[i] for i in indices]
        return Batch(
            utterances=torch.as_tensor(np.asarray(indices, np.int64)),
            labels=torch.tensor(labels),
            frames=torch.from_numpy(padded),
            num_frames=torch.tensor(lengths),
            words=torch.from_numpy(words),
            num_words=torch.tensor(num_words),
            phonemes=torch.from_numpy(phonemes),
            extras=self.extras(indices),
            weights=self.weights(indices),
        )

    def text(self, index: int) -> Text:
        """The word and phoneme ids of an utterance."""
        return self._texts[index]

    def extras(self, indices: Sequence[int] | np.ndarray) -> dict[str, Tensor]:
        """The extra inputs (B, …) of the utterances at `indices` of the corpus, by name."""
        return {name: extra.batch(indices) for name, extra in self._extras.items()}

    def weights(self, indices: Sequence[int] | np.ndarray) -> Tensor | None:
        """(B,) float32 weights of the utterances at `indices`; None if classes are not weighed."""
        if self._class_weights is None:
            return None
        return self._class_weights[[self.corpus.labels[i] for i in indices]]

    def frames(self, index: int) -> np.ndarray:
        """(T, F) float32, normalised if the model asks for it, means of `frames_per_step`."""
        if index in self._kept:
            return self._kept[index]
        utterance = self.corpus.utterances[index]
        frames = self._normalised(self._cache.frames[utterance.audio_sha256], utterance.speaker)
        frames = average_frames(frames, self._spec.frames_per_step)
        frames = frames[: self._spec.max_steps]
        if self._keep:
            self._kept[index] = frames
        return frames

    def _normalised(self, raw: np.ndarray, speaker: str) -> np.ndarray:
        if not self._normalises:
            return raw.astype(np.float32)
        if self._of_speakers:
            return normalised(raw, *self._of_speakers[speaker])
        return self.fitted.normalise(raw)

    def _ids_of_vectors(self) -> dict[str, int]:
        """The ids of all words of the corpus with a vector; they start at `num_learned_words`."""
        cache, first = self._cache, self.num_learned_words
        texts = {u.text for u in self.corpus.utterances}
        words = {w for text in texts for w, _ in cache.words_of(text)}
        known = sorted(w for w in words if cache.vectors.rows(w))
        return {w: n for n, w in enumerate(known, start=first)}

    def _ids_of_text(self, text: str) -> Text:
        pairs = self._cache.words_of(text)[: self._spec.max_words]
        words = [self._vector_ids.get(w, self._word_ids.get(w, UNKNOWN_ID)) for w, _ in pairs]
        phonemes = np.zeros((len(pairs), max(len(p) for _, p in pairs)), np.int64)
        for n, (_, symbols) in enumerate(pairs):
            phonemes[n, : len(symbols)] = [self._phoneme_ids.get(s, UNKNOWN_ID) for s in symbols]
        return Text(np.asarray(words, np.int64), phonemes)
