"""Reads digest and duration of a corpus's audio files, and finds the damaged ones."""

import hashlib
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
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
from mlt_ray.corpus.utterance import Heard, Problem, Utterance
from mlt_ray.errors import UserError
from mlt_ray.machine import usable_cpus

T = TypeVar("T")

Progress = Callable[[int, int], None]
"""Called after each audio file with the number of files done and the number of all files."""

_LOST_BYTES_ALLOWED: Final = 1024  # some programs write headers that are off by a few bytes
_SILENT_RANGE: Final = 2.0**-15  # highest minus lowest sample: one step of 16-bit audio
_STREAMED: Final = 0x7FFF0000  # lengths from here on mean that a program did not know the length

_AHEAD: Final = 256  # files that are given out before their results are asked for

_RESAMPLING: Final = threading.Lock()
"""Held to resample. torch uses all cores for one recording, and one thread alone may import it."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Result of decoding a whole recording; `faults` is empty if it can be used.

    `num_samples` is None if the file does not say how many it has.
    """

    heard: Heard
    num_samples: int | None
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
            sha256, duration_s, heard = result
            utterances.append(
                replace(
                    draft,
                    audio_sha256=sha256,
                    duration_s=duration_s,
                    heard=heard,
                    alignment_sha256=_digest(draft.alignment) if draft.alignment else None,
                )
            )
    return utterances, problems


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def decode_all(paths: Sequence[Path], progress: Progress | None = None) -> Iterator[Decoded | str]:
    """Decode each file from start to end, in order; the reason as text where that fails."""
    return _each(_decode, paths, progress)


def hear_all(
    utterances: Sequence[Utterance], progress: Progress | None = None
) -> Iterator[Heard | None]:
    """What is heard of each utterance, in order; None where the recording cannot be decoded.

    Only those are decoded whose reader has not heard them. `progress` is called after each of all.
    """
    unheard = decode_all([u.audio for u in utterances if u.heard is None])
    for done, utterance in enumerate(utterances, start=1):
        heard = utterance.heard
        if heard is None:
            found = next(unheard)
            heard = found.heard if isinstance(found, Decoded) else None
        if progress is not None:
            progress(done, len(utterances))
        yield heard


def _each(
    work: Callable[[Path], T], paths: Sequence[Path], progress: Progress | None
) -> Iterator[T]:
    """Yield `work(path)` for each path, in order."""
    # Threads suffice: hashing, decoding and waiting for a disk all release the interpreter lock.
    pool = ThreadPoolExecutor(max_workers=usable_cpus() + 4)
    try:
        left = iter(paths)
        # A few at once, since what waits in a pool takes memory for each path.
        begun = deque(pool.submit(work, path) for path in islice(left, _AHEAD))
        for done in range(1, len(paths) + 1):
            result = begun.popleft().result()
            begun.extend(pool.submit(work, path) for path in islice(left, 1))
            if progress is not None:
                progress(done, len(paths))
            yield result
    finally:  # who interrupts does not wait for a disk that does not answer
        pool.shutdown(wait=False, cancel_futures=True)


def _digest_and_duration(path: Path) -> tuple[str, float, Heard] | str:
    """SHA-256 of the bytes, seconds, and what is heard; the reason as text if it is unusable."""
    # Imported here: a machine that only trains has no soundfile.
    import soundfile as sf

    if _is_endless(path):
        return _ENDLESS
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            lost = _bytes_lost(file)
        decoded = _decode(path)
        if isinstance(decoded, str):
            # Raises what is wrong with its header, if that is it.
            sf.SoundFile(os.fsencode(path)).close()
    except FileNotFoundError:
        return f"audio file is missing{_where_else(path)}"
    except (OSError, ValueError, sf.LibsndfileError) as error:
        return f"audio file is unreadable: {reason_of(error)}"
    if lost > _LOST_BYTES_ALLOWED:
        return f"audio file is cut short: {lost} bytes less than its header says"
    if isinstance(decoded, str):
        return decoded
    if decoded.num_samples == 0:
        return "audio file holds no samples"
    if decoded.num_samples is None:
        return "audio file does not say how long it is; encode it again"
    if decoded.faults:
        return "; ".join(decoded.faults)
    return sha256, decoded.num_samples / decoded.heard.sample_rate_hz, decoded.heard


_ENDLESS: Final = "audio file is a device or a pipe, no file"


def _is_endless(path: Path) -> bool:
    """Whether reading a path might never end."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False  # whoever reads it says why
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _where_else(path: Path) -> str:
    """What is there in place of a file that is missing; empty if nothing is."""
    if path.is_symlink():
        return f"; {path.name} is a link to {os.readlink(path)}, which is not there"
    for name in _names_in(path.parent).get(path.stem.casefold(), ()):
        return f"; {name} is there: name that, or rename it"
    return ""


@lru_cache(maxsize=8)
def _names_in(folder: Path) -> Mapping[str, list[str]]:
    """The names of a folder's files, by their stem in lower case."""
    found: dict[str, list[str]] = {}
    with suppress(OSError):  # a folder that is missing too
        for name in sorted(os.listdir(folder)):
            found.setdefault(os.path.splitext(name)[0].casefold(), []).append(name)
    return found


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

    if _is_endless(path):
        return _ENDLESS
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
    sound = hashlib.sha256(rate.to_bytes(4, "little") + mono.tobytes()).digest()
    return Decoded(
        heard=Heard(rate, channels, sound),
        num_samples=recorded.promised,
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
