"""Audio files to log-mel frames, as Kaldi computes them.

N samples, T frames, C mel bins (`FramesSpec.num_bins`).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mlt_ray.errors import UserError
from mlt_ray.spec import FramesSpec

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE_HZ: Final = 16_000
"""Rate of IEMOCAP, to which all other audio is resampled."""

# Kaldi's floor under an energy (float32 epsilon) is meant for samples of 16 bits, ±32768: for
# samples within ±1 it would cut off everything quieter than about -60 dB.
_KALDI_SCALE = 32_768.0


def import_torchaudio() -> None:
    """Call it before threads read audio: two that import torchaudio at once find it half made."""
    import torchaudio

    assert torchaudio.functional


def read_audio(path: Path) -> NDArray[np.float32]:
    """Samples (N,) in [-1, 1] at `SAMPLE_RATE_HZ`: channels averaged, other rates resampled.

    Raises `UserError` if libsndfile cannot read the file.
    """
    import soundfile

    try:
        samples, sample_rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{path}: expected audio (WAV, FLAC, …), got {error}; convert it to WAV"
        ) from error
    mono: NDArray[np.float32] = samples.mean(axis=1)
    if sample_rate_hz != SAMPLE_RATE_HZ and len(mono):
        mono = _resample(mono, sample_rate_hz)
    return mono


def log_mel(
    waveform: NDArray[np.float32], sample_rate_hz: int, spec: FramesSpec
) -> NDArray[np.float32]:
    """Log-mel energies (T, C) of samples (N,) in [-1, 1], deterministic (no dither).

    ``T = 1 + (N - window) // hop`` with window and hop in samples: frames lie wholly inside the
    recording. One shorter than a window is padded with zeros to a single frame. Values are natural
    logarithms of power; silence is ``log(2**-23)``, about -15.9.

    The mel filters are Kaldi's triangles from 20 Hz to half the sample rate. At the paper's
    128 bins, 25 ms and 16 kHz (FFT of 512), the triangle of bin 3 (62.9 to 93.0 Hz) lies between
    two lines of the spectrum (62.5 and 93.75 Hz), so that this bin, and no other, is constant:
    whoever standardises bins must not divide by its deviation of zero.
    """
    from torchaudio.compliance import kaldi

    frames = kaldi.fbank(
        kaldi_samples(waveform, sample_rate_hz, spec.window_ms),
        num_mel_bins=spec.num_bins,
        frame_length=spec.window_ms,
        frame_shift=spec.hop_ms,
        sample_frequency=sample_rate_hz,
        dither=0.0,
    )
    values: NDArray[np.float32] = frames.numpy()
    return values


def kaldi_samples(waveform: NDArray[np.float32], sample_rate_hz: int, window_ms: float) -> "Tensor":
    """Samples (N,) in [-1, 1] as Kaldi takes them: (1, N) float32 in ±32768, a window at least."""
    import torch

    if waveform.ndim != 1:
        raise ValueError(f"expected samples of shape (N,), got {waveform.shape}")
    samples = torch.from_numpy(np.asarray(waveform, dtype=np.float32)) * _KALDI_SCALE
    # Kaldi rounds the window down to whole samples; it has no frame for anything shorter.
    missing = max(0, int(sample_rate_hz * window_ms * 0.001) - len(samples))
    return torch.nn.functional.pad(samples, (0, missing))[None]


def _resample(samples: NDArray[np.float32], sample_rate_hz: int) -> NDArray[np.float32]:
    """Samples (N,) at `SAMPLE_RATE_HZ` by windowed sinc interpolation."""
    import torch
    from torchaudio.functional import resample

    resampled = resample(torch.from_numpy(samples), sample_rate_hz, SAMPLE_RATE_HZ)
    values: NDArray[np.float32] = resampled.numpy()
    return values
