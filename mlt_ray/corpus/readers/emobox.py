"""Reads a folder of EmoBox (Ma et al. 2024), which describes 32 corpora in one form.

``NAME.jsonl`` lists the utterances, ``label_map.json`` gives names of emotions that all its corpora
share, and ``fold_N/`` has the parts of each fold: train and test, and valid in a few corpora. The
recordings lie elsewhere. The same lists as ``.json`` and of other names are not read: EmoBox counts
``NAME_test_fold_N.jsonl``.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

from mlt_ray.corpus.readers.elsewhere import Elsewhere, locate
from mlt_ray.corpus.readers.table import read_table
from mlt_ray.corpus.readers.unlisted import unlisted
from mlt_ray.corpus.recordings import Progress, read_recordings
from mlt_ray.corpus.texts import natural_key
from mlt_ray.corpus.utterance import Corpus, Problem, Utterance
from mlt_ray.errors import UserError
from mlt_ray.parsing import parse_json

_FOLD: Final = re.compile(r"fold_\d+")
_LIST: Final = re.compile(r".*_(train|valid|test)_fold_\d+\.jsonl")
_PARTS: Final = {"train": "train", "valid": "dev", "test": "test"}
_TEXTS: Final = "texts.csv"
_LABELS: Final = ("label_map.json", "label_dict.json")

_CUT: Final = (
    "cut the long ones from start_time to end_time into a file for each key (ffmpeg -ss -to), and "
)


def has_emobox_folds(path: Path) -> bool:
    """True if `path` is a folder with lists of the parts of folds."""
    return path.is_dir() and any(_lists(path))


def read_emobox(path: Path, progress: Progress | None, elsewhere: Elsewhere) -> Corpus:
    """All utterances of an EmoBox folder whose recordings are found.

    Emotions have the names of its label map, which EmoBox's scores count; one that the map lacks
    keeps its own. EmoBox gives no speakers and no texts: speakers are empty, and texts come from
    `elsewhere`, or else from ``texts.csv`` beside the lists; a note counts those that it lacks.
    Recordings are those below `elsewhere`, else below EmoBox's own ``downloads/NAME``, else below
    `path`; those that are not found are counted in notes. An utterance that is a stretch of a long
    recording (PAVOQUE's) is looked for as a file of its own, named by its key. Raises `UserError`
    if no recording is found, or if a list cannot be read.
    """
    names = _label_map(path)
    entries, parts = _entries(path)
    root = elsewhere.audio or _downloads(path) or path
    texts, notes = _texts(path, elsewhere, entries.keys())
    drafts, problems = locate(
        (
            Utterance(
                id=key,
                audio=Path(f"{key}.wav" if "start_time" in entry else entry["wav"]),
                text=texts.get(key, ""),
                emotion=names.get(entry["emo"].casefold(), entry["emo"]),
                speaker="",
                duration_s=0.0,
                audio_sha256="",
                parts=parts[key],
            )
            for key, entry in sorted(entries.items())
        ),
        root,
        hint=_CUT if any("start_time" in entry for entry in entries.values()) else "",
    )
    if texts and (silent := [draft.id for draft in drafts if not draft.text]):
        reason = f"{len(silent)} of {len(drafts)} utterances have none, such as {silent[0]}"
        notes.append(Problem(where="texts", reason=reason, fatal=False))
    if alone := [key for key, own in parts.items() if not any(own)]:
        reason = f"{len(alone)} of {len(parts)} utterances are in none, such as {min(alone)}"
        notes.append(Problem(where="folds", reason=reason, fatal=False))
    utterances, unusable = read_recordings(drafts, progress)
    return Corpus(
        name=path.resolve().name,
        utterances=tuple(utterances),
        problems=(*notes, *problems, *unusable),
        unlisted=unlisted(root, (draft.audio for draft in drafts)),
    )


def _downloads(path: Path) -> Path | None:
    """Where EmoBox itself wants the recordings of ``data/NAME``; None if it has no such folder."""
    folder = path.resolve().parent.parent / "downloads" / path.resolve().name
    return folder if folder.is_dir() else None


def _lists(path: Path) -> Iterator[tuple[str, str, Path]]:
    """Name of the fold, part of it, and the file that lists that; in natural order."""
    folds = [p for p in path.iterdir() if p.is_dir() and _FOLD.fullmatch(p.name)]
    for fold in sorted(folds, key=lambda p: natural_key(p.name)):
        for file in sorted(fold.iterdir()):
            if match := _LIST.fullmatch(file.name):
                yield fold.name, _PARTS[match[1]], file


def _entries(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, tuple[str, ...]]]:
    """What is listed of each utterance, by key, and its part of each fold."""
    folds = list(dict.fromkeys(fold for fold, _, _ in _lists(path)))
    entries: dict[str, dict[str, Any]] = {}
    parts: dict[str, list[str]] = {}
    for file in sorted(path.glob("*.jsonl")):
        entries |= {entry["key"]: entry for entry in _lines(file)}
    for fold, part, file in _lists(path):
        for entry in _lines(file):
            entries.setdefault(entry["key"], entry)
            own = parts.setdefault(entry["key"], [""] * len(folds))
            other = own[folds.index(fold)]
            if other not in ("", part):
                raise UserError(f"{file}: {entry['key']} is in {other} and {part} of {fold}")
            own[folds.index(fold)] = part
    nothing = [""] * len(folds)
    return entries, {key: tuple(parts.get(key, nothing)) for key in entries}


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = parse_json(line)
            if not all(isinstance(entry[name], str) for name in ("key", "wav", "emo")):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            got = line[:60].decode("utf-8", "replace")
            raise UserError(
                f"{file}:{number}: expected a JSON object with key, wav and emo, got {got!r}"
            ) from None
        yield entry


def _label_map(path: Path) -> dict[str, str]:
    """The shared name of each emotion; the corpus's own, in lower case, is the key."""
    file = next((path / name for name in _LABELS if (path / name).is_file()), None)
    if file is None:
        raise UserError(f"{path}: expected label_map.json, found none; copy it from EmoBox")
    try:
        values = parse_json(file.read_text("utf-8"))
        # In any case, as in Emo-DB, whose map has Neutral where its lists have neutral.
        return {str(k).casefold(): str(v) for k, v in values.items()}
    except (ValueError, AttributeError):
        raise UserError(f"{file}: expected a JSON object of names of emotions") from None


def _texts(
    path: Path, elsewhere: Elsewhere, keys: Collection[str]
) -> tuple[dict[str, str], list[Problem]]:
    """Texts by key, and notes on the file; `UserError` if it is of another corpus."""
    file = elsewhere.texts or path / _TEXTS
    if file != elsewhere.texts and not file.is_file():
        return {}, []
    rows, notes = read_table(file, ("key", "text"))
    texts: dict[str, str] = {}
    for row in rows:
        if texts.setdefault(row["key"], row["text"]) != row["text"]:
            raise UserError(f"{file}: expected one text of {row['key']}, got two; remove one")
    unknown = [key for key in texts if key not in keys]
    if unknown and len(unknown) == len(texts):
        raise UserError(f"{file}: expected keys such as {min(keys)}, got {unknown[0]}")
    if unknown:
        reason = f"{len(unknown)} keys are of no utterance, such as {unknown[0]}"
        notes.append(Problem(where=file.name, reason=reason, fatal=False))
    return texts, notes
