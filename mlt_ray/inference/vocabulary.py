"""The words and phonemes that the runs of a row know together, and the ids of each run.

The runs of a row differ in their training parts, and so in their vocabularies. A text is turned
into ids of a joint vocabulary once, and each run maps them to its own.

Joint ids of words: 0 is padding, 1 an unknown word, then `Vocabulary.words`. Ids from
`Vocabulary.num_words` on are rows of word vectors that come with the text.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mlt_ray.features.extract import Words
from mlt_ray.features.fitted import PAD_ID, UNKNOWN_ID, FittedInputs, symbol_ids

Ids = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The words and phonemes that some run knows, in the order of their joint ids."""

    words: tuple[str, ...]
    phonemes: tuple[str, ...]

    @classmethod
    def of(cls, runs: Iterable[FittedInputs]) -> "Vocabulary":
        """The joint vocabulary of runs."""
        runs = list(runs)
        return cls(
            words=tuple(sorted({w for run in runs for w in (*run.words, *run.vectors)})),
            phonemes=tuple(sorted({p for run in runs for p in run.phonemes})),
        )

    @cached_property
    def word_ids(self) -> Mapping[str, int]:
        """The joint id of each word."""
        return symbol_ids(self.words)

    @cached_property
    def phoneme_ids(self) -> Mapping[str, int]:
        """The joint id of each phoneme."""
        return symbol_ids(self.phonemes)

    @property
    def num_words(self) -> int:
        """The number of joint ids, without those of vectors that come with a text."""
        return UNKNOWN_ID + 1 + len(self.words)

    def own_word_ids(self, run: FittedInputs) -> Ids:
        """(`num_words`,) the run's own id of each joint one."""
        own = symbol_ids((*run.words, *run.vectors))
        return np.array([PAD_ID, UNKNOWN_ID, *(own.get(w, UNKNOWN_ID) for w in self.words)])

    def own_phoneme_ids(self, run: FittedInputs) -> Ids:
        """(number of joint ids,) the run's own id of each joint one."""
        own = symbol_ids(run.phonemes)
        return np.array([PAD_ID, UNKNOWN_ID, *(own.get(p, UNKNOWN_ID) for p in self.phonemes)])

    def ids_of(self, texts: Sequence[Words], rows: Mapping[str, int]) -> tuple[Ids, Ids]:
        """(B, W) joint ids of words and (B, W, P) of phonemes, padded with 0.

        `rows` are the rows of the word vectors that come with the texts.
        """
        longest = max(len(text) for text in texts)
        widest = max(len(symbols) for text in texts for _, symbols in text)
        words = np.zeros((len(texts), longest), np.int64)
        phonemes = np.zeros((len(texts), longest, widest), np.int64)
        for n, text in enumerate(texts):
            for place, (word, symbols) in enumerate(text):
                known = self.word_ids.get(word, UNKNOWN_ID)
                words[n, place] = self.num_words + rows[word] if word in rows else known
                ids = [self.phoneme_ids.get(s, UNKNOWN_ID) for s in symbols]
                phonemes[n, place, : len(ids)] = ids
        return words, phonemes
