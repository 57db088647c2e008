"""Ten synthetic speakers, and their prosody for each emotion."""

from typing import Final, NamedTuple

import numpy as np

from mlt_ray.corpus.synthetic.speech import Prosody
from mlt_ray.labels import FOUR


class Voice(NamedTuple):
    """A variant of espeak-ng's voices and the pitch (0 to 99) of its neutral speech."""

    variant: str
    pitch: float


VOICES: Final = {
    "Ses01F": Voice("f1", 52),
    "Ses01M": Voice("m1", 42),
    "Ses02F": Voice("f2", 58),
    "Ses02M": Voice("m3", 36),
    "Ses03F": Voice("f3", 50),
    "Ses03M": Voice("m2", 45),
    "Ses04F": Voice("f4", 56),
    "Ses04M": Voice("m4", 40),
    "Ses05F": Voice("f5", 54),
    "Ses05M": Voice("m7", 38),
}
"""The ten speakers, two in each of IEMOCAP's five sessions."""


class Shift(NamedTuple):
    """A change of prosody; rate in words per minute, the rest in the units of `Prosody`."""

    rate_wpm: float
    pitch: float
    pitch_range: float
    gain_db: float
    tilt: float


EMOTION_SHIFTS: Final = {
    "angry": Shift(26, 6, 24, 5.0, 0.30),
    "happy": Shift(12, 16, 30, 2.0, 0.12),
    "neutral": Shift(0, 0, 0, 0.0, 0.0),
    "sad": Shift(-32, -9, -24, -5.0, -0.25),
}
"""Change of prosody for each emotion, relative to the speaker's neutral speech."""

OVERLAP: Final = Shift(9, 4, 9, 1.8, 0.10)
"""Standard deviations of random changes in every utterance, so that the classes overlap."""

SHARE_OWN: Final = 0.85
"""Share of the utterances with the prosody of their own emotion."""

SHARE_ANY: Final = 0.07
"""Share of the utterances with the prosody of an emotion drawn at random; the rest is neutral."""

STRENGTH: Final = (0.65, 1.69)
"""Lowest and highest factor of a shift; it is drawn uniformly for each utterance."""

SPEAKER_RATE_WPM: Final = 8.0
"""Standard deviation of the speaking rate between speakers."""

_RATE_WPM: Final = 165.0
_LIMITS: Final = {  # where espeak-ng is still intelligible
    "rate_wpm": (90, 260),
    "pitch": (5, 95),
    "pitch_range": (0, 99),
    "gain_db": (-20, 20),
    "tilt": (-0.6, 0.6),
}


def draw_prosody(
    emotion: str, voice: Voice, rng: np.random.Generator, rate_wpm: float = 0.0
) -> Prosody:
    """A random prosody for the emotion, by a speaker `rate_wpm` faster than the average."""
    drawn = rng.random()
    if drawn < SHARE_OWN:
        shown = emotion
    else:
        shown = str(rng.choice(FOUR)) if drawn < SHARE_OWN + SHARE_ANY else "neutral"
    shift = np.multiply(EMOTION_SHIFTS[shown], rng.uniform(*STRENGTH))
    shift += rng.normal(size=len(OVERLAP)) * OVERLAP
    base = (_RATE_WPM + rate_wpm, voice.pitch, 50.0, 0.0, 0.0)
    values = zip(_LIMITS.items(), base, shift.tolist(), strict=True)
    return Prosody(**{name: min(max(b + s, low), high) for (name, (low, high)), b, s in values})
