"""Reads a corpus of any known kind."""

from pathlib import Path

from mlt_ray.corpus.readers.iemocap import find_iemocap, has_sessions, read_iemocap
from mlt_ray.corpus.readers.manifest import FILE_NAME, read_manifest
from mlt_ray.corpus.recordings import Progress
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import UserError


def read_corpus(path: Path, progress: Progress | None = None) -> Corpus:
    """The corpus in a folder: IEMOCAP where sessions are found, else what ``manifest.csv`` lists.

    `path` may also be the manifest itself. Every audio file is read for its digest and duration,
    and `progress` is called after each. Raises `UserError` if `path` is neither.
    """
    if path.name == FILE_NAME and path.is_file():
        return read_manifest(path.parent, progress)
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; name the folder of a corpus")
    if not has_sessions(path) and (path / FILE_NAME).is_file():
        return read_manifest(path, progress)
    if find_iemocap(path) is not None:
        return read_iemocap(path, progress)
    raise UserError(
        f"{path}: expected {FILE_NAME} (columns path, text, emotion, speaker) or IEMOCAP's "
        "Session1/dialog/EmoEvaluation, got neither; name the folder that holds one of them"
    )
