"""Inputs that only some systems read: computed, cached and loaded only where one of them runs.

A `Source` computes one array an utterance, once for all runs; an `Extra` is what a fold's batches
take from these arrays.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
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
from mlt_ray.features.alignment import WordSpans, alignment_key, spoken
from mlt_ray.features.cache import Cache
from mlt_ray.features.egemaps import egemaps_vectors
from mlt_ray.features.extract import SEGMENT, FeatureCache, text_key
from mlt_ray.features.prosody import prosody_vectors
from mlt_ray.spec import FeatureSpec, Need, digest_of
from mlt_ray.storage.store import Store


class Extra(Protocol):
    """One extra input of a fold. `dim` is the number of values in a batch's last axis."""

    dim: int

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """(B, …) for the utterances at `indices` of the corpus."""


@dataclass(frozen=True)
class Context:
    """What a source may read besides the utterance."""

    need: Need
    store: Store
    spec: FeatureSpec


Arrays = Sequence[np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Source:
    """How one kind of extra input is computed, cached and used.

    `key` names what an utterance's array is computed from; `compute` yields the arrays (rows, …)
    in the order of the utterances; `use` makes the fold's `Extra` of all arrays of a corpus.
    """

    key: Callable[[Utterance], str]
    compute: Callable[[Sequence[Utterance], Context], Iterator[np.ndarray]]
    use: Callable[[Arrays, Fold, Context], Extra]


def _encoder(context: Context) -> Path:
    return encoder_folder(context.store, context.need.source)


SOURCES: dict[str, Source] = {
    "alignment": Source(
        key=alignment_key,
        compute=lambda some, context: spoken(some, FeatureCache.open(context.store, context.spec)),
        use=lambda arrays, fold, context: WordSpans(arrays, context.spec),
    ),
    "prosody": Source(
        key=lambda utterance: utterance.audio_sha256,
        compute=lambda some, context: prosody_vectors([u.audio for u in some]),
        use=lambda arrays, fold, context: VectorExtra(arrays, fold),
    ),
    "speech_embedding": Source(
        key=lambda utterance: utterance.audio_sha256,
        compute=lambda some, context: speech_vectors(_encoder(context), [u.audio for u in some]),
        use=lambda arrays, fold, context: VectorExtra(arrays, fold),
    ),
    "pieces": Source(
        key=lambda utterance: text_key(utterance.text),
        compute=lambda some, context: word_pieces(_encoder(context), [u.text for u in some]),
        use=lambda arrays, fold, context: Pieces(arrays, padding_id(_encoder(context))),
    ),
    "text_embedding": Source(
        key=lambda utterance: text_key(utterance.text),
        compute=lambda some, context: cls_vectors(_encoder(context), [u.text for u in some]),
        use=lambda arrays, fold, context: PlainVectors(arrays),
    ),
    "sentence_embedding": Source(
        key=lambda utterance: text_key(utterance.text),
        compute=lambda some, context: sentence_vectors(_encoder(context), [u.text for u in some]),
        use=lambda arrays, fold, context: PlainVectors(arrays),
    ),
    "egemaps": Source(
        key=lambda utterance: utterance.audio_sha256,
        compute=lambda some, context: egemaps_vectors([u.audio for u in some]),
        use=lambda arrays, fold, context: PlainVectors(arrays),
    ),
}


def extract_extra(
    corpus: Corpus, context: Context, progress: Callable[[str, int, int], None]
) -> int:
    """Compute what the cache lacks of one extra input; returns how many arrays that was."""
    need = context.need
    source, cache = SOURCES[need.name], open_cache(context)
    by_key = {source.key(u): u for u in corpus.utterances}
    keys = cache.missing(by_key)
    if not keys:
        return 0
    # Asked once for all: what computes the arrays may take seconds to load.
    arrays = source.compute([by_key[k] for k in keys], context)
    for start in range(0, len(keys), SEGMENT):
        progress(need.name, start, len(keys))
        chunk = keys[start : start + SEGMENT]
        cache.add(dict(zip(chunk, islice(arrays, len(chunk)), strict=True)))
    progress(need.name, len(keys), len(keys))
    return len(keys)


def load_extras(
    corpus: Corpus, fold: Fold, needs: Sequence[Need], store: Store, spec: FeatureSpec
) -> Mapping[str, Extra]:
    """A fold's extra inputs by name, from the cache."""
    extras = {}
    for need in needs:
        context = Context(need, store, spec)
        source, cache = SOURCES[need.name], open_cache(context)
        arrays = [cache[source.key(u)] for u in corpus.utterances]
        extras[need.name] = source.use(arrays, fold, context)
    return extras


def open_cache(context: Context) -> Cache:
    """The cache of one extra input from one source."""
    need = context.need
    store = context.store
    return Cache(store.features(need.name, digest_of([*need])), store.push)


class PlainVectors:
    """One vector an utterance, as it was computed."""

    def __init__(self, arrays: Arrays) -> None:
        self._values = torch.from_numpy(np.concatenate(arrays).astype(np.float32))
        self.dim = self._values.shape[1]

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """(B, dim) float32."""
        return self._values[np.asarray(indices)]


class VectorExtra:
    """One vector an utterance, of zero mean and unit deviation over the training part."""

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
    """Word-piece ids of a corpus, padded with the encoder's id for padding."""

    dim = 1

    def __init__(self, arrays: Sequence[np.ndarray], padding: int) -> None:
        self._arrays = arrays
        self._padding = padding

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """(B, L) int64."""
        return padded([self._arrays[int(i)] for i in indices], self._padding)
