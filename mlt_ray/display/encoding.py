"""What a terminal or a file shows that lacks characters or columns, or that was closed."""

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
    if "utf8" in sys._xoptions:  # who starts Python so has the last word
        return
    shown = getattr(sys.stdout, "encoding", None) or "utf-8"
    os.environ.setdefault("PYTHONIOENCODING", f"{shown}:replace")
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # nosec B606


def open_streams() -> None:
    """Open stdin, stdout and stderr on nothing where they were closed.

    Else the next file that is opened, such as a database, would take their place and get what is
    printed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The least number that is free, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))


def show_everything() -> None:
    """From now on, what stdout and stderr cannot encode is shown by the next of kin, or by ``?``.

    Python would raise `UnicodeEncodeError`. A terminal of no columns counts as one of unknown
    width, where nothing at all would be shown.
    """
    if os.environ.get("COLUMNS", "").strip("0") == "":
        os.environ.pop("COLUMNS", None)
    codecs.register_error(NAME, _shown)
    for stream in (sys.stdout, sys.stderr):
        # Something else where a program has put it in its place.
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
