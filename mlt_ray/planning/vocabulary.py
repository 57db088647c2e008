"""Counts the words of a corpus that word vectors and dictionaries do not know."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.corpus.words import is_word, tokenize
from mlt_ray.features.english import EnglishPhonemizer
from mlt_ray.features.pronunciation import Phonemizer
from mlt_ray.features.vectors import WordVectors
from mlt_ray.spec import ENGLISH

MOST_UNKNOWN: Final = 0.1
"""Largest share of running words without a vector that is not worth a note.

*Assumed*: in a few texts, the packaged vectors lacked one running word in a hundred of English, one
in five of German read as English, and one in two of Polish.
"""

_EXAMPLES: Final = 3


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """How often each word of a corpus occurs, and which of them are unknown.

    `without_vector` in the word vectors that `vectors` names, `without_spelling` in the English
    dictionaries: a network guesses how those sound. It is None in other languages, which espeak-ng
    pronounces by rules.
    """

    language: str
    vectors: str
    counts: Mapping[str, int]
    without_vector: frozenset[str]
    without_spelling: frozenset[str] | None

    @classmethod
    def of(
        cls, corpus: Corpus, language: str, vectors: WordVectors, phonemizer: Phonemizer
    ) -> "Vocabulary":
        """The words of the utterances, as training reads them in a language."""
        tokens = (tokenize(u.text, language) for u in corpus.utterances)
        counts = Counter(token for text in tokens for token in text if is_word(token))
        guessed = None
        if isinstance(phonemizer, EnglishPhonemizer):
            guessed = frozenset(word for word in counts if not phonemizer.is_listed(word))
        return cls(
            language=language,
            vectors=vectors.name,
            counts=counts,
            without_vector=frozenset(counts.keys() - vectors.lookup(counts).keys()),
            without_spelling=guessed,
        )

    def share(self, words: frozenset[str]) -> float:
        """Share in 0–1 of the running words that some words make up; 0 without any."""
        running = sum(self.counts.values())
        return sum(self.counts[word] for word in words) / running if running else 0.0

    @property
    def lines(self) -> Iterator[str]:
        """How many words are unknown, and the most frequent of them: a line a kind."""
        yield f"words without a vector in {self.vectors}: {self._told(self.without_vector)}"
        if self.without_spelling is not None:
            told = self._told(self.without_spelling)
            yield f"words in no dictionary, whose sound is guessed: {told}"

    @property
    def note(self) -> str:
        """What to do if too many words have no vector; else empty."""
        if self.share(self.without_vector) <= MOST_UNKNOWN:
            return ""
        remedy = f"give word vectors of the language {self.language} (--glove FILE)"
        if self.language == ENGLISH:
            remedy = "if the texts are not English, name their language and give its word vectors"
            remedy += " (features.language, --glove FILE)"
        share = f"{self.share(self.without_vector):.0%} of the running words have no vector"
        return f"{share} in {self.vectors}; {remedy}"

    def _told(self, words: frozenset[str]) -> str:
        told = f"{len(words)} of {len(self.counts)} ({self.share(words):.1%} of the running words)"
        ranked = sorted(words, key=lambda word: (-self.counts[word], word))
        return f"{told}, such as {', '.join(ranked[:_EXAMPLES])}" if ranked else told
