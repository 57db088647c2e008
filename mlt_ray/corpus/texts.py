"""Reads transcripts, removes their tags and normalises their words."""

import io
import re
import unicodedata
from pathlib import Path

_TAG = re.compile(r"\[[^\]]*\]")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def read_text(path: Path) -> str:
    """Content of a text file: UTF-8 (with or without a byte-order mark), otherwise Windows-1252.

    Line ends are kept as they are. Raises `OSError` when the file cannot be read.
    """
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "".join(_windows_character(byte) for byte in data)


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
    return [line.rstrip("\n") for line in io.StringIO(read_text(path), newline=None)]


def without_tags(text: str) -> str:
    """The text without tags such as ``[LAUGHTER]``; runs of white space become one space."""
    return " ".join(_TAG.sub(" ", text).split())


def has_tags(text: str) -> bool:
    """True if the text holds a tag such as ``[LAUGHTER]``."""
    return _TAG.search(text) is not None


def normalise_word(word: str) -> str:
    """The letters and digits of a word in lower case (NFKC, casefold); empty for punctuation."""
    folded = unicodedata.normalize("NFKC", word).casefold()
    return "".join(c for c in folded if c.isalnum())


def spoken_words(text: str) -> list[str]:
    """Normalised words of a transcript, without tags and punctuation; ``don't`` is one word."""
    plain = unicodedata.normalize("NFKC", without_tags(text))
    return [normalise_word(word) for word in _WORD.findall(plain)]


def same_words_key(text: str) -> str:
    """The words of a transcript as one string: equal for texts with the same words."""
    return " ".join(spoken_words(text))


def natural_key(name: str) -> list[str | int]:
    """Sort key that puts ``10`` after ``9``, alone or inside a name."""
    return [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", name)]
