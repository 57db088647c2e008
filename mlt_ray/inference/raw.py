"""The features of recordings and texts that depend on no fold, computed without a cache.

Shapes: T frames, F values a frame.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlt_ray.corpus.audio import Sound
from mlt_ray.corpus.utterance import Spoken
from mlt_ray.corpus.words import EMPTY
from mlt_ray.encoders.folder import EncoderFolders
from mlt_ray.encoders.text import Opened
from mlt_ray.errors import UserError
from mlt_ray.features.cache import check_finite
from mlt_ray.features.extract import Words, frames_of, words_of
from mlt_ray.features.extras import INPUTS, Sources
from mlt_ray.features.phonemes import phonemizer_of
from mlt_ray.features.pronunciation import Phonemizer
from mlt_ray.features.vectors import WordVectors, load_vectors
from mlt_ray.machine import device_of
from mlt_ray.spec import FeatureSpec, RunSpec
from mlt_ray.storage.names import plain

if TYPE_CHECKING:
    import torch

    from mlt_ray.encoders.embedding import Embedding

BLOCK = 256
"""Recordings whose features are computed before the first of them is given."""


UNREAD: Words = [(EMPTY, [EMPTY])]
"""The words of a text that the model does not read: a phonemizer need not be installed."""


@dataclass(frozen=True, kw_only=True)
class RawFeatures:
    """The features of one recording and its text, as the feature cache of a store has them.

    `frames` are (T, F) float16 and not normalised. `words` have their phonemes; they are `UNREAD`
    where the model reads none. `extras` are the arrays of extra inputs by name, as
    `mlt_ray.features.extras` computes them.
    """

    frames: np.ndarray
    words: Words
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Bytes of the arrays."""
        return sum(x.nbytes for x in (self.frames, *self.extras.values()))


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What computes the features that a specification names; each is opened when it is needed.

    `folder_of` gives the folder of a pre-trained encoder. `open_vectors` opens the word vectors.
    `device` computes what encoders do (None: a GPU if there is one).
    """

    features: FeatureSpec
    folder_of: EncoderFolders
    open_vectors: Callable[[], WordVectors] = load_vectors
    device: "torch.device | None" = None

    @cached_property
    def vectors(self) -> WordVectors:
        """The word vectors; `UserError` if they are not those of the specification."""
        expected = self.features.vectors
        found = self.open_vectors()
        got = f"{found.name}@{found.sha256[:16]}"
        if got != expected:
            raise UserError(
                f"word vectors: expected {expected}, with which the model was trained, got {got}; "
                "give their file with --glove"
            )
        return found

    def embed(
        self, folder: Path, sounds: Sequence[Sound], embedding: "Embedding"
    ) -> Iterator[np.ndarray]:
        """`mlt_ray.encoders.embedding.embed_files`, with an encoder that stays open."""
        # Not at the top: it imports torch.
        from mlt_ray.encoders.embedding import embed_sounds
        from mlt_ray.encoders.opening import open_encoder

        if folder not in self._encoders:
            self._encoders[folder] = open_encoder(folder, device_of(self.device))
        return embed_sounds(self._encoders[folder], sounds, embedding)

    @property
    def sources(self) -> Sources:
        """What extra inputs are computed with."""
        return Sources(self.folder_of, self.features, self.embed, self.device, self._opened)

    @cached_property
    def _opened(self) -> Opened:
        return Opened()

    @cached_property
    def _encoders(self) -> dict[Path, Any]:
        return {}

    def vectors_of(self, words: Iterable[str]) -> dict[str, np.ndarray]:
        """The (D,) vectors of those words that have one; each word is looked up once."""
        asked = list(words)
        if missing := [word for word in asked if word not in self._looked_up]:
            found = self.vectors.lookup(missing)
            self._looked_up.update((word, found.get(word)) for word in missing)
        known = {word: self._looked_up[word] for word in asked}
        return {word: vector for word, vector in known.items() if vector is not None}

    @cached_property
    def _looked_up(self) -> dict[str, np.ndarray | None]:
        return {}

    @cached_property
    def phonemizer(self) -> Phonemizer:
        """The phonemizer; `UserError` if it is not the one of the specification."""
        found = phonemizer_of(self.features.language)
        if found.engine != self.features.phonemizer:
            raise UserError(
                f"phonemes: expected {self.features.phonemizer}, with which the model was trained, "
                f"got {found.engine}; install the same versions"
            )
        return found


def raw_features(spoken: Sequence[Spoken], spec: RunSpec, tools: Tools) -> Iterator[RawFeatures]:
    """Yield the features of each recording and text, in order.

    Raises `UserError` for a recording that cannot be read, or has a feature that is not finite.
    """
    pronounced: dict[str, Words] = {}
    for start in range(0, len(spoken), BLOCK):
        block = spoken[start : start + BLOCK]
        sounds = [one.audio for one in block]
        frames = frames_of(sounds, spec.features, tools.folder_of, tools.embed)
        extras = {
            extra.name: INPUTS[extra.name].compute(block, extra, tools.sources)
            for extra in spec.model.extras
        }
        for one, array in zip(block, frames, strict=True):
            if one.text not in pronounced and spec.model.reads_words:
                language = spec.features.language
                pronounced[one.text] = words_of(one.text, language, tools.phonemizer)
            features = RawFeatures(
                frames=array,
                words=pronounced.get(one.text, UNREAD),
                extras={name: next(arrays) for name, arrays in extras.items()},
            )
            for name, values in {"frames": array, **features.extras}.items():
                check_finite(values, f"{one.id}, {name}", "leave the recording out")
            yield features


def folders_below(folder: Path) -> EncoderFolders:
    """The folders of encoders that are named by their digest in `folder`.

    `UserError` for a digest that would leave it.
    """
    return lambda identity: folder / plain(identity.rpartition("@")[2], folder)
