"""Reads a corpus that is listed in a ``manifest.csv``."""

import csv
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from mlt_ray.corpus.recordings import Progress, read_recordings
from mlt_ray.corpus.texts import decode
from mlt_ray.corpus.utterance import Corpus, Problem, Utterance
from mlt_ray.errors import UserError
from mlt_ray.labels import EMOTION_NAMES

FILE_NAME: Final = "manifest.csv"
REQUIRED: Final = ("path", "text", "emotion", "speaker")
OPTIONAL: Final = ("id", "session", "dialog", "alignment")

_EMOTIONS: Final = {**EMOTION_NAMES, "excited": "happy"}


@dataclass(frozen=True)
class _LeftOut:
    """Emotion code of a row that is not of the four classes."""

    code: str


def has_manifest(path: Path) -> bool:
    """True if `path` is a ``manifest.csv`` or a folder that holds one."""
    return _is_manifest(path) or (path / FILE_NAME).is_file()


def _is_manifest(path: Path) -> bool:
    return path.name == FILE_NAME and path.is_file()


def read_manifest(path: Path, progress: Progress | None = None) -> Corpus:
    """Utterances of a ``manifest.csv``, one per line; `path` is the file or its folder.

    Columns: path, text, emotion and speaker; optionally id (default: the path without suffix),
    session, dialog and alignment (a ``.wdseg`` file); others are ignored. Paths are relative to
    the folder. Emotions are the four classes, IEMOCAP's codes or ``excited``, in any case. A line
    that cannot be used becomes a fatal `Problem` and is left out. An encoding that is guessed
    becomes a note. Raises `UserError` if the manifest or a column is missing, or if its encoding
    cannot be guessed.
    """
    root = path.parent if _is_manifest(path) else path
    manifest = root / FILE_NAME
    if not manifest.is_file():
        raise UserError(f"{manifest}: no such file; expected columns {', '.join(REQUIRED)}")
    drafts: dict[str, list[tuple[int, Utterance]]] = {}
    problems: list[Problem] = []
    left_out: Counter[str] = Counter()
    content = decode(manifest.read_bytes())
    if not content.is_sure:
        raise UserError(f"{manifest}: {content.guess}")
    if content.guess:
        problems.append(Problem(where=FILE_NAME, reason=content.guess, fatal=False))
    for line, cells in _rows(manifest, content.text):
        result = _draft(root, cells)
        if isinstance(result, Utterance):
            drafts.setdefault(result.id, []).append((line, result))
        elif isinstance(result, _LeftOut):
            left_out[result.code] += 1
        else:
            problems.append(Problem(where=f"{FILE_NAME}, line {line}", reason=result))
    problems += [_repeated(name, found) for name, found in drafts.items() if len(found) > 1]
    unique = [found[0][1] for _, found in sorted(drafts.items()) if len(found) == 1]
    utterances, unusable = read_recordings(unique, progress)
    return Corpus(
        name=root.resolve().name,
        utterances=tuple(utterances),
        problems=(*problems, *unusable),
        left_out=dict(sorted(left_out.items())),
    )


def _rows(path: Path, text: str) -> list[tuple[int, dict[str, str] | None]]:
    """Line number and cells by column; ``None`` for a line with another number of cells."""
    reader = csv.reader(io.StringIO(text, newline=""))
    rows: list[tuple[int, dict[str, str] | None]] = []
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        _check_columns(path, header)
        for row in reader:
            if any(row):
                cells = dict(zip(header, row, strict=True)) if len(row) == len(header) else None
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV: {error}") from error
    return rows


def _check_columns(path: Path, header: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        expected, got = ", ".join(REQUIRED), ", ".join(header) or "nothing"
        remedy = f"add {', '.join(missing)} to the first line"
        raise UserError(f"{path}: expected columns {expected}, got {got}; {remedy}")
    twice = [name for name in (*REQUIRED, *OPTIONAL) if header.count(name) > 1]
    if twice:
        raise UserError(f"{path}: column {twice[0]} stands there twice; remove one")


def _draft(root: Path, cells: dict[str, str] | None) -> Utterance | _LeftOut | str:
    """The utterance without what its audio tells, a left-out code, or the reason of a problem."""
    if cells is None:
        return "has another number of cells than the first line; quote texts that hold commas"
    cells = {name: cell.strip() for name, cell in cells.items()}
    for name in ("path", "emotion", "speaker"):
        if not cells[name]:
            return f"{name} is empty"
    code = cells["emotion"].lower()
    if code not in _EMOTIONS:
        return f"unknown emotion {cells['emotion']!r}; known: {', '.join(_EMOTIONS)}"
    emotion = _EMOTIONS[code]
    if emotion is None:
        return _LeftOut(code)
    alignment = root / cells["alignment"] if cells.get("alignment") else None
    if alignment is not None and not alignment.is_file():
        return f"alignment {cells['alignment']} is missing; correct it or leave the cell empty"
    stem = cells["path"].removesuffix(PurePosixPath(cells["path"]).suffix)
    return Utterance(
        id=cells.get("id") or stem,
        audio=root / cells["path"],
        text=cells["text"],
        emotion=emotion,
        speaker=cells["speaker"],
        session=cells.get("session") or None,
        dialog=cells.get("dialog") or None,
        alignment=alignment,
        duration_s=0.0,
        audio_sha256="",
    )


def _repeated(name: str, found: list[tuple[int, Utterance]]) -> Problem:
    lines = ", ".join(str(line) for line, _ in found)
    reason = f"id {name} stands there {len(found)} times; add a column id or remove lines"
    return Problem(where=f"{FILE_NAME}, lines {lines}", reason=reason)
