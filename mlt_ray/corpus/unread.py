"""Texts that training does not read, or not whole, since it knows the letters a to z alone.

That is so in English: in other languages the letters of every script are read.
"""

from typing import Final

from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.corpus.words import dropped_letters, letters
from mlt_ray.spec import ENGLISH

MOST_UNREAD: Final = 0.05
"""Largest share of a corpus's texts that may be unread where a system reads words."""


def is_unread(text: str, language: str = ENGLISH) -> bool:
    """True if training drops at least half of a text's letters: a Chinese text, or an Arabic one.

    A text without letters, such as an empty one or ``[LAUGHTER]``, loses nothing.
    """
    dropped = len(dropped_letters(text, language))
    return dropped > 0 and 2 * dropped >= len(letters(text))


def unread_utterances(corpus: Corpus, language: str = ENGLISH) -> tuple[Utterance, ...]:
    """The utterances whose texts are unread."""
    return tuple(u for u in corpus.utterances if is_unread(u.text, language))


def unread_text(corpus: Corpus, language: str = ENGLISH) -> str:
    """A line that counts the unread texts and shows the first; empty if there are none."""
    unread = unread_utterances(corpus, language)
    if not unread:
        return ""
    share = f"{len(unread)} of {len(corpus)} texts ({len(unread) / len(corpus):.1%})"
    first = f"{unread[0].text[:30]!r} ({unread[0].id})"
    return f"{share} are in letters that training does not read, such as {first}"


def too_many_unread(corpus: Corpus, language: str = ENGLISH) -> bool:
    """True if more than `MOST_UNREAD` of the texts are unread."""
    return len(unread_utterances(corpus, language)) > MOST_UNREAD * len(corpus)
