"""Writes a trained model as a folder; `layout` says what is where."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlt_ray
from mlt_ray.corpus.audio import SAMPLE_RATE_HZ
from mlt_ray.inference.folder.layout import (
    CONFIG,
    ENCODERS,
    FORMAT,
    INPUTS,
    KIND,
    PREPROCESSOR,
    TABLE,
    WEIGHTS,
    WORD_VECTORS,
    HeldOut,
    encoders_of,
    files_below,
    packaged_vectors,
    reads_vectors,
)
from mlt_ray.inference.raw import folders_below
from mlt_ray.inference.trained import TrainedModel
from mlt_ray.libraries import versions_of
from mlt_ray.spec import RunSpec
from mlt_ray.storage.files import file_sha256, json_bytes
from mlt_ray.training.classifiers import Classical

if TYPE_CHECKING:
    from torch import Tensor


def write_folder(model: TrainedModel, folder: Path, held_out: HeldOut) -> list[Path]:
    """Write a trained model into an existing folder; returns the files, relative to it."""
    files = [*_write_weights(model, folder), *_write_encoders(model, folder)]
    files += _write_table(model, folder)
    files += [
        _write(folder / INPUTS, _inputs(model)),
        _write(folder / PREPROCESSOR, _preprocessor(model.spec)),
    ]
    sums = {str(path.relative_to(folder)): file_sha256(path) for path in files}
    files.append(_write(folder / CONFIG, _config(model, held_out, sums)))
    return [path.relative_to(folder) for path in files]


def _config(model: TrainedModel, held_out: HeldOut, sums: Mapping[str, str]) -> dict[str, Any]:
    spec, classes = model.spec, model.spec.classes
    own = reads_vectors(model) and spec.features.vectors != packaged_vectors()
    return {
        "architectures": [spec.model.system],
        "model_type": KIND,
        "format": FORMAT,
        "name": model.name,
        "id2label": {str(n): name for n, name in enumerate(classes)},
        "label2id": {name: n for n, name in enumerate(classes)},
        "spec": spec.as_dict(),
        "planned_runs": model.planned,
        "runs": [
            {
                "digest": run.digest,
                "fold": run.fold,
                "seed": run.seed,
                "not_trained_on": {k: asdict(v) for k, v in held_out.get(run.fold, {}).items()},
            }
            for run in model.runs
        ],
        "word_vectors": {"name": spec.features.vectors, "comes_along": own},
        "libraries": {"mlt_ray": mlt_ray.__version__, **versions_of(spec.as_dict())},
        "files": dict(sums),
    }


def _preprocessor(spec: RunSpec) -> dict[str, Any]:
    features = asdict(spec.features)
    frames = features.pop("frames")
    return {
        "feature_extractor_type": KIND,
        "sampling_rate": SAMPLE_RATE_HZ,
        "channels": 1,
        "frames": frames,
        **features,
        "extras": [extra._asdict() for extra in spec.model.extras],
        "reads_words": spec.model.reads_words,
    }


def _inputs(model: TrainedModel) -> dict[str, Any]:
    return {
        "words": list(model.vectors),
        "runs": {run.digest: run.fitted.as_dict() for run in model.runs},
    }


def _write_weights(model: TrainedModel, folder: Path) -> list[Path]:
    from safetensors.torch import save_file
    from torch import from_numpy

    tensors: dict[str, Tensor] = {}
    files: list[Path] = []
    for run in model.runs:
        if isinstance(run.weights, Classical):
            files.append(folder / f"{run.digest}.skops")
            files[-1].write_bytes(run.weights.to_bytes())
        else:
            # Cloned: the format refuses tensors that share their memory.
            own = {name: value.detach().cpu().clone() for name, value in run.weights.items()}
            tensors |= {f"{run.digest}/{name}": value for name, value in own.items()}
    tensors[WORD_VECTORS] = from_numpy(model.vectors_of(list(model.vectors)))
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)  # safetensors keeps others from reading it
    return [*files, folder / WEIGHTS]


def _write_encoders(model: TrainedModel, folder: Path) -> list[Path]:
    files: list[Path] = []
    for identity in encoders_of(model.spec):
        there = model.tools.folder_of(identity)
        here = folders_below(folder / ENCODERS)(identity)
        shutil.copytree(there, here, dirs_exist_ok=True)
        files += files_below(here)
    return files


def _write_table(model: TrainedModel, folder: Path) -> list[Path]:
    """The table of word vectors, unless a package has it, as an array and its words."""
    if not reads_vectors(model) or model.spec.features.vectors == packaged_vectors():
        return []
    array, words = (folder / name for name in TABLE)
    array.parent.mkdir()
    model.tools.vectors.write_array(array, words)
    return [array, words]


def _write(path: Path, values: Mapping[str, Any]) -> Path:
    path.write_bytes(json_bytes(values))
    return path
