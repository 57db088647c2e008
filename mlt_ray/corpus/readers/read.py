"""Reads a corpus of any known kind; `READERS` lists the kinds.

To add a kind, write ``mlt_ray/corpus/readers/<kind>.py`` with two functions, add one row to
`READERS` and name what it expects in the message of `read_corpus`.

``recognises(path) -> bool``
    True if `path` holds such a corpus. False, not an error, for any other path, which may be a
    file or not exist.

``read(path, progress, elsewhere) -> Corpus``
    Makes a draft `Utterance` of each utterance, with the corpus's own name of its emotion,
    ``duration_s=0.0`` and ``audio_sha256=""``; `parts` if folds come with the corpus.
    `read_recordings` turns the drafts, sorted by id, into the utterances and problems of the
    `Corpus`; pass `progress` on to it. Ids must be unique and must not depend on where the corpus
    lies. An utterance that cannot be used is left out and becomes a `Problem` with its emotion; one
    that is not fatal is a note. Text files go through `texts.decode`, and what it guesses becomes a
    note. Raise `UserError` only if the corpus as a whole cannot be read.

`elsewhere` says where recordings and texts lie if not in the corpus's folder; a kind that has no
use for it refuses it (`_whole`). ``readers/manifest.py`` is an example.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from mlt_ray.corpus.readers.elsewhere import HERE, Elsewhere
from mlt_ray.corpus.readers.emobox import has_emobox_folds, read_emobox
from mlt_ray.corpus.readers.iemocap import find_iemocap, has_sessions, read_iemocap
from mlt_ray.corpus.readers.manifest import FILE_NAME, has_manifest, read_manifest
from mlt_ray.corpus.readers.meld import has_meld_lists, read_meld
from mlt_ray.corpus.recordings import Progress
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import UserError


class Reader(NamedTuple):
    """How a kind of corpus is recognised and read; see the top of this file."""

    recognises: Callable[[Path], bool]
    read: Callable[[Path, Progress | None, Elsewhere], Corpus]


def _whole(
    read: Callable[[Path, Progress | None], Corpus],
) -> Callable[[Path, Progress | None, Elsewhere], Corpus]:
    """A reader of a kind whose folder holds recordings and texts."""

    def read_whole(path: Path, progress: Progress | None, elsewhere: Elsewhere) -> Corpus:
        if elsewhere != HERE:
            raise UserError(
                f"{path}: --audio and --texts are for corpora of EmoBox and MELD; this one says "
                "itself where its recordings and texts are; leave them out"
            )
        return read(path, progress)

    return read_whole


_MANIFEST: Final = Path(FILE_NAME)

READERS: Final = (
    Reader(has_sessions, _whole(read_iemocap)),
    Reader(has_manifest, _whole(read_manifest)),
    Reader(has_emobox_folds, read_emobox),
    Reader(has_meld_lists, read_meld),
    # A manifest in the folder itself goes before an IEMOCAP above or below it.
    Reader(lambda path: find_iemocap(path) is not None, _whole(read_iemocap)),
)
"""The first reader that recognises a path reads it."""


def read_corpus(
    path: Path, progress: Progress | None = None, elsewhere: Elsewhere = HERE
) -> Corpus:
    """The corpus at `path`, read by the first of `READERS` that recognises it.

    `path` is a folder, or a ``manifest.csv``. Every audio file is read for its digest and
    duration, and `progress` is called after each. Raises `UserError` if no reader recognises
    `path`.
    """
    for reader in READERS:
        if reader.recognises(path):
            return reader.read(path, progress, elsewhere)
    if path.is_file():
        raise UserError(
            f"{path}: expected a folder or a file called {FILE_NAME}, got a file of another name; "
            f"call a manifest {FILE_NAME}"
        )
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; name the folder of a corpus")
    if alike := sorted(p.name for p in path.iterdir() if p.stem.casefold() == _MANIFEST.stem):
        if alike[0] == FILE_NAME:
            raise UserError(f"{path / FILE_NAME}: expected a file, got something else; replace it")
        raise UserError(f"{path}: expected {FILE_NAME}, got {alike[0]}; rename it, if it is that")
    raise UserError(
        f"{path}: expected {FILE_NAME} (columns path, text, emotion, speaker), IEMOCAP's "
        "Session1/dialog/EmoEvaluation, EmoBox's fold_1, or MELD's train_sent_emo.csv, got none; "
        "name the folder that holds one of them"
    )
