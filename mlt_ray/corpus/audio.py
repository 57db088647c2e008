"""Samples of audio files, at one rate; N samples."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from mlt_ray.errors import UserError

SAMPLE_RATE_HZ: Final = 16_000
"""Rate of IEMOCAP, to which all other audio is resampled."""

Samples = NDArray[np.float32]

BLOCK: Final = 64
"""Recordings that are computed before the first of their results is handed on."""

T = TypeVar("T")


def import_torchaudio() -> None:
    """Call it before threads read audio: two that import torchaudio at once find it half made."""
    import torchaudio

    assert torchaudio.functional


def read_audio(path: Path) -> Samples:
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
    mono: Samples = samples.mean(axis=1)
    if sample_rate_hz != SAMPLE_RATE_HZ and len(mono):
        mono = _resample(mono, sample_rate_hz)
    return mono


def lengthened(samples: Samples, least: int) -> Samples:
    """Samples continued with silence to `least` of them."""
    return np.pad(samples, (0, max(0, least - len(samples))))


def _resample(samples: Samples, sample_rate_hz: int) -> Samples:
    """Samples (N,) at `SAMPLE_RATE_HZ` by windowed sinc interpolation."""
    import torch
    from torchaudio.functional import resample

    resampled = resample(torch.from_numpy(samples), sample_rate_hz, SAMPLE_RATE_HZ)
    values: Samples = resampled.numpy()
    return values


def each_recording(
    paths: Sequence[Path],
    compute: Callable[[Samples], T],
    num_threads: int | None = None,
) -> Iterator[T]:
    """What `compute` makes of the samples (N,) of each recording, in order.

    Recordings are read and computed by `num_threads` threads (None: one for each core). Raises
    `UserError` for a recording that cannot be read.
    """
    import_torchaudio()
    with ThreadPoolExecutor(num_threads or os.cpu_count()) as pool:
        for start in range(0, len(paths), BLOCK):
            # Nothing is yielded inside: torch has one number of threads for the whole process.
            with one_thread_each():
                block = paths[start : start + BLOCK]
                found = list(pool.map(lambda path: compute(read_audio(path)), block))
            yield from found


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Torch computes with one thread inside the block, since a pool's threads share the cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
