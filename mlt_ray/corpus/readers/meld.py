"""Reads MELD (Poria et al. 2019): three CSV files with texts, speakers and official parts."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mlt_ray.corpus.readers.elsewhere import Elsewhere, locate
from mlt_ray.corpus.readers.table import read_table
from mlt_ray.corpus.readers.unlisted import unlisted
from mlt_ray.corpus.recordings import Progress, read_recordings
from mlt_ray.corpus.utterance import Corpus, Problem, Utterance
from mlt_ray.errors import UserError

_FILES: Final = {part: f"{part}_sent_emo.csv" for part in ("train", "dev", "test")}
_PLACES: Final = (".", "train", "data/MELD", "MELD.Raw", "MELD.Raw/train")
"""Folders of lists; the raw release has that of train beside the recordings of train."""

_COLUMNS: Final = ("utterance", "speaker", "emotion", "dialogue_id", "utterance_id")

_WINDOWS: Final = {
    n: bytes([n]).decode("cp1252") for n in range(0x80, 0xA0) if n not in (129, 141, 143, 144, 157)
}
"""Typographic signs of Windows-1252 that stand in MELD's texts as control characters."""


def has_meld_lists(path: Path) -> bool:
    """True if `path` holds MELD's three lists, in places where a release has them."""
    return _lists(path).keys() == _FILES.keys()


def read_meld(path: Path, progress: Progress | None, elsewhere: Elsewhere) -> Corpus:
    """All utterances of MELD whose recordings are found, below `elsewhere` or `path`.

    They are ``diaD_uttU`` below a folder with the part in its name, such as ``train_splits``. The
    parts are those of the release. Recordings that are not found are counted in notes. Raises
    `UserError` if none is found, or if a list cannot be read.
    """
    lists = _lists(path)
    if lists.keys() != _FILES.keys():
        raise UserError(f"{path}: expected {', '.join(_FILES.values())}, got fewer of them")
    if elsewhere.texts:
        raise UserError(f"{elsewhere.texts}: MELD's own lists have its texts; leave --texts out")
    drafts: list[Utterance] = []
    problems: list[Problem] = []
    for part, file in lists.items():
        rows, notes = read_table(file, _COLUMNS)
        drafts += [_draft(part, row) for row in rows]
        problems += notes
    for identity, number in Counter(draft.id for draft in drafts).items():
        if number > 1:
            problems.append(Problem(where=identity, reason=f"is listed {number} times; remove one"))
    root = elsewhere.audio or path
    found, unfound = locate(
        sorted({draft.id: draft for draft in drafts}.values(), key=lambda draft: draft.id),
        root,
        lambda draft, file: _part_of(file.relative_to(root)) == draft.parts[0],
    )
    utterances, unusable = read_recordings(found, progress)
    return Corpus(
        name=path.resolve().name,
        utterances=tuple(utterances),
        problems=(*problems, *unfound, *unusable),
        unlisted=unlisted(root, (draft.audio for draft in found)),
    )


def _lists(path: Path) -> dict[str, Path]:
    """The list of each part, of those that are there."""
    found = {}
    for part, name in _FILES.items():
        files = (path / place / name for place in _PLACES)
        if file := next((f for f in files if f.is_file()), None):
            found[part] = file
    return found


def _part_of(recording: Path) -> str | None:
    """The part in the name of the nearest folder that names one."""
    for folder in reversed(recording.parent.parts):
        for part in _FILES:
            if part in folder.lower():
                return part
    return None


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
