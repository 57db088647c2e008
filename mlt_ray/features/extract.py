"""Computes the features that a corpus lacks in the cache: frames, phonemes, word vectors."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, Sound, each_recording
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.corpus.words import tokenize
from mlt_ray.encoders.folder import EncoderFolders, encoder_name, folders_in
from mlt_ray.features.cache import SEGMENT, Cache, FeatureProgress, compute_missing
from mlt_ray.features.frames import compute_frames
from mlt_ray.features.pronunciation import Phonemizer
from mlt_ray.features.vectors import WordVectors
from mlt_ray.libraries import BY_SPEECH_ENCODERS, IN_OTHER_LANGUAGES, of_kind
from mlt_ray.spec import FeatureSpec, FramesSpec, digest_of
from mlt_ray.storage.store import Store

if TYPE_CHECKING:
    from mlt_ray.encoders.embedding import Embedder

Words = list[tuple[str, list[str]]]
"""The words of a text, each with its phonemes."""


@dataclass(frozen=True)
class FeatureCache:
    """The caches of one FeatureSpec.

    `frames` and `moments` (sums for the normalisation) have the recording's digest as key,
    `tokens` (words with their phonemes) the text's, and `vectors` the word itself.
    """

    frames: Cache
    moments: Cache
    tokens: Cache
    vectors: Cache

    @classmethod
    def open(cls, store: Store, spec: FeatureSpec) -> "FeatureCache":
        """The caches of a specification that planning has filled in."""
        frames = cache_digest(frames_kind(spec.frames), spec.frames, spec)
        tokens = cache_digest("tokens", spec.phonemizer, spec)
        vectors = cache_digest("vectors", spec.vectors, spec)
        return cls(
            frames=Cache(store.features("frames", frames), store.push),
            moments=Cache(store.features("moments", frames), store.push),
            tokens=Cache(store.features("tokens", tokens), store.push),
            vectors=Cache(store.features("vectors", vectors), store.push),
        )

    def words_of(self, text: str) -> Words:
        """The words of a text, each with its phonemes."""
        return [(w, p) for w, p in json.loads(bytes(self.tokens[text_sha256(text)]))]


def hop_ms_of(frames: FramesSpec, folder_of: EncoderFolders) -> float:
    """Milliseconds from one frame to the next; an encoder's are of its folder."""
    if frames.encoder is None:
        return frames.hop_ms
    # Not at the top: it imports torch.
    from mlt_ray.encoders.opening import encoder_shape

    return 1000 / encoder_shape(folder_of(frames.encoder)).states_per_s


def frames_kind(spec: FramesSpec) -> str:
    """The kind of `mlt_ray.libraries.FEATURES` that frames are."""
    return "encoder_frames" if spec.kind == "encoder" else "frames"


def cache_digest(kind: str, settings: FramesSpec | str, spec: FeatureSpec) -> str:
    """Digest in a cache's name: of the settings of its kind and the libraries that compute it.

    So arrays of two versions of a library never lie in one cache; nor do those of two languages, if
    their kind depends on the language.
    """
    values = settings if isinstance(settings, str) else _decisive(settings)
    named: list[Any] = [values, of_kind(kind, spec.libraries, spec.is_english)]
    if kind in BY_SPEECH_ENCODERS and spec.pad_to_30s:
        named.append("pad_to_30s")
    if kind in IN_OTHER_LANGUAGES and not spec.is_english:
        named.append(spec.language)
    return digest_of(named)


def _decisive(spec: FramesSpec) -> dict[str, Any]:
    """What decides frames of their kind."""
    values = dataclasses.asdict(spec)
    of_encoder = {name: values.pop(name) for name in ("encoder", "layer")}
    return of_encoder if spec.kind == "encoder" else values


def text_sha256(text: str) -> str:
    """64 hex digits: the key of a text in the cache."""
    return hashlib.sha256(text.encode()).hexdigest()


def extract(
    corpus: Corpus,
    spec: FeatureSpec,
    store: Store,
    vectors: WordVectors | None,
    phonemizer: Phonemizer,
    progress: FeatureProgress = lambda what, done, total: None,
    embed: "Embedder | None" = None,
) -> int:
    """Fill the cache for `corpus`; returns how many recordings and texts were computed.

    `embed` computes the states of a speech encoder (None: in this process). Without `vectors`, the
    words' vectors are left out. Raises `UserError` for an audio file that cannot be read.
    """
    cache = FeatureCache.open(store, spec)
    computed = _extract_frames(corpus.utterances, spec, store, cache, progress, embed)
    computed += _extract_tokens(corpus.utterances, spec.language, phonemizer, cache, progress)
    if vectors is not None:
        _extract_vectors(corpus.utterances, vectors, cache)
    return computed


def _extract_frames(
    utterances: Sequence[Utterance],
    features: FeatureSpec,
    store: Store,
    cache: FeatureCache,
    progress: FeatureProgress,
    embed: "Embedder | None",
) -> int:
    spec = features.frames
    audio = {u.audio_sha256: u.audio for u in utterances}
    # After an interruption between the two writes, a recording has frames but no moments.
    keys = [k for k in audio if k not in cache.frames or k not in cache.moments]

    def compute() -> Iterator[np.ndarray]:
        return frames_of([audio[k] for k in keys], features, folders_in(store), embed)

    def add(arrays: Mapping[str, np.ndarray]) -> None:
        cache.frames.add(arrays)
        cache.moments.add({k: moments_of(frames) for k, frames in arrays.items()})

    name = f"{spec.kind.replace('_', '-')} frames"
    if spec.encoder is not None:
        name = f"frames of {heard_by(spec.encoder, features)}, layer {spec.layer}"
    return compute_missing(name, keys, compute, add, progress, name_of=lambda k: str(audio[k]))


def heard_by(encoder: str, features: FeatureSpec) -> str:
    """The name of a speech encoder, and how it hears if that is not the usual way."""
    padded = " padded to 30 s" if features.pad_to_30s else ""
    return f"{encoder_name(encoder)}{padded}"


def frames_of(
    sounds: Sequence[Sound],
    features: FeatureSpec,
    folder_of: EncoderFolders,
    embed: "Embedder | None" = None,
) -> Iterator[np.ndarray]:
    """Yield the (T, F) float16 frames of each recording, in order, not normalised.

    `embed` computes the states of a speech encoder (None: in this process).
    """
    spec = features.frames
    if spec.encoder is None:
        return each_recording(sounds, lambda samples: _frames(samples, spec))
    # Not at the top: it imports torch.
    from mlt_ray.encoders.embedding import Embedding, embed_files

    embedding = Embedding(layer=spec.layer, pad_to_30s=features.pad_to_30s)
    return (embed or embed_files)(folder_of(spec.encoder), sounds, embedding)


def _frames(samples: np.ndarray, spec: FramesSpec) -> np.ndarray:
    """(T, F) float16. Its rounding error, 0.004 at a log energy of 8, is far below the noise."""
    return compute_frames(samples, SAMPLE_RATE_HZ, spec).astype(np.float16)


def moments_of(frames: np.ndarray) -> np.ndarray:
    """(2, F) float64: sums and sums of squares over the frames."""
    wide = frames.astype(np.float64)
    return np.stack([wide.sum(axis=0), np.square(wide).sum(axis=0)])


def _extract_tokens(
    utterances: Sequence[Utterance],
    language: str,
    phonemizer: Phonemizer,
    cache: FeatureCache,
    progress: FeatureProgress,
) -> int:
    texts = {text_sha256(u.text): u.text for u in utterances}
    keys = cache.tokens.missing(texts)

    def compute() -> Iterator[np.ndarray]:
        return (_tokens(texts[k], language, phonemizer) for k in keys)

    name, segment = "words and phonemes", 4 * SEGMENT  # a text takes less time than a recording
    return compute_missing(name, keys, compute, cache.tokens.add, progress, segment)


def _tokens(text: str, language: str, phonemizer: Phonemizer) -> np.ndarray:
    """(N,) uint8: the bytes of [[word, [phoneme, …]], …] as JSON."""
    pairs = words_of(text, language, phonemizer)
    return np.frombuffer(json.dumps(pairs).encode(), dtype=np.uint8)


def words_of(text: str, language: str, phonemizer: Phonemizer) -> Words:
    """The words of a text, each with its phonemes."""
    words = tokenize(text, language)
    return [(w, list(p)) for w, p in zip(words, phonemizer(words), strict=True)]


def _extract_vectors(
    utterances: Sequence[Utterance], vectors: WordVectors, cache: FeatureCache
) -> None:
    words = {w for text in {u.text for u in utterances} for w, _ in cache.words_of(text)}
    missing = cache.vectors.missing(sorted(words))
    if not missing:
        return
    found = vectors.lookup(missing)
    # A word without a vector gets an array without rows, so that it is not looked up again.
    none = np.empty((0, vectors.dim), np.float32)
    cache.vectors.add({w: found[w][None] if w in found else none for w in missing})
