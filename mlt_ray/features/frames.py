"""Acoustic frames of every kind that `FramesSpec` names.

Shapes: N samples, T frames, F values a frame (`FramesSpec.num_bins`). For every kind, frames lie
wholly inside the recording: ``T = 1 + (N - window) // hop`` with window and hop in samples. A
recording shorter than a window is padded with zeros to a single frame.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mlt_ray.errors import UserError
from mlt_ray.spec import FramesSpec

if TYPE_CHECKING:
    from torch import Tensor


Frames = NDArray[np.float32]

_LEAST_SAMPLES: Final = 2
"""Samples of a window, at least, as Kaldi has it."""

# Values of HTK's MFCC_E_D_A. S. Yoon et al. compute it with openSMILE (MFCC12_E_D_A.conf).
_MFCC_BANDS: Final = 26
_MFCC_LOWEST_HZ: Final = 0.0

# Kaldi sets every energy below float32's epsilon to that epsilon. This fits samples of 16 bits
# (±32768); samples within ±1 would lose everything quieter than about -60 dB.
KALDI_SCALE: Final = 32_768.0
SMALLEST_POWER: Final = 2.0**-23  # float32's epsilon, as in Kaldi


def compute_frames(waveform: NDArray[np.float32], sample_rate_hz: int, spec: FramesSpec) -> Frames:
    """Frames (T, F) of samples (N,) in [-1, 1], of the kind that `spec` names; deterministic.

    Raises `UserError` if the kind cannot have `spec.num_bins` values, or if a window has fewer than
    two samples.
    """
    if int(sample_rate_hz * spec.window_ms * 0.001) < _LEAST_SAMPLES:
        raise UserError(
            f"features.frames.window_ms: expected {_LEAST_SAMPLES} samples or more, got "
            f"{spec.window_ms:g} ms at {sample_rate_hz} Hz; set it to 25"
        )
    if int(sample_rate_hz * spec.hop_ms * 0.001) < 1:
        raise UserError(
            f"features.frames.hop_ms: expected a sample or more, got {spec.hop_ms:g} ms at "
            f"{sample_rate_hz} Hz; set it to 12"
        )
    return FRAME_KINDS[spec.kind](waveform, sample_rate_hz, spec)


def log_mel(
    waveform: NDArray[np.float32], sample_rate_hz: int, spec: FramesSpec
) -> NDArray[np.float32]:
    """Log-mel energies (T, F) of samples (N,) in [-1, 1]; deterministic (no dither).

    Values are natural logarithms of power; silence is ``log(2**-23)``, about -15.9.

    The mel filters are Kaldi's triangles from 20 Hz to half the sample rate. At the paper's
    128 bins, 25 ms and 16 kHz (FFT of 512), one bin is constant: the triangle of bin 3 (62.9 to
    93.0 Hz) lies between two lines of the spectrum (62.5 and 93.75 Hz). Its deviation is 0, so
    normalisation must not divide by it.
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
    """Samples (N,) in [-1, 1] as Kaldi reads them: (1, N) float32 in ±32768, a window at least."""
    import torch

    if waveform.ndim != 1:
        raise ValueError(f"expected samples of shape (N,), got {waveform.shape}")
    samples = torch.from_numpy(np.asarray(waveform, dtype=np.float32)) * KALDI_SCALE
    # Kaldi rounds the window down to whole samples, and has no frame for a shorter recording.
    missing = max(0, int(sample_rate_hz * window_ms * 0.001) - len(samples))
    return torch.nn.functional.pad(samples, (0, missing))[None]


def mfcc(waveform: NDArray[np.float32], sample_rate_hz: int, spec: FramesSpec) -> Frames:
    """Mel-frequency cepstra, their first and their second differences: F / 3 values each.

    The cepstra are the log energy of the frame and coefficients 1, 2, … of 26 mel bands, with a
    Hamming window and a lifter of 22. A difference at t is ``(Σ n (x[t+n] - x[t-n])) / 10`` over
    n = 1, 2, where the first and last frames are repeated beyond the ends.
    """
    import torch
    from torchaudio.compliance import kaldi
    from torchaudio.functional import compute_deltas

    if spec.num_bins % 3 or spec.num_bins > 3 * _MFCC_BANDS:
        raise UserError(
            f"features.frames.num_bins: expected a multiple of 3 up to {3 * _MFCC_BANDS} for mfcc "
            f"(values, first and second differences), got {spec.num_bins}; set it to 39"
        )
    values = kaldi.mfcc(
        kaldi_samples(waveform, sample_rate_hz, spec.window_ms),
        num_ceps=spec.num_bins // 3,
        num_mel_bins=_MFCC_BANDS,
        low_freq=_MFCC_LOWEST_HZ,
        use_energy=True,
        window_type="hamming",
        frame_length=spec.window_ms,
        frame_shift=spec.hop_ms,
        sample_frequency=sample_rate_hz,
        dither=0.0,
    )
    first = compute_deltas(values.T)
    frames: Frames = torch.cat([values.T, first, compute_deltas(first)]).T.contiguous().numpy()
    return frames


def spectrogram(waveform: NDArray[np.float32], sample_rate_hz: int, spec: FramesSpec) -> Frames:
    """Natural logarithm of the power at F lines from 0 Hz to half the sample rate.

    The FFT has ``2 (F - 1)`` points (512 for 257 values) and a Hann window. Samples are scaled to
    ±32768, and power is at least 2⁻²³, as in `log_mel`. There is no pre-emphasis: it would only
    add a constant to each value, and normalisation removes it again.
    """
    samples = kaldi_samples(waveform, sample_rate_hz, spec.window_ms)[0].numpy()
    window = int(sample_rate_hz * spec.window_ms * 0.001)
    hop = int(sample_rate_hz * spec.hop_ms * 0.001)
    fft_size = 2 * (spec.num_bins - 1)
    if fft_size < window:
        raise UserError(
            f"features.frames.num_bins: expected at least {window // 2 + 1} for a spectrogram of "
            f"{window} samples a window, got {spec.num_bins}; set it to 257"
        )
    cut = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    spectrum = np.fft.rfft(cut * np.hanning(window).astype(np.float32), fft_size)
    power = np.square(np.abs(spectrum))
    return np.log(np.maximum(power, SMALLEST_POWER)).astype(np.float32)


_SAME_SUMS: Final = 8
"""Frames a step up to which `_sums` and ``np.add.reduceat`` give the same bits; it is faster."""

FRAME_KINDS: Mapping[str, Callable[[NDArray[np.float32], int, FramesSpec], Frames]] = {
    "log_mel": log_mel,
    "mfcc": mfcc,
    "spectrogram": spectrogram,
}


def average_frames(frames: np.ndarray, frames_per_step: int) -> np.ndarray:
    """(T, F) → (⌈T / frames_per_step⌉, F): means of consecutive frames, the last maybe of fewer."""
    if frames_per_step == 1:
        return frames
    starts = np.arange(0, len(frames), frames_per_step)
    counts = np.diff(np.append(starts, len(frames)))
    if frames_per_step > _SAME_SUMS:
        sums = np.add.reduceat(frames, starts, axis=0)
    else:
        whole = len(frames) // frames_per_step * frames_per_step
        steps = frames[:whole].reshape(-1, frames_per_step, frames.shape[1])
        sums = np.concatenate([_sums(steps), _sums(frames[None, whole:])])[: len(starts)]
    return (sums / counts[:, None]).astype(np.float32)


def _sums(steps: np.ndarray) -> np.ndarray:
    """(N, K, F) → (N, F) sums over K frames, in the order in which ``np.add.reduceat`` adds."""
    return steps[:, :1].sum(axis=1) + steps[:, 1:].sum(axis=1)
