"""What a terminal or a file shows whose encoding lacks characters, as in the locale C."""

import codecs
import os
import sys
import unicodedata
from typing import Final

NAME: Final = "mlt-ray-shown"
"""Name of the handler of encoding errors."""

SHOWN: Final = {
    "±": "~",
    "…": ".",
    "–": "-",
    "—": "-",
    "─": "-",
    "━": "-",
    "│": "|",
    "×": "x",
    "●": "o",
    "◐": "-",
    "✗": "x",
    "·": ".",
    "→": ">",
    "≥": ">",
    "≤": "<",
    "’": "'",
    "“": '"',
    "”": '"',
}
"""What stands for a character that an encoding lacks: one for one, so that columns stay in line."""


def use_utf8() -> None:
    """Start this command again in Python's UTF-8 mode where the locale has another encoding.

    Files, their names and workers then are the same in every locale. What is shown stays in the
    encoding of the terminal.
    """
    if sys.getfilesystemencoding() == "utf-8" or sys.flags.ignore_environment:
        return
    shown = getattr(sys.stdout, "encoding", None) or "utf-8"
    os.environ.setdefault("PYTHONIOENCODING", f"{shown}:replace")
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def show_everything() -> None:
    """From now on, what stdout and stderr cannot encode is shown by the next of kin, or by ``?``.

    Python would raise `UnicodeEncodeError`.
    """
    codecs.register_error(NAME, _shown)
    for stream in (sys.stdout, sys.stderr):
        # None where it was closed, and something else where a program has put it in its place.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=NAME)


def _shown(error: UnicodeError) -> tuple[str, int]:
    """The handler: what is shown in place of the characters, and where encoding goes on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(map(_shown_one, lacking)), error.end


def _shown_one(character: str) -> str:
    """One ASCII character: a stand-in, the letter without its marks, or ``?``."""
    plain = SHOWN.get(character) or unicodedata.normalize("NFKD", character)[0]
    return plain if plain.isascii() else "?"
