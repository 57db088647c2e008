"""Binding of the C library espeak-ng: speaks a text, and says how the words of a language sound."""

import _ctypes
import ctypes
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlt_ray.errors import UserError
from mlt_ray.libraries import require

PACKAGE: Final = "espeakng-loader"
"""The pip package that has the C library, its dictionaries and voices."""

ESPEAK_RATE_HZ: Final = 22_050
"""Sample rate of espeak's sound."""

_BUFFER_MS: Final = 1000

# Constants of espeak-ng's speak_lib.h.
_SYNCHRONOUS, _DONT_EXIT = 2, 0x8000
_END_OF_EVENTS, _WORD_EVENT = 0, 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_BY_CHARACTER, _UTF8 = 1, 1
_IPA = 0x02

_SEPARATOR: Final = "\x1f"  # white space to `str.split`, and in no name of a phoneme
_OTHER_VOICE = re.compile(r"\([a-z0-9-]+\)")  # espeak marks words of another language: (en)…(de)

_LOCK = Lock()


def check_installed(where: str) -> None:
    """`UserError`, which begins with `where`, if espeak-ng is not installed."""
    require([PACKAGE], where)


class WordEvent(NamedTuple):
    """A place in the text that espeak reaches: index of a character, and time in the sound."""

    character: int
    time_ms: int


def speak(
    text: str, voice: str, *, rate_wpm: float, pitch: float, pitch_range: float
) -> tuple[NDArray[np.int16], list[WordEvent]]:
    """The sound of a text, 16-bit samples (N,) at `ESPEAK_RATE_HZ`, and its word events in order.

    `rate_wpm` is in words per minute (80 to 450), `pitch` and `pitch_range` are 0 to 99; all are
    rounded. The result depends on the arguments only. A process speaks one text at a time; other
    threads wait. Raises `ValueError` for an unknown voice; espeak ignores an unknown variant (the
    part after ``+``).
    """
    chunks: list[bytes] = []
    words: list[WordEvent] = []

    def take(samples: int | None, count: int, events: Any) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        i = 0
        while events[i].type != _END_OF_EVENTS:
            if events[i].type == _WORD_EVENT:
                # espeak counts characters from 1.
                words.append(WordEvent(events[i].text_position - 1, events[i].audio_position_ms))
            i += 1
        return 0

    callback = _CALLBACK(take)
    with _LOCK, _fresh_library() as library:
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}")
        for parameter, value in ((_RATE, rate_wpm), (_PITCH, pitch), (_RANGE, pitch_range)):
            library.espeak_SetParameter(parameter, round(value), 0)
        data = text.encode()
        library.espeak_Synth(data, len(data) + 1, 0, _BY_CHARACTER, 0, _UTF8, None, None)
    return np.frombuffer(b"".join(chunks), np.int16), words


class Language(NamedTuple):
    """A language that espeak-ng speaks: its English name, and the file of its voice."""

    name: str
    voice: str


@functools.cache
def languages() -> Mapping[str, Language]:
    """The languages of espeak-ng by code, such as ``de``; a code's first choice of voices.

    Those that come without a dictionary are left out: they would be silent. Raises `UserError`
    without espeak-ng.
    """
    check_installed("languages")
    import espeakng_loader

    data = Path(espeakng_loader.get_data_path())
    found: dict[str, tuple[int, Language]] = {}
    for file in sorted(path for path in (data / "lang").rglob("*") if path.is_file()):
        lines = [line.partition("//")[0].split() for line in file.read_text("utf-8").splitlines()]
        entries = [line for line in lines if len(line) > 1]
        [name] = [" ".join(values) for key, *values in entries if key == "name"]
        # A code has a priority; the lowest number, 5 by default, is the first choice.
        codes = {line[1]: int([*line, "5"][2]) for line in entries if line[0] == "language"}
        dictionary = next(iter(codes)).partition("-")[0]
        dictionary = dict(line[:2] for line in entries).get("dictionary", dictionary)
        if (data / f"{dictionary}_dict").is_file():
            language = Language(name, file.relative_to(data / "lang").as_posix())
            for code, priority in codes.items():
                if code not in found or priority < found[code][0]:
                    found[code] = priority, language
    return {code: language for code, (_, language) in sorted(found.items())}


def check_language(language: str, where: str) -> None:
    """`UserError`, which begins with `where`, unless espeak-ng is here and speaks a language."""
    check_installed(f"{where} {language}")
    if language not in languages():
        raise UserError(
            f"{where}: expected a language that espeak-ng speaks, such as de, pl, ru or zh, got "
            f"{language!r}; mlt-ray corpus languages lists all"
        )


def phonemes(texts: Sequence[str], language: str) -> tuple[tuple[str, ...], ...]:
    """How each text sounds, as IPA symbols of a phoneme each: ``ts ˈuː k`` for ``Zug``.

    A symbol is one or more characters. Stress and tone stay with their vowel, as espeak writes
    them (``ˈuː``, ``i5``). A text that is not spoken gives no symbols. A process asks
    for the symbols of one list at a time; other threads wait. Raises `KeyError` for a language that
    `languages` lacks.
    """
    voice = languages()[language].voice.encode()
    with _LOCK, _fresh_library() as library:
        if library.espeak_SetVoiceByName(voice) != 0:
            raise RuntimeError(f"espeak-ng: cannot open its own voice {voice.decode()}")
        translate = library.espeak_TextToPhonemes
        translate.restype = ctypes.c_char_p
        translate.argtypes = (ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int)
        return tuple(tuple(_OTHER_VOICE.sub("", t).split()) for t in _ipa(texts, translate))


def _ipa(texts: Sequence[str], translate: Callable[..., bytes]) -> Iterator[str]:
    """The phonemes of each text with `_SEPARATOR` between them."""
    for text in texts:
        # espeak moves the pointer to the next clause, and to nothing at the end.
        rest, clauses = ctypes.c_char_p(text.encode()), []
        while rest.value is not None:
            clauses.append(translate(ctypes.byref(rest), _UTF8, _IPA | ord(_SEPARATOR) << 8))
        yield b" ".join(clauses).decode()


@functools.cache
def version() -> str:
    """The version of espeak-ng, such as ``1.52.0``."""
    with _LOCK, _fresh_library() as library:
        library.espeak_Info.restype = ctypes.c_char_p
        number: bytes = library.espeak_Info(ctypes.byref(ctypes.c_char_p()))
        return number.decode()


class _EventId(ctypes.Union):
    """The union ``id`` in espeak-ng's ``espeak_EVENT``."""

    _fields_: ClassVar = [
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    ]


class _Event(ctypes.Structure):
    """espeak-ng's ``espeak_EVENT``."""

    _fields_: ClassVar = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_CALLBACK: Final[Callable[..., Any]] = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event)
)


@contextmanager
def _fresh_library() -> Iterator[ctypes.CDLL]:
    """The library in the state of a new process, random numbers included.

    espeak keeps the phases of flutter and echo in static variables that nothing resets. Without
    a fresh copy, an utterance would depend on those before it. Loading takes half a millisecond.
    """
    # Imported here: espeak-ng comes with an extra, and a machine that only trains lacks it.
    check_installed("speech")
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        data = espeakng_loader.get_data_path().encode()
        rate_hz = library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, data, _DONT_EXIT)
        if rate_hz != ESPEAK_RATE_HZ:
            raise RuntimeError(f"espeak-ng: expected {ESPEAK_RATE_HZ} Hz, got {rate_hz}")
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        ctypes.CDLL(None).srand(1)
        yield library
        library.espeak_Terminate()
    finally:
        _ctypes.dlclose(library._handle)
