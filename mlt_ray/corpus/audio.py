"""Reads audio files as mono samples at 16 kHz. Shapes: N samples.

Both limits, `MOST_S` and `MOST_BYTES`, hold before memory is filled: a header that says more is
refused, and one that says less than there is, or nothing, is not believed.
"""

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from mlt_ray.errors import UserError
from mlt_ray.machine import torch_threads, usable_cpus

SAMPLE_RATE_HZ: Final = 16_000
"""Sample rate of IEMOCAP; other audio is resampled to it."""

Samples = NDArray[np.float32]
"""Mono samples (N,) in [-1, 1] at `SAMPLE_RATE_HZ`."""

Sound = Path | Samples
"""A recording: a file, or its samples."""

Encoded = Path | BinaryIO
"""What holds an encoded recording: a file, or the bytes of one, which can be sought in."""

MOST_S: Final = 3600.0
"""Longest recording that is read, in seconds. At 16 kHz an hour takes 230 MB."""

MOST_BYTES: Final = 1 << 30
"""Largest file that is read: more than an hour of 24-bit stereo at 48 kHz."""

_USUAL_RATE_HZ: Final = 48_000  # the highest rate of which `MOST_S` are read; of others, fewer
_LARGEST_KERNEL: Final = 1 << 27  # values of the windowed sinc of a rate, each 8 bytes
_STRETCH: Final = 1 << 24  # samples that are resampled at once
_MARGIN: Final = 16  # zeros of the sinc on either side that a sample may look at; torchaudio has 6
_AT_ONCE: Final = 1 << 20  # values that are decoded at once, of all channels together
_UNKNOWN: Final = 2**62  # number of samples by which libsndfile says that a stream has no length

BLOCK: Final = 64
"""Number of recordings that are computed before their results are yielded."""

T = TypeVar("T")


def import_torchaudio() -> None:
    """Import torchaudio before threads need it; imports by two threads at once fail."""
    import torchaudio

    assert torchaudio.functional


class TooMuch(Exception):
    """A recording beyond what is read; the text says what was expected and got, and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A decoded recording: the mean of its channels (N,), at its own rate.

    `promised` is the number of samples that its header says, None if it says none.
    """

    mono: NDArray[np.float32]
    sample_rate_hz: int
    num_channels: int
    promised: int | None


def read_audio(sound: Sound) -> Samples:
    """The samples of a file: channels are averaged, other rates resampled.

    Samples are returned as they are. Raises `UserError` if libsndfile cannot read the file, or if
    it holds more than `MOST_S` or `MOST_BYTES`.
    """
    return sound if isinstance(sound, np.ndarray) else read_encoded(sound, str(sound))


def read_encoded(source: Encoded, name: str) -> Samples:
    """As `read_audio`, of bytes such as a request's, `io.BytesIO(body)`; `name` is for messages."""
    recorded = decode_named(source, name)
    return at_16_khz(recorded.mono, recorded.sample_rate_hz)


def decode_named(source: Encoded, name: str) -> Recorded:
    """What `decode` gives, with its errors as `UserError`."""
    with _named(name):
        return decode(source)


def length_s(path: Path) -> float | None:
    """Seconds of a recording by its header; None if that says none.

    Raises `UserError` as `read_audio` does, of all but what decoding alone finds.
    """
    with _named(str(path)), _opened(path) as file:
        return None if file.frames >= _UNKNOWN else file.frames / file.samplerate


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors of `decode` become `UserError`, which begins with `name`."""
    import soundfile

    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{name}: expected audio, found no such file; correct the path") from error
    except (OSError, soundfile.LibsndfileError) as error:
        raise UserError(
            f"{name}: expected audio (WAV, FLAC, …), got {reason_of(error)}; convert it to WAV"
        ) from error
    except TooMuch as error:
        raise UserError(f"{name}: {error}") from error


def decode(source: Encoded) -> Recorded:
    """A whole recording.

    Raises `TooMuch` for one beyond the limits, and what soundfile raises, `OSError` and
    `LibsndfileError`, for one that cannot be read.
    """
    blocks, count = [np.zeros(0, np.float32)], 0
    with _opened(source) as file:
        rate, channels, promised = file.samplerate, file.channels, file.frames
        most = _most_samples(rate)
        if promised < _UNKNOWN:
            file.seek(0)  # as soundfile.read does, after which MP3 decodes to other last bits
        while len(block := file.read(max(1, _AT_ONCE // channels), "float32", always_2d=True)):
            if (count := count + len(block)) > most:
                raise _too_long(rate, count)
            # What is not finite, or overflows, stays so.
            with np.errstate(invalid="ignore", over="ignore"):
                blocks.append(mixed(block))
    return Recorded(
        mono=np.concatenate(blocks),
        sample_rate_hz=rate,
        num_channels=channels,
        promised=promised if promised < _UNKNOWN else None,
    )


def _opened(source: Encoded) -> Any:
    """The source as a `soundfile.SoundFile` whose header is within the limits."""
    size = source.stat().st_size if isinstance(source, Path) else source.seek(0, os.SEEK_END)
    if size > MOST_BYTES:
        raise TooMuch(
            f"expected a file of at most {MOST_BYTES >> 20} MiB, got {size >> 20} MiB; cut it into "
            "parts, or save it as FLAC at 16 kHz"
        )
    if not size:
        raise OSError("an empty file")
    if not isinstance(source, Path):
        source.seek(0)
    file = _reader()(str(source) if isinstance(source, Path) else _Inside(source))
    try:
        common = math.gcd(rate := file.samplerate, SAMPLE_RATE_HZ)
        if rate * SAMPLE_RATE_HZ // common**2 > _LARGEST_KERNEL:
            raise TooMuch(
                f"expected a usual sample rate, such as 44100 Hz, got {rate} Hz; convert it to "
                f"{SAMPLE_RATE_HZ} Hz"
            )
        if _most_samples(rate) < file.frames < _UNKNOWN:
            raise _too_long(rate, file.frames)
    except TooMuch:
        file.close()
        raise
    return file


class _Inside:
    """Bytes in which a seek to a place that is none changes nothing.

    Damaged headers name such places. libsndfile sees where it is, and says so; an exception in what
    it calls would be printed, and lost.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.read, self.tell = source.read, source.tell

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        with contextlib.suppress(ValueError, OverflowError, OSError):
            self._source.seek(place, whence)
        return self._source.tell()


def _most_samples(rate_hz: int) -> float:
    return MOST_S * min(rate_hz, _USUAL_RATE_HZ)


def _too_long(rate_hz: int, count: int) -> TooMuch:
    most_s = _most_samples(rate_hz) / rate_hz
    return TooMuch(
        f"expected at most {most_s:.0f} s at {rate_hz} Hz, got {count / rate_hz:.0f} s or more; "
        "cut it into parts"
    )


@functools.cache
def _reader() -> Any:
    """A `soundfile.SoundFile` that reads on and on.

    soundfile itself seeks behind each block that it reads: at the end of a stream of unknown length
    that is an error, and inside of an MP3 it spoils what comes next.
    """
    # Imported here: a machine that only trains has no soundfile.
    import soundfile

    class Reader(soundfile.SoundFile):
        def seekable(self) -> bool:
            return False

    return Reader


def reason_of(error: Exception) -> str:
    """Text of an error of reading, without the file's path, since the caller names the file."""
    if (of_libsndfile := getattr(error, "error_string", None)) is not None:
        return str(of_libsndfile).removeprefix("Error : ").rstrip(" .")
    return getattr(error, "strerror", None) or str(error)


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

    # Long recordings in stretches: torch takes several times the memory of what it resamples.
    common = math.gcd(sample_rate_hz, SAMPLE_RATE_HZ)
    step, step_of_16_khz = sample_rate_hz // common, SAMPLE_RATE_HZ // common
    steps = max(1, _STRETCH // step)
    margin = -(-_MARGIN * max(step, step_of_16_khz) // (step * step_of_16_khz)) + 1
    found = []
    for start in range(0, max(1, -(-len(samples) // step)), steps):
        before = min(start, margin)
        stretch = samples[(start - before) * step : (start + steps + margin) * step]
        resampled = resample(torch.from_numpy(stretch), sample_rate_hz, SAMPLE_RATE_HZ).numpy()
        found.append(resampled[before * step_of_16_khz :][: steps * step_of_16_khz])
    values: Samples = found[0] if len(found) == 1 else np.concatenate(found)
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
