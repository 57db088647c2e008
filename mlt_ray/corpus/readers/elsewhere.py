"""What of a corpus lies outside its folder: recordings, and texts."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from mlt_ray.corpus.texts import decode
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

    def find(self, named: str) -> tuple[Path, ...]:
        """The files whose path ends most like the `named` one; several if they do so alike."""
        wanted = PurePosixPath(named)
        found = self._by_name.get(wanted.stem.lower(), [])
        # A film is taken for its sound only where there is no sound.
        found = [p for p in found if p.suffix.lower() in _SOUND] or found
        best = max((_common_end(p, wanted) for p in found), default=0)
        return tuple(self.root / p for p in found if _common_end(p, wanted) == best)


def _common_end(one: PurePosixPath, other: PurePosixPath) -> int:
    """How many folders above the file the two paths have in common, from below."""
    pairs = zip(reversed(one.parent.parts), reversed(other.parent.parts), strict=False)
    count = 0
    for first, second in pairs:
        if first.lower() != second.lower():
            break
        count += 1
    return count


def check_sound(paths: Iterable[Path]) -> None:
    """`UserError`, with the remedy, if one of the recordings is a film."""
    for path in paths:
        if path.suffix.lower() in _FILM:
            raise UserError(
                f"{path}: expected sound, got a film; extract it once: for f in *{path.suffix}; "
                f'do ffmpeg -i "$f" -ac 1 -ar 16000 "${{f%{path.suffix}}}.wav"; done'
            )


def missing_text(missing: Mapping[str, int], whole: Mapping[str, int], root: Path) -> str:
    """A note that counts the recordings that were not found, by emotion."""
    counts = ", ".join(f"{name} {n} of {whole[name]}" for name, n in sorted(missing.items()))
    return (
        f"{sum(missing.values())} of {sum(whole.values())} recordings are not below {root}, so "
        f"scores are not those of the whole corpus: {counts}"
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
