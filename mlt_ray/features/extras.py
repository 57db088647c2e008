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

from mlt_ray.corpus.audio import Sound
from mlt_ray.corpus.folds import Fold
from mlt_ray.corpus.utterance import Corpus, Spoken, Utterance
from mlt_ray.encoders.embedding import Embedder, Embedding, embed_files, layer_index
from mlt_ray.encoders.folder import EncoderFolders, folders_in
from mlt_ray.encoders.text import (
    Opened,
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
from mlt_ray.features.extract import cache_digest, heard_by, hop_ms_of, text_sha256
from mlt_ray.features.fitted import Moments, Standardise, standardising
from mlt_ray.features.prosody import prosody_vectors
from mlt_ray.spec import ExtraInput, FeatureSpec, Layer
from mlt_ray.storage.store import Store


class FoldInput(Protocol):
    """One extra input of a fold.

    `dim` is the number of values in a batch's last axis. `moments` are the (…, dim) mean and
    deviation that were taken out of it; None if it is read as it was computed, or standardised
    speaker by speaker.
    """

    dim: int
    moments: Moments | None

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """(B, …) for the utterances at `indices` of the corpus."""


Arrays = Sequence[np.ndarray]
"""The arrays of one extra input, in the order of the corpus."""


class Sources(NamedTuple):
    """What arrays are computed with; `embed` computes those of a speech encoder.

    `device` computes those of a text encoder (None: a GPU if there is one), which stays open where
    there is `opened`.
    """

    folder_of: EncoderFolders
    spec: FeatureSpec
    embed: Embedder = embed_files
    device: torch.device | None = None
    opened: Opened | None = None


@dataclass(frozen=True, kw_only=True)
class InputKind:
    """How one kind of extra input is computed, cached and used.

    `key` gives an utterance's key in the cache: a digest of what its array is computed from.
    `compute` yields the arrays (rows, …) of utterances, in their order. `use` turns all arrays of
    a corpus into the input of a fold, and may standardise them. Both also get the extra input, and
    what it is computed with.
    """

    key: Callable[[Utterance], str]
    compute: Callable[[Sequence[Spoken], ExtraInput, Sources], Iterator[np.ndarray]]
    use: Callable[[Arrays, Standardise, ExtraInput, Sources], FoldInput]


def _audio_key(utterance: Utterance) -> str:
    return utterance.audio_sha256


def _text_key(utterance: Utterance) -> str:
    return text_sha256(utterance.text)


def _audio(utterances: Sequence[Spoken]) -> list[Sound]:
    return [u.audio for u in utterances]


def _texts(utterances: Sequence[Spoken]) -> list[str]:
    return [u.text for u in utterances]


def _encoder(extra: ExtraInput, sources: Sources) -> Path:
    return sources.folder_of(extra.encoder)


INPUTS: dict[str, InputKind] = {
    "alignment": InputKind(
        key=alignment_key,
        compute=lambda utterances, _, sources: token_times(utterances, sources.spec.language),
        use=lambda arrays, _, extra, sources: WordSpans(
            arrays, sources.spec, hop_ms_of(sources.spec.frames, sources.folder_of)
        ),
    ),
    "prosody": InputKind(
        key=_audio_key,
        compute=lambda utterances, *_: prosody_vectors(_audio(utterances)),
        use=lambda arrays, standardise, *_: standardised(joined(arrays), standardise),
    ),
    "speech_layers": InputKind(
        key=_audio_key,
        compute=lambda utterances, extra, sources: sources.embed(
            _encoder(extra, sources),
            _audio(utterances),
            Embedding(pad_to_30s=sources.spec.pad_to_30s),
        ),
        use=lambda arrays, standardise, extra, _: standardised(
            chosen_layers(arrays, extra.layer), standardise
        ),
    ),
    "pieces": InputKind(
        key=_text_key,
        compute=lambda utterances, extra, sources: word_pieces(
            _encoder(extra, sources), _texts(utterances), sources.opened
        ),
        use=lambda arrays, _, extra, sources: Pieces(arrays, padding_id(_encoder(extra, sources))),
    ),
    "text_embedding": InputKind(
        key=_text_key,
        compute=lambda utterances, extra, sources: cls_vectors(
            _encoder(extra, sources), _texts(utterances), sources.device, sources.opened
        ),
        use=lambda arrays, *_: Vectors(joined(arrays)),
    ),
    "text_mean": InputKind(
        key=_text_key,
        compute=lambda utterances, extra, sources: mean_vectors(
            _encoder(extra, sources), _texts(utterances), sources.device, sources.opened
        ),
        use=lambda arrays, *_: Vectors(joined(arrays)),
    ),
    "sentence_embedding": InputKind(
        key=_text_key,
        compute=lambda utterances, extra, sources: sentence_vectors(
            _encoder(extra, sources), _texts(utterances), sources.device, sources.opened
        ),
        use=lambda arrays, *_: Vectors(joined(arrays)),
    ),
    "egemaps": InputKind(
        key=_audio_key,
        compute=lambda utterances, *_: egemaps_vectors(_audio(utterances)),
        use=lambda arrays, standardise, extra, sources: (
            standardised(joined(arrays), standardise)
            if sources.spec.standardise == "speaker"
            else Vectors(joined(arrays))
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
        sources = Sources(folders_in(store), spec, embed)
        return kind.compute([by_key[k] for k in keys], extra, sources)

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
    inputs, sources = {}, Sources(folders_in(store), spec)
    for extra in extras:
        kind, cache = INPUTS[extra.name], open_cache(extra, store, spec)
        arrays = [cache[kind.key(u)] for u in corpus.utterances]
        for utterance, array in zip(corpus.utterances, arrays, strict=True):
            check_finite(array, f"{extra.name} of {_named(utterance, extra)}")
        standardise = standardising(corpus, fold, spec.standardise)
        inputs[extra.name] = kind.use(arrays, standardise, extra, sources)
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


def standardised(values: np.ndarray, standardise: Standardise) -> "Vectors":
    """The (N, …, dim) values, standardised, as the input of a fold."""
    found = standardise(values)
    return Vectors(found, standardise.moments)


class Vectors:
    """The values of each utterance, (N, …, dim)."""

    def __init__(self, values: np.ndarray, moments: Moments | None = None) -> None:
        self._values = torch.from_numpy(values)
        self.dim = values.shape[-1]
        self.moments = moments

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """(B, …, dim) float32."""
        return self._values[np.asarray(indices)]


class Pieces:
    """The word-piece ids of each text, padded with the encoder's own id for padding."""

    dim = 1
    moments: Moments | None = None

    def __init__(self, arrays: Arrays, padding: int) -> None:
        self._arrays = arrays
        self._padding = padding

    def batch(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """(B, L) int64."""
        return padded([self._arrays[int(i)] for i in indices], self._padding)
