"""Reads audio files as mono samples at 16 kHz. Shapes: N samples."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from mlt_ray.errors import UserError
from mlt_ray.machine import torch_threads, usable_cpus

SAMPLE_RATE_HZ: Final = 16_000
"""Sample rate of IEMOCAP; other audio is resampled to it."""

Samples = NDArray[np.float32]
"""Mono samples (N,) in [-1, 1] at `SAMPLE_RATE_HZ`."""

Sound = Path | Samples
"""A recording: its file, or its samples."""

BLOCK: Final = 64
"""Number of recordings that are computed before their results are yielded."""

T = TypeVar("T")


def import_torchaudio() -> None:
    """Import torchaudio before threads need it; imports by two threads at once fail."""
    import torchaudio

    assert torchaudio.functional


def read_audio(sound: Sound) -> Samples:
    """The samples of a recording: of a file, channels are averaged and other rates resampled.

    Raises `UserError` if libsndfile cannot read the file.
    """
    if not isinstance(sound, Path):
        return sound
    import soundfile

    try:
        samples, sample_rate_hz = soundfile.read(sound, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{sound}: expected audio (WAV, FLAC, …), got {error}; convert it to WAV"
        ) from error
    return at_16_khz(mixed(samples), sample_rate_hz)


def mixed(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, channels) → (N,), their mean."""
    mono: NDArray[np.float32] = samples.mean(axis=1)
    return mono


def at_16_khz(samples: NDArray[np.float32], sample_rate_hz: int) -> Samples:
    """Mono samples of any rate at `SAMPLE_RATE_HZ`."""
    if sample_rate_hz == SAMPLE_RATE_HZ or not len(samples):
        return samples
    return _resample(samples, sample_rate_hz)


def lengthened(samples: Samples, least: int) -> Samples:
    """Samples with zeros appended until there are at least `least`."""
    return np.pad(samples, (0, max(0, least - len(samples))))


def _resample(samples: Samples, sample_rate_hz: int) -> Samples:
    """Samples at `SAMPLE_RATE_HZ`, by windowed sinc interpolation."""
    import torch
    from torchaudio.functional import resample

    resampled = resample(torch.from_numpy(samples), sample_rate_hz, SAMPLE_RATE_HZ)
    values: Samples = resampled.numpy()
    return values


def each_recording(
    sounds: Sequence[Sound],
    compute: Callable[[Samples], T],
    num_threads: int | None = None,
) -> Iterator[T]:
    """Yield `compute(samples)` for each recording, in the order of `sounds`.

    `num_threads` threads read and compute (None: one for each usable CPU). Raises `UserError` for a
    recording that cannot be read.
    """
    import_torchaudio()
    with ThreadPoolExecutor(num_threads or usable_cpus()) as pool:
        for start in range(0, len(sounds), BLOCK):
            # One thread an operation, since the threads of the pool fill the CPUs. No yield inside:
            # the caller would get one thread too, for torch sets it per process.
            with torch_threads(1):
                block = sounds[start : start + BLOCK]
                found = list(pool.map(lambda sound: compute(read_audio(sound)), block))
            yield from found
