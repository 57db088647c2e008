"""Extra inputs: computed, cached and loaded only for runs of the systems that read them.

An `InputKind` computes one array for each utterance, once for all runs. A `FoldInput` makes the
batches of one fold from these arrays.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mlt_ray.corpus.folds import Fold
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.encoders.folder import encoder_folder
from mlt_ray.encoders.speech import speech_vectors
from mlt_ray.encoders.text import cls_vectors, padded, padding_id, sentence_vectors, word_pieces
from mlt_ray.features.alignment import WordSpans, alignment_key, token_times
from mlt_ray.features.cache import Cache, FeatureProgress, compute_missing
from mlt_ray.features.egemaps import egemaps_vectors
from mlt_ray.features.extract import FeatureCache, cache_digest, text_sha256
from mlt_ray.features.prosody import prosody_vectors
from mlt_ray.spec import ExtraInput, FeatureSpec
from mlt_ray.storage.store import Store


class FoldInput(Protocol):
    """One extra input of a fold. `dim` is the number of values in a batch's last axis."""

    dim: int

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """(B, …) for the utterances at `indices` of the corpus."""


Arrays = Sequence[np.ndarray]
"""The arrays of one extra input, in the order of the corpus."""


@dataclass(frozen=True, kw_only=True)
class InputKind:
    """How one kind of extra input is computed, cached and used.

    `key` gives an utterance's key in the cache: a digest of what its array is computed from.
    `compute` yields the arrays (rows, …) of utterances, in their order. `use` turns all arrays of
    a corpus into the input of a fold. Both also get the extra input, the store and the
    specification of the features.
    """

    key: Callable[[Utterance], str]
    compute: Callable[[Sequence[Utterance], ExtraInput, Store, FeatureSpec], Iterator[np.ndarray]]
    use: Callable[[Arrays, Fold, ExtraInput, Store, FeatureSpec], FoldInput]


def _audio_key(utterance: Utterance) -> str:
    return utterance.audio_sha256


def _text_key(utterance: Utterance) -> str:
    return text_sha256(utterance.text)


def _audio(utterances: Sequence[Utterance]) -> list[Path]:
    return [u.audio for u in utterances]


def _texts(utterances: Sequence[Utterance]) -> list[str]:
    return [u.text for u in utterances]


def _encoder(extra: ExtraInput, store: Store) -> Path:
    return encoder_folder(store, extra.encoder)


INPUTS: dict[str, InputKind] = {
    "alignment": InputKind(
        key=alignment_key,
        compute=lambda utterances, _, store, spec: token_times(
            utterances, FeatureCache.open(store, spec)
        ),
        use=lambda arrays, fold, _, store, spec: WordSpans(arrays, spec),
    ),
    "prosody": InputKind(
        key=_audio_key,
        compute=lambda utterances, *_: prosody_vectors(_audio(utterances)),
        use=lambda arrays, fold, *_: StandardisedVectors(arrays, fold),
    ),
    "speech_embedding": InputKind(
        key=_audio_key,
        compute=lambda utterances, extra, store, _: speech_vectors(
            _encoder(extra, store), _audio(utterances)
        ),
        use=lambda arrays, fold, *_: StandardisedVectors(arrays, fold),
    ),
    "pieces": InputKind(
        key=_text_key,
        compute=lambda utterances, extra, store, _: word_pieces(
            _encoder(extra, store), _texts(utterances)
        ),
        use=lambda arrays, _, extra, store, spec: Pieces(
            arrays, padding_id(_encoder(extra, store))
        ),
    ),
    "text_embedding": InputKind(
        key=_text_key,
        compute=lambda utterances, extra, store, _: cls_vectors(
            _encoder(extra, store), _texts(utterances)
        ),
        use=lambda arrays, *_: PlainVectors(arrays),
    ),
    "sentence_embedding": InputKind(
        key=_text_key,
        compute=lambda utterances, extra, store, _: sentence_vectors(
            _encoder(extra, store), _texts(utterances)
        ),
        use=lambda arrays, *_: PlainVectors(arrays),
    ),
    "egemaps": InputKind(
        key=_audio_key,
        compute=lambda utterances, *_: egemaps_vectors(_audio(utterances)),
        use=lambda arrays, *_: PlainVectors(arrays),
    ),
}
"""Every extra input that a model can read, by name."""


def extract_extra(
    corpus: Corpus,
    extra: ExtraInput,
    store: Store,
    spec: FeatureSpec,
    progress: FeatureProgress,
) -> int:
    """Compute the arrays of one extra input that the cache lacks; returns how many they were."""
    kind, cache = INPUTS[extra.name], open_cache(extra, store, spec)
    by_key = {kind.key(u): u for u in corpus.utterances}
    keys = cache.missing(by_key)

    def compute() -> Iterator[np.ndarray]:
        return kind.compute([by_key[k] for k in keys], extra, store, spec)

    return compute_missing(extra.name, keys, compute, cache.add, progress)


def load_extras(
    corpus: Corpus, fold: Fold, extras: Sequence[ExtraInput], store: Store, spec: FeatureSpec
) -> dict[str, FoldInput]:
    """A fold's extra inputs by name, from the cache."""
    inputs = {}
    for extra in extras:
        kind, cache = INPUTS[extra.name], open_cache(extra, store, spec)
        arrays = [cache[kind.key(u)] for u in corpus.utterances]
        inputs[extra.name] = kind.use(arrays, fold, extra, store, spec)
    return inputs


def open_cache(extra: ExtraInput, store: Store, spec: FeatureSpec) -> Cache:
    """The cache of one extra input, as the libraries of `spec` compute it."""
    digest = cache_digest(extra.name, extra.encoder, spec)
    return Cache(store.features(extra.name, digest), store.push)


class PlainVectors:
    """One vector for each utterance, as it was computed."""

    def __init__(self, arrays: Arrays) -> None:
        self._values = torch.from_numpy(np.concatenate(arrays).astype(np.float32))
        self.dim = self._values.shape[1]

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """(B, dim) float32."""
        return self._values[np.asarray(indices)]


class StandardisedVectors:
    """One vector for each utterance, with zero mean and unit deviation over the training part."""

    def __init__(self, arrays: Arrays, fold: Fold) -> None:
        values = np.concatenate(arrays).astype(np.float32)
        training = values[list(fold.train)]
        deviation = np.maximum(training.std(axis=0), 1e-6)
        self._values = torch.from_numpy((values - training.mean(axis=0)) / deviation)
        self.dim = values.shape[1]

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """(B, dim) float32."""
        return self._values[np.asarray(indices)]


class Pieces:
    """The word-piece ids of each text, padded with the encoder's own id for padding."""

    dim = 1

    def __init__(self, arrays: Arrays, padding: int) -> None:
        self._arrays = arrays
        self._padding = padding

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """(B, L) int64."""
        return padded([self._arrays[int(i)] for i in indices], self._padding)
