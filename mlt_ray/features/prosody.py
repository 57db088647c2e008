"""A vector of prosody for a recording: seven statistics of five contours of openSMILE.

S. Yoon et al. have 35 values from openSMILE's prosodyShsViterbiLoudness.conf, which the Python
package does not carry. Its contours are also in ComParE_2016, computed alike but for windows of
60 ms instead of 55 ms; its statistics are computed here.

N samples, T frames (every 10 ms).
"""

import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from opensmile import Smile
    from pandas import DataFrame
from mlt_ray.corpus.audio import each_recording

_F0: Final = "F0final_sma"
_VOICED: Final = ("F0final_sma", "logHNR_sma")
_ALL: Final = ("voicingFinalUnclipped_sma", "audspec_lengthL1norm_sma")

_LOWEST_NOTE_HZ: Final = 27.5  # A0, from which openSMILE counts semitones

STATISTICS: Final = ("mean", "deviation", "slope", "centroid", "low", "high", "range")
"""Statistics taken of each contour. `low` and `high` are its 10th and 90th percentiles."""

CONTOURS: Final = ("f0_hz", "f0_semitones", "log_hnr", "voicing", "loudness")
"""Pitch twice (in Hz, and in semitones above 27.5 Hz), the logarithm of the harmonics-to-noise
ratio, the probability of voicing, and loudness (the sum of an auditory spectrum)."""

NUM_VALUES: Final = len(CONTOURS) * len(STATISTICS)

_SHORTEST: Final = SAMPLE_RATE_HZ // 10


def prosody_vectors(paths: Sequence[Path]) -> Iterator[NDArray[np.float32]]:
    """(1, 35) of each recording, in order. Raises `UserError` for one that cannot be read."""
    return each_recording(paths, lambda samples: prosody(samples)[None])


def prosody(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """(35,) of samples (N,) in [-1, 1] at 16 kHz: contour by contour, `STATISTICS` of each.

    Pitch and harmonics-to-noise ratio count where a frame is voiced; without such a frame they
    are all 0. Recordings shorter than 0.1 s, for which openSMILE has no frame, are continued with
    silence.
    """
    contours = described(waveform, smile("ComParE_2016", "LowLevelDescriptors"))
    voiced = contours[_F0].to_numpy() > 0
    hertz, log_hnr = (contours[name].to_numpy(float) for name in _VOICED)
    semitones = 12 * np.log2(np.maximum(hertz, 1) / _LOWEST_NOTE_HZ)
    everywhere = np.ones_like(voiced)
    values = [statistics(contour, voiced) for contour in (hertz, semitones, log_hnr)]
    values += [statistics(contours[name].to_numpy(float), everywhere) for name in _ALL]
    return np.concatenate(values).astype(np.float32)


def statistics(contour: NDArray[np.float64], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`STATISTICS` of the counted frames of a contour (T,); all 0 where there is none.

    The slope is that of the regression line, a frame. The centroid is the mean place of the
    contour's magnitude, from 0 at the recording's start to 1 at its end; 0.5 where all is zero.
    """
    values, frames = contour[counted], np.flatnonzero(counted)
    if not len(values):
        return np.zeros(len(STATISTICS))
    places = (frames + 0.5) / len(contour)
    weights = np.abs(values)
    centroid = weights @ places / weights.sum() if weights.any() else 0.5
    away = frames - frames.mean()
    slope = away @ values / max(away @ away, 1)
    low, high = np.percentile(values, [10, 90])
    return np.array([values.mean(), values.std(), slope, centroid, low, high, high - low])


def described(waveform: NDArray[np.float32], by: "Smile") -> "DataFrame":
    """What openSMILE says of samples (N,) at 16 kHz, continued with silence to 0.1 s at least."""
    padded = np.pad(waveform, (0, max(0, _SHORTEST - len(waveform))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that opensmile is built on
        return by.process_signal(padded, SAMPLE_RATE_HZ)


@cache
def smile(feature_set: str, level: str) -> "Smile":
    """One of openSMILE's sets of features, by its name there."""
    import opensmile

    return opensmile.Smile(
        feature_set=opensmile.FeatureSet[feature_set],
        feature_level=opensmile.FeatureLevel[level],
    )
