"""Reads digest and duration of a corpus's audio files, and finds the damaged ones."""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import numpy as np

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ, at_16_khz, mixed
from mlt_ray.corpus.utterance import Problem, Utterance
from mlt_ray.machine import usable_cpus

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Called after each audio file with the number of files done and the number of all files."""

_LOST_BYTES_ALLOWED: Final = 1024  # some programs write headers that are off by a few bytes
_SILENT_RANGE: Final = 2.0**-15  # highest minus lowest sample: one step of 16-bit audio
_BLOCK: Final = 1 << 19  # samples that are decoded at once

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
        info = sf.info(str(path))
        decoded = _decode(path)
    except FileNotFoundError:
        return "audio file is missing"
    except (OSError, sf.LibsndfileError) as error:
        return f"audio file is unreadable: {_reason(error)}"
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
            streamed = length in (0, 2**32 - 1)
            return 0 if streamed else max(0, length - (size - file.tell()))
        file.seek(length + length % 2, os.SEEK_CUR)
    return 0


def _decode(path: Path) -> Decoded | str:
    """Format and faults of a recording; the reason as text if it cannot be decoded."""
    import soundfile as sf

    blocks, finite = [], True
    try:
        with sf.SoundFile(str(path)) as file:
            while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
                finite = finite and bool(np.isfinite(block).all())
                blocks.append(mixed(block) if finite else block[:, 0])
            promised, rate, channels = file.frames, file.samplerate, file.channels
    except (OSError, sf.LibsndfileError) as error:
        return f"audio file breaks off or is unreadable: {_reason(error)}"
    mono = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    faults = []
    if len(mono) < promised:
        faults.append(f"audio file is cut short: {len(mono)} of {promised} samples decode")
    if not finite:
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


def _is_silent(mono: np.ndarray, rate_hz: int) -> bool:
    """Whether nothing is heard in the samples that training reads, at `SAMPLE_RATE_HZ`."""
    if np.ptp(mono) <= _SILENT_RANGE:
        return True
    if rate_hz <= SAMPLE_RATE_HZ:
        return False
    # Means over an eighth of a millisecond still hold speech, and cost far less than to resample.
    length = -(-rate_hz // 8000)
    means = mono[: len(mono) // length * length].reshape(-1, length).mean(axis=1)
    if len(means) and np.ptp(means) > np.ptp(mono) / 2:
        return False
    with _RESAMPLING:
        return bool(np.ptp(at_16_khz(mono, rate_hz)) <= _SILENT_RANGE)


def _reason(error: Exception) -> str:
    """Text of the error without the file's path, since the caller names the file."""
    if (of_libsndfile := getattr(error, "error_string", None)) is not None:
        return str(of_libsndfile).rstrip(" .")
    return getattr(error, "strerror", None) or str(error)
