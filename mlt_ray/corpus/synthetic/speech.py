"""Turns text into speech at 16 kHz with the time of each word. Shapes: N samples."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.signal import firwin, lfilter, resample_poly

from mlt_ray.corpus.alignment import WordTime
from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, Samples
from mlt_ray.corpus.espeak import WordEvent, speak
from mlt_ray.corpus.texts import without_tags

LEVEL_RMS: Final = 0.05
"""Root mean square of speech with a gain of 0 dB; full scale is 1."""

_PART = r"[^\W_][^\s.,!?;:'%&$+=@#/-]*"  # of a text that is `readable`
_WORD = re.compile(rf"{_PART}(?:'{_PART})*")
_SPACE_BEFORE_PAUSE = re.compile(r"\s+(?=[.,!?;:])")
_READ_ALOUD: Final = frozenset(" .,!?;:'-%&$+=@#/")

_UP, _DOWN = 320, 441  # from espeak's 22050 Hz to 16 kHz
# The filter that resample_poly would otherwise design again for every utterance.
_LOWPASS: Final = firwin(20 * _DOWN + 1, 1 / _DOWN, window=("kaiser", 5.0)).astype(np.float32)

_SILENT: Final = 0.01  # fraction of the peak
_SHORTEST_PAUSE_S: Final = 0.06  # closures of plosives are shorter


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


def say(text: str, voice: str, prosody: Prosody) -> tuple[Samples, tuple[WordTime, ...]]:
    """The waveform (N,) of the text and the times of its words, in order.

    The words are those of `words_to_say`. Their spans follow each other inside the waveform, with
    gaps at pauses. A text without words gives N = 0 and no word. The result depends on the
    arguments only. Raises `ValueError` for an unknown voice.
    """
    aloud = readable(text)
    places = [match.span() for match in _WORD.finditer(aloud)]
    if not places:
        return np.zeros(0, np.float32), ()
    sound, events = speak(
        aloud,
        voice,
        rate_wpm=prosody.rate_wpm,
        pitch=prosody.pitch,
        pitch_range=prosody.pitch_range,
    )
    samples = sound.astype(np.float32) / np.float32(2**15)
    waveform = resample_poly(samples, _UP, _DOWN, window=_LOWPASS).astype(np.float32)
    starts_s = _starts_s(places, events, len(waveform) / SAMPLE_RATE_HZ)
    words = [aloud[first:last] for first, last in places]
    return _voice_effort(waveform, prosody), _before_pauses(words, starts_s, waveform)


def readable(text: str) -> str:
    """The text as it is given to espeak: no tags, no emoji, one space between words."""
    plain = unicodedata.normalize("NFKC", without_tags(text)).replace("’", "'")
    for dash in "‐‑‒–—":
        plain = plain.replace(dash, "-")
    kept = "".join(c if _is_read(c) else " " for c in plain)
    return _SPACE_BEFORE_PAUSE.sub("", " ".join(kept.split()))


def _is_read(character: str) -> bool:
    """Whether espeak reads a character: a letter, a digit, a mark at one, or `_READ_ALOUD`."""
    is_mark = unicodedata.category(character).startswith("M")
    return is_mark or character.isalnum() or character in _READ_ALOUD


def words_to_say(text: str) -> list[str]:
    """The words for which `say` gives times: ``I can't!`` has ``I``, ``can't``."""
    return _WORD.findall(readable(text))


def _starts_s(
    places: Sequence[tuple[int, int]], events: Sequence[WordEvent], duration_s: float
) -> list[float]:
    """Start of each word of the text, then the end of the last one, in seconds.

    `places` are the words' first character and the one after the last. espeak has one event for
    ``on the`` and several for ``1,234``. A word without an event of its own shares the time of the
    word before it, in proportion to their letters.
    """
    firsts = [first for first, _ in places]
    known: dict[int, float] = {}
    latest = -1
    for character, time_ms in events or [WordEvent(0, 0)]:
        word = bisect_right(firsts, character) - 1 if known else 0
        if word > latest:
            known[word] = time_ms / 1000
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
