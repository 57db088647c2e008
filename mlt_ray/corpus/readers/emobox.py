"""Reads a folder of EmoBox (Ma et al. 2024), which describes 32 corpora in one form.

``NAME.jsonl`` lists the utterances, ``label_map.json`` gives names of emotions that all its corpora
share, and ``fold_N/`` has the train and test parts of each fold. The recordings lie elsewhere.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mlt_ray.corpus.readers.elsewhere import Elsewhere, locate, read_texts
from mlt_ray.corpus.recordings import Progress, read_recordings
from mlt_ray.corpus.texts import natural_key
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.errors import UserError

_FOLD: Final = re.compile(r"fold_\d+")
_PART: Final = re.compile(r".*_(train|test)_fold_?\d+\.jsonl")
_TEXTS: Final = "texts.csv"
_LABELS: Final = ("label_map.json", "label_dict.json")


def has_emobox_folds(path: Path) -> bool:
    """True if `path` is a folder with lists of the parts of folds."""
    return path.is_dir() and any(_parts(path))


def read_emobox(path: Path, progress: Progress | None, elsewhere: Elsewhere) -> Corpus:
    """All utterances of an EmoBox folder whose recordings are found.

    Emotions have the names of its label map; one that the map lacks keeps its own. EmoBox gives no
    speakers and no texts: speakers are empty, and texts come from `elsewhere`, or else from
    ``texts.csv`` beside the lists. Recordings that are not found are counted in a note. Raises
    `UserError` if none is found, or if a list cannot be read.
    """
    names = _label_map(path)
    entries, parts = _entries(path)
    texts_file = elsewhere.texts or (path / _TEXTS if (path / _TEXTS).is_file() else None)
    texts = read_texts(texts_file) if texts_file else {}
    drafts, problems = locate(
        (
            Utterance(
                id=key,
                audio=Path(entry["wav"]),
                text=texts.get(key, ""),
                emotion=names.get(entry["emo"], entry["emo"]),
                speaker="",
                duration_s=0.0,
                audio_sha256="",
                parts=parts[key],
            )
            for key, entry in sorted(entries.items())
        ),
        elsewhere.audio or path,
    )
    utterances, unusable = read_recordings(drafts, progress)
    return Corpus(
        name=path.resolve().name,
        utterances=tuple(utterances),
        problems=(*problems, *unusable),
    )


def _parts(path: Path) -> Iterator[tuple[str, str, Path]]:
    """Name of the fold, ``train`` or ``test``, and the file that lists it; in natural order."""
    folds = [p for p in path.iterdir() if p.is_dir() and _FOLD.fullmatch(p.name)]
    for fold in sorted(folds, key=lambda p: natural_key(p.name)):
        for file in sorted(fold.iterdir()):
            if match := _PART.fullmatch(file.name):
                yield fold.name, match[1], file


def _entries(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, tuple[str, ...]]]:
    """What is listed of each utterance, by key, and its part of each fold."""
    folds = list(dict.fromkeys(fold for fold, _, _ in _parts(path)))
    entries: dict[str, dict[str, Any]] = {}
    parts: dict[str, list[str]] = {}
    for file in sorted(path.glob("*.jsonl")):
        entries |= {entry["key"]: entry for entry in _lines(file)}
    for fold, part, file in _parts(path):
        for entry in _lines(file):
            entries.setdefault(entry["key"], entry)
            own = parts.setdefault(entry["key"], [""] * len(folds))
            if own[folds.index(fold)] not in ("", part):
                raise UserError(f"{file}: {entry['key']} is in train and test of {fold}")
            own[folds.index(fold)] = part
    nothing = [""] * len(folds)
    return entries, {key: tuple(parts.get(key, nothing)) for key in entries}


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            if not all(isinstance(entry[name], str) for name in ("key", "wav", "emo")):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{file}:{number}: expected a JSON object with key, wav and emo, got {line[:60]!r}"
            ) from None
        yield entry


def _label_map(path: Path) -> dict[str, str]:
    file = next((path / name for name in _LABELS if (path / name).is_file()), None)
    if file is None:
        raise UserError(f"{path}: expected label_map.json, found none; copy it from EmoBox")
    try:
        values = json.loads(file.read_text("utf-8"))
        return {str(k): str(v) for k, v in values.items()}
    except (ValueError, AttributeError):
        raise UserError(f"{file}: expected a JSON object of names of emotions") from None
