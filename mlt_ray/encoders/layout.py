"""The files of an encoder's folder: which they are, and whether each is whole."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlt_ray.encoders.catalogue import CONFIG, INDEX, SENTENCEPIECE, WEIGHTS, Modality
from mlt_ray.errors import UserError
from mlt_ray.parsing import parse_json

_POINTER = b"version https://git-lfs"
"""How a file begins that stands for one which git's large-file storage has not fetched."""


def encoder_files(folder: Path, modality: Modality) -> tuple[str, ...]:
    """Names of the encoder's files in `folder`; raises `UserError` if one that it needs is missing.

    An index of shards brings all shards that it names.
    """
    weights = [n for n in WEIGHTS if (folder / n).is_file()][:1]
    input_files = [n for n in modality.input_files if (folder / n).is_file()]
    unread = [n for n in SENTENCEPIECE if (folder / n).is_file()]
    if unread and not input_files:
        raise UserError(
            f"{folder}: expected {modality.input_files[0]}, got {unread[0]} alone; write it by "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) where transformers and "
            f"sentencepiece are installed, or {modality.remedy}"
        )
    if not (weights and input_files and (folder / CONFIG).is_file()):
        raise UserError(
            f"{folder}: expected an encoder ({modality.layout}), got a folder without; "
            f"{modality.remedy}"
        )
    if weights[0].endswith(INDEX):
        weights += _shards(folder / weights[0], modality)
    more_files = [n for n in modality.more_files if (folder / n).is_file()]
    return (CONFIG, *weights, *input_files, *more_files)


def _shards(index: Path, modality: Modality) -> list[str]:
    """The names of the shards in an index; raises `UserError` if a shard is not beside it."""
    places = read_json(index, modality).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise UserError(f"{index}: expected a weight_map, got none; {modality.remedy}")
    shards = sorted(set(map(str, places.values())))
    missing = [n for n in shards if Path(n).name != n or not (index.parent / n).is_file()]
    if missing:
        raise UserError(
            f"{index}: expected the {len(shards)} shards that it names beside it, got a folder "
            f"without {', '.join(missing)}; fetch them, or {modality.remedy}"
        )
    return shards


def with_shards(weights: str) -> list[str]:
    """A name of `WEIGHTS`, and for an index the pattern of its shards' names."""
    if not weights.endswith(INDEX):
        return [weights]
    stem, _, kind = weights.removesuffix(INDEX).partition(".")
    return [weights, f"{stem}-*.{kind}"]


def read_json(path: Path, modality: Modality) -> dict[str, Any]:
    """The mapping in a JSON file of an encoder; empty if the file holds another value."""
    try:
        found = parse_json(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: expected JSON, got {error}; {modality.remedy}") from error
    return found if isinstance(found, dict) else {}


def check_whole(folder: Path, files: Sequence[str], modality: Modality) -> None:
    """Raise `UserError` for a file that is a mere pointer, and for weights that are cut short."""
    for path in (folder / name for name in files):
        with path.open("rb") as stream:
            start = stream.read(len(_POINTER))
        if start == _POINTER:
            raise UserError(
                f"{path}: expected the file itself, got a pointer of git-lfs; run git lfs pull in "
                f"its folder, or {modality.remedy}"
            )
        if reason := _damage(path, start):
            raise UserError(f"{path}: damaged weights: {reason}; {modality.remedy}")


def _damage(path: Path, start: bytes) -> str:
    """Why a file of weights cannot be opened; empty for one that can, and for other files."""
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "np"):
                return ""
        except SafetensorError as error:
            return str(error)
    # torch.save writes a zip archive, whose list of members stands at the end.
    is_cut = start.startswith(b"PK") and not zipfile.is_zipfile(path)
    return "a zip archive that is cut short" if is_cut else ""
