"""The acoustic parameters of eGeMAPS for a recording, computed by openSMILE.

F. Eyben et al.: The Geneva minimalistic acoustic parameter set (GeMAPS) for voice research and
affective computing (2016). The set is the extended one, version 2.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mlt_ray.corpus.audio import Sound, each_recording
from mlt_ray.features.prosody import load_opensmile, run_opensmile

NUM_VALUES: Final = 88


def egemaps_vectors(sounds: Sequence[Sound]) -> Iterator[NDArray[np.float32]]:
    """(1, 88) for each recording, in order. Raises `UserError` for one that cannot be read."""
    return each_recording(sounds, lambda samples: egemaps(samples)[None])


def egemaps(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """(88,) functionals of samples (N,) in [-1, 1] at 16 kHz, in the order of openSMILE.

    They describe pitch, loudness, spectrum and voice quality. Recordings shorter than 0.1 s are
    continued with silence.
    """
    functionals = run_opensmile(waveform, load_opensmile("eGeMAPSv02", "Functionals"))
    return functionals.to_numpy(np.float32)[0]
