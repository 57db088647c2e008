"""Reads MELD (Poria et al. 2019): three CSV files with texts, speakers and official parts."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mlt_ray.corpus.readers.elsewhere import Elsewhere, locate
from mlt_ray.corpus.recordings import Progress, read_recordings
from mlt_ray.corpus.texts import decode
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.errors import UserError

_FILES: Final = {part: f"{part}_sent_emo.csv" for part in ("train", "dev", "test")}
_PLACES: Final = (".", "data/MELD", "MELD.Raw")
_COLUMNS: Final = ("utterance", "speaker", "emotion", "dialogue_id", "utterance_id")

_WINDOWS: Final = {
    n: bytes([n]).decode("cp1252") for n in range(0x80, 0xA0) if n not in (129, 141, 143, 144, 157)
}
"""Typographic signs of Windows-1252 that stand in MELD's texts as control characters."""


def find_meld(path: Path) -> Path | None:
    """The folder with MELD's lists: `path`, or one that a release has below it; else None."""
    folders = (path / place for place in _PLACES)
    return next((f for f in folders if all((f / n).is_file() for n in _FILES.values())), None)


def read_meld(path: Path, progress: Progress | None, elsewhere: Elsewhere) -> Corpus:
    """All utterances of MELD whose recordings are found, below `elsewhere` or `path`.

    They are ``diaD_uttU`` in a folder with the part in its name, such as ``train_splits``. The
    parts are those of the release. Recordings that are not found are counted in a note. Raises
    `UserError` if none is found, or a column is missing.
    """
    lists = find_meld(path)
    if lists is None:
        raise UserError(f"{path}: expected {', '.join(_FILES.values())}, found none of them")
    root = elsewhere.audio or path
    drafts, problems = locate(
        (_draft(part, row) for part, name in _FILES.items() for row in _rows(lists / name)),
        root,
        lambda draft, file: draft.parts[0] in file.relative_to(root).parent.as_posix().lower(),
    )
    drafts.sort(key=lambda draft: draft.id)
    utterances, unusable = read_recordings(drafts, progress)
    return Corpus(
        name=path.resolve().name,
        utterances=tuple(utterances),
        problems=(*problems, *unusable),
    )


def _draft(part: str, cells: Mapping[str, str]) -> Utterance:
    """A draft whose recording is ``diaD_uttU``, as in each of the three parts."""
    dialog = f"{part}/dia{cells['dialogue_id']}"
    identity = f"{dialog}_utt{cells['utterance_id']}"
    return Utterance(
        id=identity,
        audio=Path(f"{identity}.wav"),
        text=cells["utterance"].translate(_WINDOWS),
        emotion=cells["emotion"],
        speaker=cells["speaker"],
        dialog=dialog,
        duration_s=0.0,
        audio_sha256="",
        parts=(part,),
    )


def _rows(file: Path) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(decode(file.read_bytes()).text, newline=""))
    names = [name.strip().lower() for name in reader.fieldnames or []]
    if lacking := [name for name in _COLUMNS if name not in names]:
        raise UserError(f"{file}: expected columns {', '.join(_COLUMNS)}, lacks {lacking[0]}")
    reader.fieldnames = names
    return [{name: (row[name] or "").strip() for name in _COLUMNS} for row in reader]
