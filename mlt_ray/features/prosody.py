"""The prosody of a recording as one vector: seven statistics of five openSMILE contours.

S. Yoon et al. use the 35 values of openSMILE's prosodyShsViterbiLoudness.conf, which the Python
package does not contain. The same contours are in ComParE_2016, with windows of 60 ms instead of
55 ms. Their statistics are computed here.

Shapes: N samples, T frames (one every 10 ms).
"""

import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, Sound, each_recording
from mlt_ray.libraries import require

if TYPE_CHECKING:
    from opensmile import Smile
    from pandas import DataFrame

# openSMILE's names of the contours: those that count in voiced frames only, and the others.
_F0: Final = "F0final_sma"
_VOICED: Final = ("F0final_sma", "logHNR_sma")
_EVERYWHERE: Final = ("voicingFinalUnclipped_sma", "audspec_lengthL1norm_sma")

_LOWEST_NOTE_HZ: Final = 27.5  # A0, from which openSMILE counts semitones

STATISTICS: Final = ("mean", "deviation", "slope", "centroid", "low", "high", "range")
"""Statistics taken of each contour. `low` and `high` are its 10th and 90th percentiles."""

CONTOURS: Final = ("f0_hz", "f0_semitones", "log_hnr", "voicing", "loudness")
"""Pitch in Hz, pitch in semitones above 27.5 Hz, logarithm of the harmonics-to-noise ratio,
probability of voicing, and loudness (the sum of an auditory spectrum)."""

NUM_VALUES: Final = len(CONTOURS) * len(STATISTICS)

_SHORTEST: Final = SAMPLE_RATE_HZ // 10  # samples; openSMILE has no frame for fewer


def prosody_vectors(sounds: Sequence[Sound]) -> Iterator[NDArray[np.float32]]:
    """(1, 35) for each recording, in order. Raises `UserError` for one that cannot be read."""
    return each_recording(sounds, lambda samples: prosody(samples)[None])


def prosody(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """(35,) for samples (N,) in [-1, 1] at 16 kHz: the `STATISTICS` of each of `CONTOURS` in turn.

    Only voiced frames count for pitch and harmonics-to-noise ratio. Without a voiced frame, all
    their statistics are 0. Recordings shorter than 0.1 s are continued with silence.
    """
    contours = run_opensmile(waveform, load_opensmile("ComParE_2016", "LowLevelDescriptors"))
    voiced = contours[_F0].to_numpy() > 0
    hertz, log_hnr = (contours[name].to_numpy(float) for name in _VOICED)
    semitones = 12 * np.log2(np.maximum(hertz, 1) / _LOWEST_NOTE_HZ)
    everywhere = np.ones_like(voiced)
    values = [contour_statistics(contour, voiced) for contour in (hertz, semitones, log_hnr)]
    values += [
        contour_statistics(contours[name].to_numpy(float), everywhere) for name in _EVERYWHERE
    ]
    return np.concatenate(values).astype(np.float32)


def contour_statistics(
    contour: NDArray[np.float64], counted: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """`STATISTICS` of those frames of a contour (T,) where `counted` is True; 0 if there are none.

    The slope is that of the regression line, per frame. The centroid is the mean time, weighted
    by the contour's magnitude: 0 is the start of the recording, 1 its end. It is 0.5 if the
    contour is zero everywhere.
    """
    values, frames = contour[counted], np.flatnonzero(counted)
    if not len(values):
        return np.zeros(len(STATISTICS))
    times = (frames + 0.5) / len(contour)
    weights = np.abs(values)
    centroid = weights @ times / weights.sum() if weights.any() else 0.5
    centred = frames - frames.mean()
    slope = centred @ values / max(centred @ centred, 1)
    low, high = np.percentile(values, [10, 90])
    return np.array([values.mean(), values.std(), slope, centroid, low, high, high - low])


def run_opensmile(waveform: NDArray[np.float32], smile: "Smile") -> "DataFrame":
    """openSMILE's features of samples (N,) at 16 kHz, continued with silence to at least 0.1 s."""
    padded = np.pad(waveform, (0, max(0, _SHORTEST - len(waveform))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from the libraries that opensmile uses
        return smile.process_signal(padded, SAMPLE_RATE_HZ)


@cache
def load_opensmile(feature_set: str, level: str) -> "Smile":
    """The extractor of one of openSMILE's feature sets, by openSMILE's names.

    Raises `LibraryMissing` without openSMILE.
    """
    require(["opensmile"], f"features of {feature_set}")
    import opensmile

    return opensmile.Smile(
        feature_set=opensmile.FeatureSet[feature_set],
        feature_level=opensmile.FeatureLevel[level],
    )
