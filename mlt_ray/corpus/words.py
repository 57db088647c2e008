"""Splits texts into words: the tokens for word vectors and for the phonemizer.

Texts are normalised as in g2p_en 2.1.0: numbers and money are spelled out, accents are stripped,
letters become lower case, and everything but ``a-z ' . , ? ! -`` is removed. The tokens are those
of NLTK's TweetTokenizer on the remaining text. For this small alphabet one regular expression is
enough, so NLTK is not imported, which would take two seconds.

These differences from g2p_en are on purpose:

- Typographic quotes, dashes and white space are translated; g2p_en deletes them, and so reads
  ``don’t`` as ``dont``.
- A number is separated from letters (``ps4``).
- Only a single dash joins words (``i--i`` is a word cut off and begun again).
- Web addresses are not kept whole; tags such as ``[LAUGHTER]`` are.
"""

import functools
import importlib.util
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Final

EMPTY: Final = "<empty>"
"""The only token of a text without any other token."""

PUNCTUATION: Final = (".", ",", "?", "!", "-", "...")
"""Tokens that are not words. They carry emotion, and GloVe has a vector for each."""

_TAG = re.compile(r"\[\s*([A-Za-z][A-Za-z _+/-]*)\]")
_TOKEN = re.compile(r"[a-z]+(?:['-][a-z]+)*|\.(?: *\.)+|-+|[.,?!]")
_REMOVED = re.compile(r"[^ a-z'.,?!\-]")
_NUMBER_EDGE = re.compile(r"(?<=[a-z])(?=[0-9])|(?<=[0-9])(?=[a-z])(?!(?:st|nd|rd|th|s)\b)")
_LONG_NUMBER = re.compile(r"[0-9](?:,*[0-9]){15,}")
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TRANSLATED = str.maketrans(
    {
        **dict.fromkeys("‘’ʼ`´′", "'"),
        **dict.fromkeys("‐‑", "-"),
        **dict.fromkeys("‒–—―−", " - "),
        **dict.fromkeys("/:;|_~()[]{}<>", " "),
        "…": "...",
    }
)


def tokenize(text: str) -> tuple[str, ...]:
    """Lower-case tokens of a text, at least one: words, `PUNCTUATION` and tags.

    A tag in square brackets is one token in lower case (``[laughter]``). A text without tokens
    gives ``(EMPTY,)``, so that no sequence has length zero. Any string is accepted; symbols and
    letters outside the Latin alphabet are dropped.
    """
    tokens: list[str] = []
    # re.split with one group alternates between plain text and the names of the tags.
    for position, part in enumerate(_TAG.split(text)):
        if position % 2:
            tokens.append(f"[{'_'.join(re.findall('[a-z]+', part.lower()))}]")
        else:
            tokens.extend(_canonical(token) for token in _TOKEN.findall(_normalize(part)))
    return tuple(tokens) or (EMPTY,)


def is_word(token: str) -> bool:
    """Whether a token of `tokenize` is a word: no punctuation, no tag, not `EMPTY`."""
    return "a" <= token[0] <= "z"


def is_tag(token: str) -> bool:
    """Whether a token of `tokenize` is a tag such as ``[laughter]``."""
    return token.startswith("[")


def letters(text: str) -> str:
    """The letters of a text, without its tags."""
    plain = _TAG.sub(" ", text).translate(_TRANSLATED)
    return "".join(c for c in plain if c.isalpha())


def dropped_letters(text: str) -> str:
    """The letters of a text that `tokenize` drops: ``ß`` of ``Straße``, and all Chinese ones."""
    return "".join(c for c in letters(text) if not "a" <= _base(c) <= "z")


def _base(letter: str) -> str:
    """The letter in lower case without accents."""
    return unicodedata.normalize("NFD", letter.lower())[0]


def g2p_en_folder() -> Path:
    """Folder of the installed g2p_en. It is not imported, since that downloads data."""
    spec = importlib.util.find_spec("g2p_en")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("g2p_en is not installed", name="g2p_en")
    return Path(spec.origin).parent


def _canonical(token: str) -> str:
    """The token in its one spelling: ``. . .`` becomes ``...``, and ``--`` becomes ``-``."""
    if token[0] == "-":
        return "-"
    return "..." if token[0] == "." and len(token) > 1 else token


def _normalize(text: str) -> str:
    """The text in lower case, with no other characters than ``a-z ' . , ? ! -`` and space."""
    text = _spell_numbers(" ".join(text.lower().translate(_TRANSLATED).split()))
    decomposed = unicodedata.normalize("NFD", text)
    text = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
    text = _REMOVED.sub("", text)
    return text.replace("i.e.", "that is").replace("e.g.", "for example")


def _spell_numbers(text: str) -> str:
    """The text with numbers and amounts of money as words; very long numbers digit by digit."""
    # Texts without digits skip the import of inflect, which takes two seconds.
    if not re.search("[0-9]", text):
        return text
    text = _NUMBER_EDGE.sub(" ", text)
    # inflect refuses numbers beyond 10^36, and Python integers of more than 4300 digits.
    text = _LONG_NUMBER.sub(_spell_digits, text)
    try:
        return _expander()(text)
    except ValueError:
        # g2p_en reads "$5.,3" as one amount and fails; without the sign it reads two numbers.
        return _expander()(text.replace("$", " "))


def _spell_digits(number: re.Match[str]) -> str:
    return " ".join(_DIGITS[int(digit)] for digit in number.group().replace(",", ""))


@functools.cache
def _expander() -> Callable[[str], str]:
    """The function ``normalize_numbers`` of g2p_en, loaded from its file ``expand.py``."""
    path = g2p_en_folder() / "expand.py"
    spec = importlib.util.spec_from_file_location("g2p_en_expand", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    expand: Callable[[str], str] = module.normalize_numbers
    return expand
