"""Reads digest and duration of a corpus's audio files, and finds the damaged ones."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import numpy as np

from mlt_ray.corpus.audio import (
    SAMPLE_RATE_HZ,
    Encoded,
    Samples,
    TooMuch,
    at_16_khz,
    decode,
    decode_named,
    reason_of,
)
from mlt_ray.corpus.utterance import Problem, Utterance
from mlt_ray.errors import UserError
from mlt_ray.machine import usable_cpus

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Called after each audio file with the number of files done and the number of all files."""

_LOST_BYTES_ALLOWED: Final = 1024  # some programs write headers that are off by a few bytes
_SILENT_RANGE: Final = 2.0**-15  # highest minus lowest sample: one step of 16-bit audio
_STREAMED: Final = 0x7FFF0000  # lengths from here on mean that a program did not know the length

_RESAMPLING: Final = threading.Lock()
"""Held to resample. torch uses all cores for one recording, and one thread alone may import it."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Result of decoding a whole recording; `faults` is empty if it can be used.

    `sound` is a digest of what training hears, the mean of the channels: files of several formats
    may hold one sound.
    """

    sample_rate_hz: int
    num_channels: int
    sound: str
    faults: tuple[str, ...] = ()


def read_recordings(
    drafts: Sequence[Utterance], progress: Progress | None = None
) -> tuple[list[Utterance], list[Problem]]:
    """Read the files of each draft and fill in `duration_s` and the digests, in the same order.

    A draft is an utterance with placeholders for those values. A recording that is missing,
    unreadable, empty, cut short or silent becomes a fatal `Problem`; its utterance is left out.
    """
    utterances, problems = [], []
    found = _each(_digest_and_duration, [u.audio for u in drafts], progress)
    for draft, result in zip(drafts, found, strict=True):
        if isinstance(result, str):
            where = f"{draft.id} ({draft.audio.name})"
            problems.append(Problem(where=where, reason=result, emotion=draft.emotion))
        else:
            sha256, duration_s = result
            utterances.append(
                replace(
                    draft,
                    audio_sha256=sha256,
                    duration_s=duration_s,
                    alignment_sha256=_digest(draft.alignment) if draft.alignment else None,
                )
            )
    return utterances, problems


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def decode_all(paths: Sequence[Path], progress: Progress | None = None) -> Iterator[Decoded | str]:
    """Decode each file from start to end, in order; the reason as text where that fails."""
    return _each(_decode, paths, progress)


def _each(
    work: Callable[[Path], T], paths: Sequence[Path], progress: Progress | None
) -> Iterator[T]:
    """Yield `work(path)` for each path, in order."""
    # Threads suffice: hashing, decoding and waiting for a disk all release the interpreter lock.
    with ThreadPoolExecutor(max_workers=usable_cpus() + 4) as pool:
        for done, result in enumerate(pool.map(work, paths), start=1):
            if progress is not None:
                progress(done, len(paths))
            yield result


def _digest_and_duration(path: Path) -> tuple[str, float] | str:
    """SHA-256 of the bytes and duration in seconds; the reason as text if the file is unusable."""
    # Imported here: a machine that only trains has no soundfile.
    import soundfile as sf

    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            lost = _bytes_lost(file)
        info = sf.info(os.fsencode(path))
        decoded = _decode(path)
    except FileNotFoundError:
        return "audio file is missing"
    except (OSError, sf.LibsndfileError) as error:
        return f"audio file is unreadable: {reason_of(error)}"
    if lost > _LOST_BYTES_ALLOWED:
        return f"audio file is cut short: {lost} bytes less than its header says"
    if info.frames == 0:
        return "audio file holds no samples"
    if info.frames >= 2**62:  # how libsndfile says that a stream does not know its length
        return "audio file does not say how long it is; encode it again"
    faults = decoded.faults if isinstance(decoded, Decoded) else (decoded,)
    if faults:
        return "; ".join(faults)
    return sha256, info.frames / info.samplerate


def _bytes_lost(file: BinaryIO) -> int:
    """Bytes of samples that a RIFF header promises but the file lacks; 0 for other formats.

    libsndfile reads such a file without an error, as a shorter recording.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if file.read(12)[:4] != b"RIFF":
        return 0
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"data":
            streamed = length == 0 or length >= _STREAMED
            return 0 if streamed else max(0, length - (size - file.tell()))
        file.seek(length + length % 2, os.SEEK_CUR)
    return 0


def _decode(path: Path) -> Decoded | str:
    """Format and faults of a recording; the reason as text if it cannot be decoded."""
    import soundfile as sf

    try:
        recorded = decode(path)
    except (OSError, sf.LibsndfileError) as error:
        return f"audio file breaks off or is unreadable: {reason_of(error)}"
    except TooMuch as error:
        return f"audio file is too much: {error}"
    mono, rate, channels = recorded.mono, recorded.sample_rate_hz, recorded.num_channels
    faults = []
    if recorded.promised is not None and len(mono) < recorded.promised:
        faults.append(_cut_short(len(mono), recorded.promised))
    if not np.isfinite(mono).all():
        faults.append("audio holds samples that are not finite")
    elif len(mono) and _is_silent(mono, rate):
        heard = "" if channels == 1 else f" where its {channels} channels are averaged"
        faults.append(f"audio is silent from start to end{heard}")
    return Decoded(
        sample_rate_hz=rate,
        num_channels=channels,
        sound=hashlib.sha256(rate.to_bytes(4, "little") + mono.tobytes()).hexdigest(),
        faults=tuple(faults),
    )


def _cut_short(decoded: int, promised: int) -> str:
    return f"audio file is cut short: {decoded} of {promised} samples decode"


def read_speech(source: Encoded, name: str) -> Samples:
    """The samples of a recording at `SAMPLE_RATE_HZ`, if something is heard in it.

    Raises `UserError`, which begins with `name`, for a recording that training refuses too:
    unreadable, cut short, empty, silent, or with samples that are not finite.
    """
    recorded = decode_named(source, name)
    count, promised = len(recorded.mono), recorded.promised
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
        lost = _bytes_lost(file)
    if lost > _LOST_BYTES_ALLOWED:
        raise UserError(f"{name}: audio file is cut short: {lost} bytes less than its header says")
    if promised is not None and count < promised:
        raise UserError(f"{name}: {_cut_short(count, promised)}")
    samples = at_16_khz(recorded.mono, recorded.sample_rate_hz)
    check_heard(samples, name)
    return samples


def check_heard(samples: Samples, name: str) -> None:
    """Raise `UserError` for samples at `SAMPLE_RATE_HZ` in which nothing can be heard."""
    if not len(samples):
        raise UserError(f"{name}: expected audio, got a recording without samples")
    if not np.isfinite(samples).all():
        raise UserError(f"{name}: expected audio, got samples that are not finite")
    if is_silence(samples):
        raise UserError(f"{name}: expected speech, got a recording silent from start to end")


def is_silence(samples: Samples) -> bool:
    """Whether samples differ by at most one step of 16-bit audio."""
    return bool(np.ptp(samples) <= _SILENT_RANGE)


def _is_silent(mono: np.ndarray, rate_hz: int) -> bool:
    """Whether nothing is heard in the samples that training reads, at `SAMPLE_RATE_HZ`."""
    if is_silence(mono):
        return True
    if rate_hz <= SAMPLE_RATE_HZ:
        return False
    # Means over an eighth of a millisecond still hold speech, and cost far less than to resample.
    length = -(-rate_hz // 8000)
    means = mono[: len(mono) // length * length].reshape(-1, length).mean(axis=1)
    if len(means) and np.ptp(means) > np.ptp(mono) / 2:
        return False
    with _RESAMPLING:
        return is_silence(at_16_khz(mono, rate_hz))
