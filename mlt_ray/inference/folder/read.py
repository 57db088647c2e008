"""Reads a trained model from a folder, and runs nothing of it; `layout` says what is where."""

import contextlib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlt_ray.errors import UserError, first_line
from mlt_ray.features.fitted import FittedExtra, FittedInputs
from mlt_ray.features.vectors import ArrayVectors, WordVectors, load_vectors
from mlt_ray.inference.folder.layout import (
    CONFIG,
    ENCODERS,
    FORMAT,
    INPUTS,
    KIND,
    TABLE,
    WEIGHTS,
    WORD_VECTORS,
    encoders_of,
    files_below,
)
from mlt_ray.inference.raw import Tools, folders_below
from mlt_ray.inference.trained import TrainedModel, TrainedRun, read_spec, systems_of
from mlt_ray.parsing import parse_json
from mlt_ray.spec import Run, RunSpec
from mlt_ray.storage.files import file_sha256
from mlt_ray.storage.names import plain
from mlt_ray.training.classifiers import Classical

if TYPE_CHECKING:
    from torch import Tensor


def is_folder(path: Path) -> bool:
    """True if `path` is a folder with a `CONFIG` of ours."""
    try:
        return parse_json((path / CONFIG).read_text("utf-8")).get("model_type") == KIND
    except (OSError, ValueError, AttributeError):
        return False


def own_file_in(folder: Path) -> Path | None:
    """The file of a model of the user's own that goes along with it; None for one of this package.

    Raises `UserError` if `CONFIG` cannot be read, or names a file outside the folder.
    """
    values = _read_config(folder)
    with _damage(folder / CONFIG):
        source = str(values["spec"]["model"].get("source") or "")
    if not source:
        return None
    return folder / plain(source.rpartition("@")[0], folder / CONFIG)


def read_folder(folder: Path, *, model_file: Path | None = None) -> TrainedModel:
    """The trained model in a folder of `write_folder`.

    `model_file` is the file of a model of the user's own; none of the folder is run. Raises
    `UserError` for a folder of another kind or version, a file that is missing or is not the one
    that was written, a run whose digest is not that of its values, and an encoder that did not come
    along.
    """
    values = _read_config(folder)
    with _damage(folder / CONFIG):
        sums = dict(values["files"])
        _check_files(folder, sums)
        spec = read_spec(values["spec"], str(folder / CONFIG), systems_of(model_file))
        _check_encoders(spec, folder, sums)
        runs = [_run_of(spec, run, folder) for run in values["runs"]]
        if not runs:
            raise ValueError("no runs")
        name, planned = str(values["name"]), int(values["planned_runs"])
    inputs, tensors = _read_json(folder / INPUTS), _read_tensors(folder)
    with _damage(folder / INPUTS):
        vectors = dict(zip(inputs["words"], _vectors_in(tensors, folder), strict=True))
        found = tuple(
            TrainedRun(
                digest=run.digest,
                fold=run.fold,
                seed=run.seed,
                fitted=_fitted(inputs["runs"][run.digest], vectors),
                weights=_weights_of(run.digest, tensors, folder, sums),
            )
            for run in runs
        )
    return TrainedModel(
        name=name,
        spec=spec,
        runs=found,
        vectors=vectors,
        tools=Tools(
            features=spec.features,
            folder_of=folders_below(folder / ENCODERS),
            open_vectors=functools.partial(_open_table, folder, spec, TABLE[0] in sums),
        ),
        planned=planned,
    )


@dataclass(frozen=True, kw_only=True)
class _KeptVectors(ArrayVectors):
    """A table that `write_folder` wrote; `origin` is the digest of the user's files."""

    origin: str

    @cached_property
    def sha256(self) -> str:
        return self.origin


def _open_table(folder: Path, spec: RunSpec, is_there: bool) -> WordVectors:
    if not is_there:
        return load_vectors()
    array, words = (folder / name for name in TABLE)
    name, _, digest = spec.features.vectors.rpartition("@")
    found = load_vectors(array)
    return _KeptVectors(name=name, dim=found.dim, files=(array, words), origin=digest)


def _read_config(folder: Path) -> dict[str, Any]:
    values = _read_json(folder / CONFIG)
    if values.get("model_type") != KIND:
        raise UserError(
            f"{folder / CONFIG}: expected a model of mlt-ray export, got model_type "
            f"{values.get('model_type')}; name another folder"
        )
    if values.get("format") != FORMAT:
        raise UserError(
            f"{folder / CONFIG}: expected format {FORMAT}, got {values.get('format')}, of another "
            "version; export the model again, or use that version of mlt_ray"
        )
    return values


def _check_files(folder: Path, sums: Mapping[str, str]) -> None:
    """`UserError` for a file that is not the one that was written; `ValueError` for a bad name."""
    strangers = {str(p.relative_to(folder)) for p in files_below(folder / ENCODERS)} - sums.keys()
    if strangers:
        raise UserError(
            f"{folder / min(strangers)}: expected the files of an encoder that {CONFIG} names, got "
            "another; remove it"
        )
    if missing := {WEIGHTS, INPUTS} - sums.keys():
        raise ValueError(f"no {min(missing)} among the files")
    for name, expected in sums.items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"file {name}, which would leave the folder")
        if not path.is_file():
            raise UserError(f"{path}: expected a file of the model, found none; copy it again")
        if file_sha256(path) != expected:
            raise UserError(
                f"{path}: expected the file that was written with {CONFIG}, got another or a "
                "damaged one; copy the folder again"
            )


def _check_encoders(spec: RunSpec, folder: Path, sums: Mapping[str, str]) -> None:
    """`UserError` for an encoder of the model whose files are not among those of the folder."""
    for identity in encoders_of(spec):
        digest = plain(identity.rpartition("@")[2], f"{folder / CONFIG}, encoder {identity}")
        if not any(name.startswith(f"{ENCODERS}/{digest}/") for name in sums):
            raise UserError(
                f"{folder / CONFIG}: expected the files of encoder {identity}, found none; export "
                "the model again"
            )


def _run_of(spec: RunSpec, values: Mapping[str, Any], folder: Path) -> Run:
    run = Run(spec=spec, fold=int(values["fold"]), seed=int(values["seed"]))
    if run.digest != values["digest"]:
        raise UserError(
            f"{folder / CONFIG}: expected the digest {run.digest} of {run}, got "
            f"{values['digest']}; export the model again"
        )
    return run


def _fitted(values: Mapping[str, Any], vectors: Mapping[str, np.ndarray]) -> FittedInputs:
    """What a run has fitted; `ValueError` for values of another kind, or that do not belong."""
    found = FittedInputs.from_dict(values)
    if found is None:
        raise ValueError("too few values")
    for name in ("mean", "deviation"):
        if not _is_list_of(getattr(found, name), (int, float)):
            raise ValueError(f"{name}, which is no list of numbers")
    for name in ("phonemes", "words", "vectors"):
        if not _is_list_of(getattr(found, name), str):
            raise ValueError(f"{name}, which is no list of texts")
    for name in ("frame_layers", "num_speech_layers"):
        if not isinstance(getattr(found, name), int):
            raise ValueError(f"{name}, which is no whole number")
    if len(found.mean) != len(found.deviation):
        raise ValueError(f"{len(found.mean)} means and {len(found.deviation)} deviations")
    if unknown := [word for word in found.vectors if word not in vectors]:
        raise ValueError(f"word {unknown[0]!r}, which has no vector")
    for name, extra in found.extras.items():
        _check_extra(name, extra)
    return found


def _is_list_of(values: object, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(values, tuple) and all(isinstance(value, kinds) for value in values)


def _check_extra(name: str, extra: FittedExtra) -> None:
    if not isinstance(extra.dim, int):
        raise ValueError(f"dim of {name}, which is no whole number")
    for values in extra.moments or ():
        if values.shape[-1:] != (extra.dim,):
            raise ValueError(f"moments of {name} that are not of its {extra.dim} values")


def _read_tensors(folder: Path) -> "dict[str, Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(folder / WEIGHTS)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"{folder / WEIGHTS}: expected weights, got {error}; copy the folder again"
        ) from error


def _vectors_in(tensors: "Mapping[str, Tensor]", folder: Path) -> np.ndarray:
    found = tensors.get(WORD_VECTORS)
    if found is None or found.ndim != 2:
        raise UserError(
            f"{folder / WEIGHTS}: expected {WORD_VECTORS} of two axes, got none; copy the folder "
            "again"
        )
    vectors: np.ndarray = found.numpy()
    return vectors


def _weights_of(
    digest: str, tensors: "Mapping[str, Tensor]", folder: Path, sums: Mapping[str, str]
) -> "Mapping[str, Tensor] | Classical":
    path = folder / f"{digest}.skops"
    if path.name in sums:
        try:
            return Classical.from_bytes(path.read_bytes())
        except Exception as error:  # of many types, if the file is damaged
            raise UserError(
                f"{path}: expected fitted classifiers, got {first_line(error)}; copy the folder "
                "again"
            ) from error
    start = f"{digest}/"
    own = {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}
    if not own:
        raise UserError(
            f"{folder / WEIGHTS}: expected weights of run {digest}, found none; copy the folder "
            "again"
        )
    return own


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Raises a `UserError` that names the file if values are missing or of another kind."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else first_line(error)
        raise UserError(
            f"{path}: expected values of mlt-ray export, got {said}; copy the folder again"
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = parse_json(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(
            f"{path}: expected a file of the model, found none; name a folder of mlt-ray export"
        ) from error
    except ValueError as error:
        raise UserError(
            f"{path}: expected JSON, got {first_line(error)}; copy the folder again"
        ) from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: expected a mapping, got {found!r:.60}; copy the folder again")
    return found
