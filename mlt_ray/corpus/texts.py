"""Reads transcripts, removes their tags and normalises their words."""

import codecs
import io
import re
import unicodedata
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

_TAG = re.compile(r"\[[^\]]*\]")
_NO_ASCII_LETTER = re.compile("[^A-Za-z0-9]")
_APOSTROPHE = re.compile(r"(?<=[^\W_])['’](?=[^\W_])")

_FOREIGN = re.compile(r"[^\x00-\x7f\xa0«»‘’“”–—…•]+")
_GUESSED_WORD = re.compile(r"[^\s,;\"]*[^\x00-\x7f\s][^\s,;\"]*")
_EXAMPLE_LENGTH: Final = 20
_MOST_DIGITS: Final = 4000

MOST_IN_RUNS: Final = 0.25
"""Largest share of letters such as ``é`` in runs of three or more that a text in Windows-1252 has.

In Western languages such runs are rare (Finnish ``työääni``). Chinese, Cyrillic or Arabic letters
that are read as Windows-1252 fill whole words, so almost all of them stand in such runs.
"""


class Decoded(NamedTuple):
    """A text that was decoded; `guess` says what is not as expected, and is empty for UTF-8.

    `is_sure` is False if what was read is probably wrong.
    """

    text: str
    guess: str = ""
    is_sure: bool = True


_MARKS: Final = {
    # Longer marks first: that of UTF-16 is the start of one of UTF-32.
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""Byte-order marks of other encodings than UTF-8."""

_LOOKED_AT: Final = 4096  # bytes by which UTF-16 without a mark is recognised


def decode(data: bytes) -> Decoded:
    """Decode UTF-8, or what a byte-order mark says, otherwise Windows-1252."""
    if encoding := marked_encoding(data):
        return _marked(data, encoding)
    if _looks_like_utf_16(data):
        guess = "expected UTF-8, got what looks like UTF-16 without a byte-order mark"
        return Decoded(data.decode("latin-1"), f"{guess}; {_REMEDY[False]}", False)
    try:
        return Decoded(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        text = "".join(_windows_character(byte) for byte in data)
    runs = _FOREIGN.findall(text)
    num_in_runs = sum(len(run) for run in runs if len(run) > 2)
    is_sure = num_in_runs <= MOST_IN_RUNS * sum(map(len, runs)) and "\0" not in text
    words = dict.fromkeys(word[:_EXAMPLE_LENGTH] for word in _GUESSED_WORD.findall(text))
    examples = ", ".join(map(repr, islice(words, 3)))
    verb = "reads" if is_sure else "would read"
    guess = f"expected UTF-8, got another encoding; Windows-1252 {verb} {examples}"
    return Decoded(text, f"{guess}; {_REMEDY[is_sure]}", is_sure)


def marked_encoding(data: bytes) -> str:
    """The encoding, other than UTF-8, that a byte-order mark says; empty without such a mark."""
    return next((name for mark, name in _MARKS.items() if data.startswith(mark)), "")


def _marked(data: bytes, encoding: str) -> Decoded:
    """A text in the encoding that its byte-order mark says."""
    try:
        guess = f"expected UTF-8, reads {encoding}, as its byte-order mark says"
        return Decoded(data.decode(encoding), guess)
    except UnicodeDecodeError as error:
        guess = f"expected UTF-8, got damaged {encoding} ({error.reason})"
        return Decoded(data.decode("latin-1"), f"{guess}; {_REMEDY[False]}", False)


def _looks_like_utf_16(data: bytes) -> bool:
    """Whether every other byte is mostly NUL, as in a Western text in UTF-16."""
    start = data[:_LOOKED_AT]
    one, other = start[::2].count(0), start[1::2].count(0)
    return max(one, other) > len(start) / 4 and min(one, other) <= max(one, other) / 8


_REMEDY: Final = {True: "if that is wrong, save it as UTF-8", False: "save it as UTF-8"}


def read_text(path: Path) -> str:
    """Content of a text file as `decode` reads it, with the line ends that it has.

    Raises `OSError` when the file cannot be read.
    """
    return decode(path.read_bytes()).text


def _windows_character(byte: int) -> str:
    """Decode a byte as Windows-1252, or as Latin-1 if Windows-1252 does not define it."""
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


def read_lines(path: Path) -> list[str]:
    """Lines of a text file without their ends, read as by `read_text`.

    Only ``\\n``, ``\\r`` and ``\\r\\n`` end a line: `str.splitlines` would also cut at byte 0x85,
    which is an ellipsis in texts from Windows.
    """
    return lines_of(read_text(path))


def lines_of(text: str) -> list[str]:
    """The lines of a text without their ends, as `read_lines` cuts it."""
    return [line.rstrip("\n") for line in io.StringIO(text, newline=None)]


def without_tags(text: str) -> str:
    """The text without tags such as ``[LAUGHTER]``; runs of white space become one space."""
    return " ".join(_TAG.sub(" ", text).split())


def has_tags(text: str) -> bool:
    """True if the text holds a tag such as ``[LAUGHTER]``."""
    return _TAG.search(text) is not None


def normalise_word(word: str) -> str:
    """The letters, with their marks, and digits of a word in lower case (NFKC, casefold).

    Empty for punctuation.
    """
    return _letters(unicodedata.normalize("NFKC", word).casefold()).replace(" ", "")


def spoken_words(text: str) -> list[str]:
    """Normalised words of a transcript, without tags and punctuation; ``don't`` is one word."""
    plain = _APOSTROPHE.sub("", unicodedata.normalize("NFKC", without_tags(text)))
    return [normalise_word(word) for word in _letters(plain).split()]


def _letters(text: str) -> str:
    """The text with spaces in place of all but letters, digits, and marks that follow one."""
    if text.isascii():
        return f" {_NO_ASCII_LETTER.sub(' ', text)}"
    kept = " "
    for character in text:
        is_kept = character.isalnum() or (kept[-1] != " " and _is_mark(character))
        kept += character if is_kept else " "
    return kept


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def same_words_key(text: str) -> str:
    """The words of a transcript as one string: equal for texts with the same words."""
    return " ".join(spoken_words(text))


def in_natural_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names with 9 before 10. Those that are alike so (1 and 01) have one order too."""
    return tuple(sorted(names, key=lambda name: (natural_key(name), name)))


def natural_key(name: str) -> list[str | int]:
    """Sort key that puts ``10`` after ``9``, alone or inside a name."""
    # Python refuses to read longer numbers, which are none of a name's.
    parts = re.split(r"(\d+)", name)
    return [int(p[:_MOST_DIGITS]) if p.isdecimal() else p for p in parts]
