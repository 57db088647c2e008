"""Words of any language to IPA symbols, by espeak-ng's rules, dictionaries and voices.

Each word is pronounced by itself, so what a neighbour changes (a French liaison, the stress of a
sentence) is not heard. A symbol is one phoneme; a stressed vowel has a symbol of its own, as in
English, and so has each tone. What is not spoken has the symbols that English has.
"""

from collections.abc import Sequence

from mlt_ray.corpus import espeak
from mlt_ray.features.pronunciation import UNKNOWN_SYMBOL, Pronunciation, unspoken

# Raise this whenever a rule changes a pronunciation, so that cached phonemes do not mix.
_RULES_VERSION = 1


class IpaPhonemizer:
    """Pronounces the words of one of `mlt_ray.corpus.espeak.languages`."""

    engine: str

    def __init__(self, language: str) -> None:
        self._language = language
        self._pronounced: dict[str, Pronunciation] = {}
        self.engine = f"espeak-ng-{espeak.version()}+{language}+rules-{_RULES_VERSION}"

    def __call__(self, words: Sequence[str]) -> tuple[Pronunciation, ...]:
        """One pronunciation for each token of `mlt_ray.corpus.words.tokenize`."""
        spoken = {word for word in words if unspoken(word) is None}
        if new := sorted(spoken - self._pronounced.keys()):
            found = espeak.phonemes(new, self._language)
            self._pronounced |= {w: p or (UNKNOWN_SYMBOL,) for w, p in zip(new, found, strict=True)}
        return tuple(
            (symbol,) if (symbol := unspoken(word)) else self._pronounced[word] for word in words
        )
