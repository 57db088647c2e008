"""Reads a corpus that is listed in a ``manifest.csv``."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

from mlt_ray.corpus.readers.table import Table, open_table
from mlt_ray.corpus.readers.unlisted import unlisted
from mlt_ray.corpus.recordings import Progress, read_recordings
from mlt_ray.corpus.texts import in_natural_order
from mlt_ray.corpus.utterance import Corpus, Problem, Utterance
from mlt_ray.errors import UserError

FILE_NAME: Final = "manifest.csv"
REQUIRED: Final = ("path", "text", "emotion", "speaker")
OPTIONAL: Final = ("id", "session", "dialog", "alignment", "split", "fold")

_PARTS: Final = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
    "": "",
}
"""The part that a word in the column split names; none for an empty cell."""


def has_manifest(path: Path) -> bool:
    """True if `path` is a ``manifest.csv`` or a folder that holds one."""
    return _is_manifest(path) or (path / FILE_NAME).is_file()


def _is_manifest(path: Path) -> bool:
    return path.name == FILE_NAME and path.is_file()


def read_manifest(path: Path, progress: Progress | None = None) -> Corpus:
    """Utterances of a ``manifest.csv``, one per line; `path` is the file or its folder.

    Columns: path, text, emotion and speaker; optionally id (default: the path without suffix),
    session, dialog, alignment (a ``.wdseg`` file), and for folds that are given one of split
    (train, dev or test) and fold (any names; an utterance is in the test part of its own fold);
    others are ignored. Paths are relative to the folder. Emotions may have any names. A line that
    cannot be used becomes a fatal `Problem` and is left out; what is guessed becomes a note. Raises
    `UserError` if the manifest or a column is missing, if both split and fold are there, or if it
    cannot be read (`open_table`).
    """
    root = path.parent if _is_manifest(path) else path
    manifest = root / FILE_NAME
    if not manifest.is_file():
        raise UserError(f"{manifest}: no such file; expected columns {', '.join(REQUIRED)}")
    drafts: dict[str, list[tuple[int, Utterance]]] = {}
    own_folds: dict[str, str] = {}
    table = open_table(manifest, REQUIRED, OPTIONAL)
    if {"split", "fold"} <= {*table.columns}:
        raise UserError(
            f"{manifest}: expected one of the columns split and fold, got both; remove one"
        )
    problems = list(table.notes)
    broken: list[int] = []
    for line, cells in _rows(table):
        if any("\n" in cell or "\r" in cell for cell in (cells or {}).values()):
            broken.append(line)
        result = _draft(root, cells)
        if isinstance(result, Utterance):
            drafts.setdefault(result.id, []).append((line, result))
            own_folds[result.id] = ((cells or {}).get("fold") or "").strip()
        else:
            problems.append(Problem(where=f"{FILE_NAME}, line {line}", reason=result))
    if broken:
        reason = f"{len(broken)} rows hold line breaks, such as the one that ends in line "
        reason += f"{broken[0]}; if that is not meant, a quote is not closed there"
        problems.append(Problem(where=FILE_NAME, reason=reason, fatal=False))
    problems += [_repeated(name, found) for name, found in drafts.items() if len(found) > 1]
    unique = [found[0][1] for _, found in sorted(drafts.items()) if len(found) == 1]
    utterances, unusable = read_recordings(_in_folds(unique, own_folds), progress)
    return Corpus(
        name=root.resolve().name,
        utterances=tuple(utterances),
        problems=(*problems, *unusable),
        unlisted=unlisted(root, (draft.audio for found in drafts.values() for _, draft in found)),
    )


def _rows(table: Table) -> Iterator[tuple[int, dict[str, str] | None]]:
    """Line number and cells by column; ``None`` for a line with another number of cells."""
    for line, row in table.rows():
        is_whole = len(row) == len(table.columns)
        yield line, dict(zip(table.columns, row, strict=True)) if is_whole else None


def _draft(root: Path, cells: dict[str, str] | None) -> Utterance | str:
    """The utterance without what its audio tells, or the reason of a problem."""
    if cells is None:
        return "has another number of cells than the first line; quote texts that hold commas"
    cells = {name: cell.strip() for name, cell in cells.items()}
    for name in ("path", "emotion", "speaker"):
        if not cells[name]:
            return f"{name} is empty"
    split = cells.get("split", "").lower()
    if split not in _PARTS:
        return f"expected train, dev or test as split, got {cells['split']!r}"
    alignment = root / cells["alignment"] if cells.get("alignment") else None
    if alignment is not None and not alignment.is_file():
        return f"alignment {cells['alignment']} is missing; correct it or leave the cell empty"
    stem = cells["path"].removesuffix(PurePosixPath(cells["path"]).suffix)
    return Utterance(
        id=cells.get("id") or stem,
        audio=root / cells["path"],
        text=cells["text"],
        emotion=cells["emotion"],
        speaker=cells["speaker"],
        session=cells.get("session") or None,
        dialog=cells.get("dialog") or None,
        alignment=alignment,
        duration_s=0.0,
        audio_sha256="",
        parts=(_PARTS[split],) if "split" in cells else (),
    )


def _in_folds(drafts: list[Utterance], own_folds: Mapping[str, str]) -> list[Utterance]:
    """The drafts with their part of each fold: test in their own, train in the others."""
    names = in_natural_order(set(own_folds.values()) - {""})
    if not names:
        return drafts
    return [
        replace(
            draft, parts=tuple("test" if name == own else "train" if own else "" for name in names)
        )
        for draft in drafts
        for own in [own_folds[draft.id]]
    ]


def _repeated(name: str, found: list[tuple[int, Utterance]]) -> Problem:
    lines = ", ".join(str(line) for line, _ in found)
    reason = f"id {name} stands there {len(found)} times; add a column id or remove lines"
    return Problem(where=f"{FILE_NAME}, lines {lines}", reason=reason)
