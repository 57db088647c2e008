"""The acoustic parameters that eGeMAPS has for a recording, by openSMILE.

F. Eyben et al.: The Geneva minimalistic acoustic parameter set (GeMAPS) for voice research and
affective computing (2016); the extended set in its version 2.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mlt_ray.corpus.audio import each_recording
from mlt_ray.features.prosody import described, smile

NUM_VALUES: Final = 88


def egemaps_vectors(paths: Sequence[Path]) -> Iterator[NDArray[np.float32]]:
    """(1, 88) of each recording, in order. Raises `UserError` for one that cannot be read."""
    return each_recording(paths, lambda samples: egemaps(samples)[None])


def egemaps(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """(88,) of samples (N,) in [-1, 1] at 16 kHz: functionals of pitch, loudness, spectrum, voice.

    In the order of openSMILE. Recordings shorter than 0.1 s are continued with silence.
    """
    functionals = described(waveform, smile("eGeMAPSv02", "Functionals"))
    return functionals.to_numpy(np.float32)[0]
