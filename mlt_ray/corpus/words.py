"""Splits texts into words: the tokens for word vectors and for the phonemizer.

English texts are normalised as in g2p_en 2.1.0: numbers and money are spelled out, accents are
stripped, letters become lower case, and everything but ``a-z ' . , ? ! -`` is removed. The tokens
are those of NLTK's TweetTokenizer on the remaining text. For this small alphabet one regular
expression is enough, so NLTK is not imported, which would take two seconds.

These differences from g2p_en are on purpose:

- Typographic quotes, dashes and white space are translated; g2p_en deletes them, and so reads
  ``don’t`` as ``dont``.
- A number is separated from letters (``ps4``).
- Only a single dash joins words (``i--i`` is a word cut off and begun again).
- Web addresses are not kept whole; tags such as ``[LAUGHTER]`` are.

Texts in other languages keep the letters, marks and digits of every script, in Unicode's form NFC
and in lower case. They are not case-folded, since ``ß`` and ``ss`` have vectors of their own. A
number is one token, in digits. Each Chinese character is one token; other scripts that have no
space between words, such as Thai, are split where the text has spaces.
"""

import functools
import importlib.util
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mlt_ray.spec import ENGLISH

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

_ANY_TAG = re.compile(r"\[\s*([^\W\d_](?:[^\W\d]|[ +/-])*)\]")
# A letter or digit and what follows it; parts of a word are joined by a dash, an apostrophe, a
# Catalan middle dot or an invisible joiner.
_PART = r"[^\W_][^\s.,?!'·\u200c\u200d-]*"
_ANY_TOKEN = re.compile(
    rf"[0-9]+(?:[.,][0-9]+)+|{_PART}(?:['·\u200c\u200d-]{_PART})*|\.(?: *\.)+|-+|[.,?!]"
)
_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_JOINERS: Final = frozenset("'·\u200c\u200d-")
_ANY_TRANSLATED = _TRANSLATED | str.maketrans(
    {
        **dict.fromkeys("。｡．।॥۔።", "."),
        **dict.fromkeys("，、､،፣", ","),
        **dict.fromkeys("？؟", "?"),
        "！": "!",
    }
)
_OWN_CAPITALS: Final = {language: str.maketrans("Iİ", "ıi") for language in ("az", "tr")}
"""Capitals that a language lowers in a way of its own (Unicode's SpecialCasing)."""


def tokenize(text: str, language: str = ENGLISH) -> tuple[str, ...]:
    """Lower-case tokens of a text, at least one: words, `PUNCTUATION` and tags.

    A tag in square brackets is one token in lower case (``[laughter]``). A text without tokens
    gives ``(EMPTY,)``, so that no sequence has length zero. Any string is accepted; symbols are
    dropped, and so are, in English, letters outside the Latin alphabet.
    """
    if language == ENGLISH:
        tags, letter, words, normalize = _TAG, "[a-z]+", _TOKEN, _normalize
    else:
        tags, letter, words = _ANY_TAG, r"[^\W\d_]+", _ANY_TOKEN
        normalize = functools.partial(_normalize_any, language=language)
        text = unicodedata.normalize("NFC", text)
    tokens: list[str] = []
    # re.split with one group alternates between plain text and the names of the tags.
    for position, part in enumerate(tags.split(text)):
        if position % 2:
            tokens.append(f"[{'_'.join(re.findall(letter, part.lower()))}]")
        else:
            tokens.extend(_canonical(token) for token in words.findall(normalize(part)))
    return tuple(tokens) or (EMPTY,)


def token_pattern(language: str = ENGLISH) -> str:
    """Regular expression of the tokens in a text in lower case, for those who lack `tokenize`.

    It knows tags in square brackets, but no numbers in words and no other spelling of a token.
    """
    words = _TOKEN if language == ENGLISH else _ANY_TOKEN
    return rf"\[[^\]]*\]|{words.pattern}"


def is_word(token: str) -> bool:
    """Whether a token of `tokenize` is a word: no punctuation, no tag, not `EMPTY`."""
    return token[0].isalnum()


def is_tag(token: str) -> bool:
    """Whether a token of `tokenize` is a tag such as ``[laughter]``."""
    return token.startswith("[")


def letters(text: str) -> str:
    """The letters of a text, without its tags."""
    plain = _TAG.sub(" ", text).translate(_TRANSLATED)
    return "".join(c for c in plain if c.isalpha())


def dropped_letters(text: str, language: str = ENGLISH) -> str:
    """The letters of a text that `tokenize` drops: ``ß`` of ``Straße``, and all Chinese ones.

    None are dropped if the language is not English.
    """
    if language != ENGLISH or text.isascii():
        return ""
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


def _normalize_any(text: str, language: str) -> str:
    """A text in NFC in lower case, with spaces around Chinese characters.

    It holds letters, marks and digits of any script, joiners, ``. , ? !`` and spaces alone.
    """
    lower = text.translate(_OWN_CAPITALS.get(language, {})).lower()
    text = unicodedata.normalize("NFC", lower).translate(_ANY_TRANSLATED)
    return _CHINESE.sub(r" \g<0> ", "".join(map(_kept, text)))


def _kept(character: str) -> str:
    """The character, a space in place of a symbol, or nothing for an invisible one."""
    if character in _JOINERS or character in ".,?!":
        return character
    category = unicodedata.category(character)
    if category[0] in "LMN":
        return character
    return "" if category == "Cf" else " "


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
