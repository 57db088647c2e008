"""What of a corpus lies outside its folder: recordings, and texts."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import Final

from mlt_ray.corpus.texts import decode
from mlt_ray.corpus.utterance import Problem, Utterance
from mlt_ray.errors import UserError

_SOUND: Final = (".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff", ".opus")
_FILM: Final = (".mp4", ".m4a", ".avi", ".mov", ".mkv")


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """Where recordings lie, and a CSV file of keys and texts; None: in the corpus's own folder."""

    audio: Path | None = None
    texts: Path | None = None


HERE: Final = Elsewhere()
"""Recordings and texts lie in the corpus's own folder."""


class Recordings:
    """The recordings below a folder, which are found by the end of their path, or by name.

    `root` is the folder. Their endings do not count: a corpus names ``a.wav`` and has ``a.flac``.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UserError(f"{root}: expected a folder of recordings, found none; see --audio")
        self.root = root
        self._by_name: dict[str, list[PurePosixPath]] = {}
        for path in sorted(root.rglob("*")):
            if path.suffix.lower() in (*_SOUND, *_FILM) and not path.name.startswith("."):
                found = PurePosixPath(path.relative_to(root).as_posix())
                self._by_name.setdefault(found.stem.lower(), []).append(found)

    def find(self, wanted: PurePath) -> tuple[Path, ...]:
        """The files whose path ends most like the `wanted` one; several if they do so alike."""
        found = self._by_name.get(wanted.stem.lower(), [])
        # A film is taken for its sound only where there is no sound.
        found = [p for p in found if p.suffix.lower() in _SOUND] or found
        best = max((_common_end(p, wanted) for p in found), default=0)
        return tuple(self.root / p for p in found if _common_end(p, wanted) == best)


def _common_end(one: PurePath, other: PurePath) -> int:
    """How many folders above the file the two paths have in common, from below."""
    pairs = zip(reversed(one.parent.parts), reversed(other.parent.parts), strict=False)
    count = 0
    for first, second in pairs:
        if first.lower() != second.lower():
            break
        count += 1
    return count


def locate(
    drafts: Iterable[Utterance],
    root: Path,
    is_right: Callable[[Utterance, Path], bool] = lambda draft, path: True,
) -> tuple[list[Utterance], list[Problem]]:
    """The drafts whose recordings are found below `root`, and what is wrong with the others.

    A draft's `audio` is the path that its corpus names; it is replaced by the file that is found,
    one of those that are `is_right`. Recordings that are not there are counted in a note, by
    emotion. Raises `UserError` if none is there, or if there are films only.
    """
    recordings = Recordings(root)
    found, problems = [], []
    whole, missing = Counter[str](), Counter[str]()
    named = ""
    for draft in drafts:
        named = named or draft.audio.as_posix()
        whole[draft.emotion] += 1
        files = [path for path in recordings.find(draft.audio) if is_right(draft, path)]
        if not files:
            missing[draft.emotion] += 1
        elif len(files) > 1:
            reason = f"has several recordings: {files[0]}, {files[1]}; remove one"
            problems.append(Problem(where=draft.id, reason=reason, emotion=draft.emotion))
        else:
            found.append(replace(draft, audio=files[0]))
    if not found:
        raise UserError(
            f"{root}: expected recordings such as {named}, found none below it; say where they are "
            "by --audio FOLDER"
        )
    _check_sound(draft.audio for draft in found)
    if missing:
        counts = ", ".join(f"{name} {n} of {whole[name]}" for name, n in sorted(missing.items()))
        note = (
            f"{missing.total()} of {whole.total()} are not below {root}, so scores are not those "
            f"of the whole corpus: {counts}"
        )
        problems.append(Problem(where="recordings", reason=note, fatal=False))
    return found, problems


def _check_sound(paths: Iterable[Path]) -> None:
    """`UserError`, with the remedy, if one of the recordings is a film."""
    for path in paths:
        if path.suffix.lower() in _FILM:
            raise UserError(
                f"{path}: expected sound, got a film; extract it once: for f in *{path.suffix}; "
                f'do ffmpeg -i "$f" -ac 1 -ar 16000 "${{f%{path.suffix}}}.wav"; done'
            )


def read_texts(path: Path) -> dict[str, str]:
    """Texts by key from a CSV file with the columns key and text; `UserError` if it has others."""
    if not path.is_file():
        raise UserError(f"{path}: expected a CSV file with columns key and text, found none")
    reader = csv.DictReader(io.StringIO(decode(path.read_bytes()).text, newline=""))
    found = [name.strip().lower() for name in reader.fieldnames or []]
    if not {"key", "text"} <= set(found):
        raise UserError(
            f"{path}: expected columns key and text, got {', '.join(found) or 'nothing'}"
        )
    return {row["key"]: row["text"] for row in _rows(reader, found)}


def _rows(reader: "csv.DictReader[str]", names: list[str]) -> Iterator[dict[str, str]]:
    reader.fieldnames = names
    for row in reader:
        yield {name: (row[name] or "").strip() for name in names}
