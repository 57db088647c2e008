"""The recordings that are predicted, each with its text: files, folders, manifests, streams."""

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

import numpy as np

from mlt_ray.corpus.audio import MOST_BYTES, SAMPLE_RATE_HZ, Samples, Sound, length_s
from mlt_ray.corpus.readers.table import read_table
from mlt_ray.corpus.recordings import check_heard, read_speech
from mlt_ray.corpus.texts import natural_key
from mlt_ray.errors import UserError
from mlt_ray.inference.prediction import GIVEN, NONE

STREAM: Final = "-"
"""What stands for standard input."""

SUFFIXES: Final = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd"),
    *(".caf", ".w64", ".rf64", ".nist", ".sph", ".voc"),
)
"""Endings of the files that a folder's recordings are; libsndfile reads them."""

_TABLE: Final = ".csv"
_PIECE: Final = 1 << 20  # bytes of a stream that are read at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """One recording to predict, by the name that its user has for it.

    `text_source` is ``given`` (the user's, which may be empty), ``asr: NAME`` (a recogniser's) or
    ``none``. `alignment` is a file of Sphinx word times.
    """

    id: str
    audio: Sound
    text: str = ""
    text_source: str = NONE
    speaker: str = ""
    alignment: Path | None = None

    @cached_property
    def duration_s(self) -> float:
        """Seconds, by the header of a file.

        Where the header says none, the file is decoded. Raises `UserError` for a file that cannot
        be read.
        """
        if isinstance(self.audio, np.ndarray):
            return len(self.audio) / SAMPLE_RATE_HZ
        said = length_s(self.audio)
        return len(read_speech(self.audio, self.id)) / SAMPLE_RATE_HZ if said is None else said

    @property
    def has_text(self) -> bool:
        """Whether it is known what is said, be it nothing."""
        return self.text_source != NONE


Recording = str | Path | Samples | bytes | BinaryIO
"""What `Predictor.predict` takes: a path, mono samples at 16 kHz, or the bytes of a file."""


def transcribed_by(recogniser: str) -> str:
    """The `text_source` of what a recogniser heard."""
    return f"asr: {recogniser}"


def clip_of(
    sound: Sound | bytes | BinaryIO, text: str | None = None, *, name: str = "", speaker: str = ""
) -> Clip:
    """A clip of a file, of mono samples at 16 kHz, or of a file's bytes.

    `text` None: it is not known what is said. `name` is for messages and in the prediction; a file
    has one. Raises `UserError` for a recording in which nothing can be heard.
    """
    if isinstance(sound, Path):
        name = name or str(sound)
        samples = read_speech(sound, name)
    elif isinstance(sound, np.ndarray):
        name = name or "samples"
        if not np.issubdtype(sound.dtype, np.floating):
            raise UserError(
                f"{name}: expected samples within -1 and 1, got integers ({sound.dtype}); divide "
                "them by their largest value"
            )
        samples = np.asarray(sound, np.float32)
        if samples.ndim != 1:
            raise UserError(
                f"{name}: expected mono samples at {SAMPLE_RATE_HZ} Hz, of one dimension, got "
                f"{samples.ndim} dimensions; average the channels"
            )
        check_heard(samples, name)
    elif not (isinstance(sound, bytes) or hasattr(sound, "seek")):
        raise UserError(
            f"{name or 'recording'}: expected a path, bytes of a file, or a NumPy array of samples "
            f"at {SAMPLE_RATE_HZ} Hz, got {type(sound).__name__}"
        )
    else:
        name = name or "recording"
        samples = read_speech(BytesIO(sound) if isinstance(sound, bytes) else sound, name)
    return told(_clip(name, samples, speaker), text)


def heard(clip: Clip) -> Clip:
    """The clip with its samples; `UserError` if it cannot be read or nothing is heard in it."""
    if isinstance(clip.audio, np.ndarray):
        return clip
    return replace(clip, audio=read_speech(clip.audio, clip.id))


def find_clips(places: Sequence[str], stream: BinaryIO | None = None) -> list[Clip]:
    """The clips that the arguments of a command name, in their order; none is decoded yet.

    A place is a file of sound, a folder (its recordings and those of the folders in it, in natural
    order), a CSV file with a column path (relative to its folder) and, if there are, the columns
    text and speaker, or ``-``: `stream`, which is read. A file need not exist: that is found when
    it is read. Raises `UserError` for a folder without recordings and for a CSV file that cannot be
    read.
    """
    clips: list[Clip] = []
    for place in places:
        path = Path(place)
        if place == STREAM:
            clips.append(_clip(STREAM, read_stream(stream, "standard input")))
        elif path.is_dir():
            clips += _of_folder(path)
        elif path.suffix.lower() == _TABLE:
            clips += _of_table(path)
        elif _is_pipe(path):
            with path.open("rb") as file:
                clips.append(_clip(place, read_stream(file, place)))
        else:
            clips.append(_clip(place, path))
    return clips


def read_stream(stream: BinaryIO | None, name: str) -> Samples:
    """The samples of an encoded recording that a stream yields, of at most `MOST_BYTES`."""
    if stream is None or stream.isatty():
        raise UserError(
            f"{name}: expected a recording, got a terminal; pipe one into it, as in cat a.wav | "
            f"mlt-ray predict {STREAM}"
        )
    content, size = BytesIO(), 0
    while piece := stream.read(_PIECE):
        if (size := size + len(piece)) > MOST_BYTES:
            raise UserError(
                f"{name}: expected at most {MOST_BYTES >> 20} MiB, got more; cut it into parts"
            )
        content.write(piece)
    if not size:
        raise UserError(f"{name}: expected a recording, got nothing; look what was to write it")
    return read_speech(content, name)


def _is_pipe(path: Path) -> bool:
    """Whether a path is read once, from start to end, as what a shell makes of ``<(command)``."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return False


def _clip(name: str, audio: Sound, speaker: str = "") -> Clip:
    return Clip(id=name, audio=audio, speaker=speaker)


def told(clip: Clip, text: str | None, source: str = GIVEN) -> Clip:
    """The clip with a text from that source; as it is without one (None)."""
    return clip if text is None else replace(clip, text=text, text_source=source)


def _of_folder(folder: Path) -> list[Clip]:
    paths = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not paths:
        raise UserError(
            f"{folder}: expected recordings such as .wav or .flac, found none; name a folder that "
            "has some"
        )
    paths.sort(key=lambda path: ([natural_key(part) for part in path.parts], path))
    return [_clip(str(path), path) for path in paths]


def _of_table(file: Path) -> list[Clip]:
    rows, _ = read_table(file, ("path",), ("text", "speaker"))
    clips = []
    for row in rows:
        if not row["path"]:
            raise UserError(f"{file}: expected a path in each line, got none in one; fill it in")
        path = file.parent / row["path"]
        clip = _clip(str(path), path, row.get("speaker", ""))
        clips.append(told(clip, row.get("text")))
    if not clips:
        raise UserError(f"{file}: expected a line for each recording, got none; add some")
    return clips


def with_text(clips: Sequence[Clip], text: str) -> list[Clip]:
    """The only clip with its text; `UserError` if there are several."""
    if len(clips) > 1:
        raise UserError(
            f"--text: expected one recording, got {len(clips)}; give a CSV file of keys and texts "
            "by --texts"
        )
    return [told(clip, text) for clip in clips]


def with_texts(clips: Sequence[Clip], file: Path) -> tuple[list[Clip], list[str]]:
    """The clips with the texts of a CSV file with columns key and text, and notes for the user.

    A key is the path of a clip as given, the end of it, or a file's name, with its ending or
    without; the longest counts. A clip that has a text and no key keeps it. Raises `UserError` if
    the file gives two texts of one key, if it fits no clip, and for a key that clips of several
    folders have.
    """
    rows, found = read_table(file, ("key", "text"))
    notes = [str(note) for note in found]
    texts: dict[str, str] = {}
    for row in rows:
        if texts.setdefault(row["key"], row["text"]) != row["text"]:
            raise UserError(f"{file}: expected one text of {row['key']}, got two; remove one")
    made, used = [], dict[str, PurePosixPath]()
    for clip in clips:
        key = next((key for key in _keys(clip.id) if key in texts), None)
        if key is not None:
            stem = PurePosixPath(clip.id).with_suffix("")
            if used.setdefault(key, stem) != stem:
                raise UserError(
                    f"{file}: expected keys of one recording each, got {key} of {used[key]} and "
                    f"{stem}; write paths as keys"
                )
            clip = told(clip, texts[key])
        made.append(clip)
    unknown = [key for key in texts if key not in used]
    if clips and not used:
        got = unknown[0] if unknown else "none"
        raise UserError(
            f"{file}: expected keys such as {PurePosixPath(clips[0].id).name}, got {got}"
        )
    if unknown:
        notes.append(f"{file}: {_number(unknown, 'key')} of no recording, such as {unknown[0]}")
    return made, notes


def _keys(name: str) -> Iterable[str]:
    """The keys that may name a file, the longest first."""
    path = PurePosixPath(name)
    yield name
    for start in range(len(path.parts)):
        end = PurePosixPath(*path.parts[start:])
        yield str(end)
        yield str(end.with_suffix(""))


def _number(things: Sequence[object], noun: str) -> str:
    return f"1 {noun} is" if len(things) == 1 else f"{len(things)} {noun}s are"
