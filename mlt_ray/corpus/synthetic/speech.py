"""Turns text into speech at 16 kHz with the time of each word. Shapes: N samples."""

import _ctypes
import ctypes
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, lfilter, resample_poly

from mlt_ray.corpus.alignment import WordTime
from mlt_ray.corpus.texts import without_tags

SAMPLE_RATE_HZ: Final = 16_000
"""Sample rate of everything that `Synthesizer` says, that of IEMOCAP."""

LEVEL_RMS: Final = 0.05
"""Root mean square of speech with a gain of 0 dB; full scale is 1."""

Samples = NDArray[np.float32]

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_SPACE_BEFORE_PAUSE = re.compile(r"\s+(?=[.,!?;:])")
_READ_ALOUD: Final = frozenset(" .,!?;:'-%&$+=@#/")

# espeak-ng's speak_lib.h
_SYNCHRONOUS, _DONT_EXIT = 2, 0x8000
_END_OF_EVENTS, _WORD_EVENT = 0, 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_BY_CHARACTER, _UTF8 = 1, 1

_BUFFER_MS: Final = 1000
_ESPEAK_RATE_HZ: Final = 22_050
_UP, _DOWN = 320, 441
# The filter that resample_poly would otherwise design again for every utterance.
_LOWPASS: Final = firwin(20 * _DOWN + 1, 1 / _DOWN, window=("kaiser", 5.0)).astype(np.float32)

_SILENT: Final = 0.01  # fraction of the peak
_SHORTEST_PAUSE_S: Final = 0.06  # closures of plosives are shorter

_LOCK = Lock()


@dataclass(frozen=True, kw_only=True)
class Prosody:
    """How a text is spoken.

    `rate_wpm` is in words per minute (80 to 450), `pitch` and `pitch_range` in espeak's units (0
    to 99), `gain_db` relative to `LEVEL_RMS`. `tilt`, within ±1, is the coefficient of a filter:
    a one-zero high-pass if positive (brighter, more vocal effort), a one-pole low-pass if negative
    (duller).
    """

    rate_wpm: float = 165.0
    pitch: float = 50.0
    pitch_range: float = 50.0
    gain_db: float = 0.0
    tilt: float = 0.0


class Synthesizer:
    """espeak-ng as a function: what it says depends on the arguments alone.

    One utterance at a time is spoken in a process, whatever the number of threads.
    """

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._events: list[tuple[int, int]] = []
        self._on_sound = _ON_SOUND(self._take)

    def say(self, text: str, voice: str, prosody: Prosody) -> tuple[Samples, tuple[WordTime, ...]]:
        """The waveform (N,) of the text and the times of its words, in order.

        The words are those of `words_to_say`. Their spans follow each other inside the waveform,
        with gaps at pauses. A text without words gives N = 0 and no word. Raises `ValueError` for
        an unknown voice; espeak ignores an unknown variant (the part after ``+``).
        """
        aloud = readable(text)
        places = [match.span() for match in _WORD.finditer(aloud)]
        if not places:
            return np.zeros(0, np.float32), ()
        with _LOCK:
            raw, events = self._synthesize(aloud, voice, prosody)
        waveform = resample_poly(raw, _UP, _DOWN, window=_LOWPASS).astype(np.float32)
        starts_s = _starts_s(places, events, len(waveform) / SAMPLE_RATE_HZ)
        words = [aloud[first:last] for first, last in places]
        return _voice_effort(waveform, prosody), _before_pauses(words, starts_s, waveform)

    def _synthesize(
        self, aloud: str, voice: str, prosody: Prosody
    ) -> tuple[Samples, list[tuple[int, int]]]:
        """espeak's samples at its own rate, and its word events: character, milliseconds."""
        self._chunks, self._events = [], []
        with _fresh_espeak() as espeak:
            espeak.espeak_SetSynthCallback(self._on_sound)
            if espeak.espeak_SetVoiceByName(voice.encode()) != 0:
                raise ValueError(f"espeak-ng has no voice {voice!r}")
            for parameter, value in (
                (_RATE, prosody.rate_wpm),
                (_PITCH, prosody.pitch),
                (_RANGE, prosody.pitch_range),
            ):
                espeak.espeak_SetParameter(parameter, round(value), 0)
            data = aloud.encode()
            espeak.espeak_Synth(data, len(data) + 1, 0, _BY_CHARACTER, 0, _UTF8, None, None)
        samples = np.frombuffer(b"".join(self._chunks), np.int16)
        return samples.astype(np.float32) / np.float32(2**15), self._events

    def _take(self, samples: int | None, count: int, events: Any) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        i = 0
        while events[i].type != _END_OF_EVENTS:
            if events[i].type == _WORD_EVENT:
                # espeak counts characters from 1
                self._events.append((events[i].text_position - 1, events[i].audio_position_ms))
            i += 1
        return 0


def readable(text: str) -> str:
    """The text as it is given to espeak: no tags, no emoji, one space between words."""
    plain = unicodedata.normalize("NFKC", without_tags(text)).replace("’", "'")
    for dash in "‐‑‒–—":
        plain = plain.replace(dash, "-")
    kept = "".join(c if c.isalnum() or c in _READ_ALOUD else " " for c in plain)
    return _SPACE_BEFORE_PAUSE.sub("", " ".join(kept.split()))


def words_to_say(text: str) -> list[str]:
    """The words for which `Synthesizer.say` gives times: ``I can't!`` has ``I``, ``can't``."""
    return _WORD.findall(readable(text))


class _Name(ctypes.Union):
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
        ("id", _Name),
    ]


_ON_SOUND: Final[Callable[..., Any]] = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event)
)


@contextmanager
def _fresh_espeak() -> Iterator[ctypes.CDLL]:
    """The library as at the start of a process, its random numbers included.

    espeak keeps the phases of flutter and echo in static variables that nothing resets, so that
    an utterance would depend on those before it. Loading takes half a millisecond.
    """
    # Imported here: who reads corpora need not be able to speak them.
    import espeakng_loader

    espeak = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        data = espeakng_loader.get_data_path().encode()
        rate_hz = espeak.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, data, _DONT_EXIT)
        if rate_hz != _ESPEAK_RATE_HZ:
            raise RuntimeError(f"espeak-ng: expected {_ESPEAK_RATE_HZ} Hz, got {rate_hz}")
        espeak.espeak_ng_SetRandSeed(ctypes.c_long(1))
        ctypes.CDLL(None).srand(1)
        yield espeak
        espeak.espeak_Terminate()
    finally:
        _ctypes.dlclose(espeak._handle)


def _starts_s(
    places: Sequence[tuple[int, int]], events: Sequence[tuple[int, int]], duration_s: float
) -> list[float]:
    """Start of each word of the text, then the end of the last one, in seconds.

    `places` are the words' first character and the one after the last. espeak has one event for
    ``on the`` and several for ``1,234``. A word without an event of its own shares the time of the
    word before it, in proportion to their letters.
    """
    firsts = [first for first, _ in places]
    known: dict[int, float] = {}
    latest = -1
    for character, milliseconds in events or [(0, 0)]:
        word = bisect_right(firsts, character) - 1 if known else 0
        if word > latest:
            known[word] = milliseconds / 1000
            latest = word
    letters = np.concatenate([[0], np.cumsum([last - first for first, last in places])])
    anchors = [*known, len(places)]
    times_s = [*known.values(), duration_s]
    return np.interp(letters, letters[anchors], times_s).tolist()


def _before_pauses(
    words: Sequence[str], starts_s: Sequence[float], waveform: Samples
) -> tuple[WordTime, ...]:
    """Each word until the next one starts, or until its sound ends if a pause follows."""
    level = np.abs(waveform)
    loud = np.flatnonzero(level > _SILENT * level.max())
    ends = np.searchsorted(loud, np.multiply(starts_s[1:], SAMPLE_RATE_HZ)) - 1
    spoken_until_s = (loud[np.maximum(ends, 0)] + 1) / SAMPLE_RATE_HZ
    times = []
    for word, start_s, next_s, sound_s in zip(
        words, starts_s[:-1], starts_s[1:], spoken_until_s.tolist(), strict=True
    ):
        pauses = start_s < sound_s < next_s - _SHORTEST_PAUSE_S
        times.append(WordTime(word, start_s, sound_s if pauses else next_s))
    return tuple(times)


def _voice_effort(waveform: Samples, prosody: Prosody) -> Samples:
    """The waveform (N,) with the tilt and the level of the prosody."""
    tilted = lfilter([1.0, -max(prosody.tilt, 0.0)], [1.0, min(prosody.tilt, 0.0)], waveform)
    rms = float(np.sqrt(np.mean(np.square(tilted)))) or 1.0
    return (tilted * (LEVEL_RMS * 10 ** (prosody.gain_db / 20) / rms)).astype(np.float32)
