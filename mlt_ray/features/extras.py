"""Extra inputs: computed, cached and loaded only for runs of the systems that read them.

An `InputKind` computes one array for each utterance, once for all runs. A `FoldInput` makes the
batches of one fold from these arrays.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from mlt_ray.corpus.folds import Fold
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.encoders.embedding import Embedder, Embedding, embed_files, layer_index
from mlt_ray.encoders.folder import encoder_folder
from mlt_ray.encoders.text import (
    cls_vectors,
    mean_vectors,
    padded,
    padding_id,
    sentence_vectors,
    word_pieces,
)
from mlt_ray.features.alignment import WordSpans, alignment_key, token_times
from mlt_ray.features.cache import Cache, FeatureProgress, check_finite, compute_missing
from mlt_ray.features.egemaps import egemaps_vectors
from mlt_ray.features.extract import FeatureCache, cache_digest, heard_by, hop_ms_of, text_sha256
from mlt_ray.features.fitted import Standardise, standardising
from mlt_ray.features.prosody import prosody_vectors
from mlt_ray.spec import ExtraInput, FeatureSpec, Layer
from mlt_ray.storage.store import Store


class FoldInput(Protocol):
    """One extra input of a fold. `dim` is the number of values in a batch's last axis."""

    dim: int

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """(B, …) for the utterances at `indices` of the corpus."""


Arrays = Sequence[np.ndarray]
"""The arrays of one extra input, in the order of the corpus."""


class Sources(NamedTuple):
    """What arrays are computed from besides utterances; `embed` computes those of an encoder."""

    store: Store
    spec: FeatureSpec
    embed: Embedder


@dataclass(frozen=True, kw_only=True)
class InputKind:
    """How one kind of extra input is computed, cached and used.

    `key` gives an utterance's key in the cache: a digest of what its array is computed from.
    `compute` yields the arrays (rows, …) of utterances, in their order. `use` turns all arrays of
    a corpus into the input of a fold, and may standardise them. Both also get the extra input, and
    the store and the specification of the features.
    """

    key: Callable[[Utterance], str]
    compute: Callable[[Sequence[Utterance], ExtraInput, Sources], Iterator[np.ndarray]]
    use: Callable[[Arrays, Standardise, ExtraInput, Store, FeatureSpec], FoldInput]


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
        compute=lambda utterances, _, sources: token_times(
            utterances, FeatureCache.open(sources.store, sources.spec)
        ),
        use=lambda arrays, _, extra, store, spec: WordSpans(
            arrays, spec, hop_ms_of(spec.frames, store)
        ),
    ),
    "prosody": InputKind(
        key=_audio_key,
        compute=lambda utterances, *_: prosody_vectors(_audio(utterances)),
        use=lambda arrays, standardise, *_: Vectors(standardise(joined(arrays))),
    ),
    "speech_layers": InputKind(
        key=_audio_key,
        compute=lambda utterances, extra, sources: sources.embed(
            _encoder(extra, sources.store),
            _audio(utterances),
            Embedding(pad_to_30s=sources.spec.pad_to_30s),
        ),
        use=lambda arrays, standardise, extra, *_: Vectors(
            standardise(chosen_layers(arrays, extra.layer))
        ),
    ),
    "pieces": InputKind(
        key=_text_key,
        compute=lambda utterances, extra, sources: word_pieces(
            _encoder(extra, sources.store), _texts(utterances)
        ),
        use=lambda arrays, _, extra, store, spec: Pieces(
            arrays, padding_id(_encoder(extra, store))
        ),
    ),
    "text_embedding": InputKind(
        key=_text_key,
        compute=lambda utterances, extra, sources: cls_vectors(
            _encoder(extra, sources.store), _texts(utterances)
        ),
        use=lambda arrays, *_: Vectors(joined(arrays)),
    ),
    "text_mean": InputKind(
        key=_text_key,
        compute=lambda utterances, extra, sources: mean_vectors(
            _encoder(extra, sources.store), _texts(utterances)
        ),
        use=lambda arrays, *_: Vectors(joined(arrays)),
    ),
    "sentence_embedding": InputKind(
        key=_text_key,
        compute=lambda utterances, extra, sources: sentence_vectors(
            _encoder(extra, sources.store), _texts(utterances)
        ),
        use=lambda arrays, *_: Vectors(joined(arrays)),
    ),
    "egemaps": InputKind(
        key=_audio_key,
        compute=lambda utterances, *_: egemaps_vectors(_audio(utterances)),
        use=lambda arrays, standardise, extra, store, spec: Vectors(
            standardise(joined(arrays)) if spec.standardise == "speaker" else joined(arrays)
        ),
    ),
}
"""Every extra input that a model can read, by name."""


def extract_extra(
    corpus: Corpus,
    extra: ExtraInput,
    store: Store,
    spec: FeatureSpec,
    progress: FeatureProgress,
    embed: Embedder = embed_files,
) -> int:
    """Compute the arrays of one extra input that the cache lacks; returns how many they were."""
    kind, cache = INPUTS[extra.name], open_cache(extra, store, spec)
    by_key = {kind.key(u): u for u in corpus.utterances}
    keys = cache.missing(by_key)

    def compute() -> Iterator[np.ndarray]:
        return kind.compute([by_key[k] for k in keys], extra, Sources(store, spec, embed))

    def name_of(key: str) -> str:
        return _named(by_key[key], extra)

    what = extra.name
    if what == "speech_layers":
        what += f" of {heard_by(extra.encoder, spec)}"
    return compute_missing(what, keys, compute, cache.add, progress, name_of=name_of)


def _named(utterance: Utterance, extra: ExtraInput) -> str:
    """The utterance, and the encoder if one computes the input, for messages."""
    return f"utterance {utterance.id}" + (f" by {extra.encoder}" if extra.encoder else "")


def load_extras(
    corpus: Corpus, fold: Fold, extras: Sequence[ExtraInput], store: Store, spec: FeatureSpec
) -> dict[str, FoldInput]:
    """A fold's extra inputs by name, from the cache.

    Raises `UserError` for one that is not finite, which an older version may have left there.
    """
    inputs = {}
    standardise = standardising(corpus, fold, spec.standardise)
    for extra in extras:
        kind, cache = INPUTS[extra.name], open_cache(extra, store, spec)
        arrays = [cache[kind.key(u)] for u in corpus.utterances]
        for utterance, array in zip(corpus.utterances, arrays, strict=True):
            check_finite(array, f"{extra.name} of {_named(utterance, extra)}")
        inputs[extra.name] = kind.use(arrays, standardise, extra, store, spec)
    return inputs


def open_cache(extra: ExtraInput, store: Store, spec: FeatureSpec) -> Cache:
    """The cache of one extra input, as the libraries of `spec` compute it."""
    digest = cache_digest(extra.name, extra.encoder, spec)
    return Cache(store.features(extra.name, digest), store.push)


def joined(arrays: Arrays) -> np.ndarray:
    """(N, D) float32 of N arrays of one row each."""
    return np.concatenate(arrays).astype(np.float32)


def chosen_layers(arrays: Arrays, layer: Layer) -> np.ndarray:
    """N arrays (S, D) of all layers → (N, D) of one, or (N, S, D) where ``weighted`` reads all."""
    if layer == "weighted":
        return np.stack(arrays)
    place = layer_index(layer, len(arrays[0]))
    return np.stack([array[place] for array in arrays])


class Vectors:
    """The values of each utterance, (N, …, dim)."""

    def __init__(self, values: np.ndarray) -> None:
        self._values = torch.from_numpy(values)
        self.dim = values.shape[-1]

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """(B, …, dim) float32."""
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
