"""What a phonemizer is, in any language, and the symbols of tokens that are not spoken."""

from collections.abc import Sequence
from typing import Final, Protocol

from mlt_ray.corpus.words import EMPTY, PUNCTUATION, is_tag

UNKNOWN_SYMBOL: Final = "<unk>"
"""Symbol of a word that cannot be pronounced."""

OTHER_TAG: Final = "[tag]"
TAGS: Final = ("[laughter]", "[breathing]", "[lipsmack]", "[garbage]", OTHER_TAG)
"""Symbols of tags: one for each tag of IEMOCAP, and `OTHER_TAG` for all others."""

Pronunciation = tuple[str, ...]
"""The symbols of one token, at least one."""


class Phonemizer(Protocol):
    """Pronounces the tokens of a sentence in one language; calls are deterministic.

    `engine` names everything that a result depends on, the language too, for cache keys.
    """

    engine: str

    def __call__(self, words: Sequence[str]) -> tuple[Pronunciation, ...]:
        """One pronunciation for each token of `mlt_ray.corpus.words.tokenize`."""


def unspoken(token: str) -> str | None:
    """The symbol of punctuation, of a tag or of an empty text; None for a word."""
    if is_tag(token):
        return token if token in TAGS else OTHER_TAG
    return token if token == EMPTY or token in PUNCTUATION else None
