"""Opens a trained model by its name."""

from pathlib import Path

import torch

from mlt_ray.errors import UserError, first_line
from mlt_ray.inference.folder.read import is_folder, read_folder
from mlt_ray.inference.predictor import Predictor
from mlt_ray.inference.trained import TrainedModel, open_trained
from mlt_ray.libraries import require, versions
from mlt_ray.storage.store import Store


def load(
    model: str | Path,
    store: str | Path | Store = "runs",
    *,
    device: str | None = None,
    glove: str | Path | None = None,
    model_file: str | Path | None = None,
) -> Predictor:
    """A trained model at work: a row as ``STUDY/ROW``, a run by its digest, or an exported folder.

    `device` computes, such as ``cpu`` (None: a GPU if there is one). `glove` is the file of word
    vectors that the row was trained with, if these are not the packaged ones; a folder has them.
    `model_file` is the Python file of a model of one's own, which neither a store nor a folder
    runs. Raises `UserError` where the model cannot be opened, or a library of its features lacks.
    """
    trained = open_model(
        model,
        store if isinstance(store, Store) else Store(store).looking(),
        glove=Path(glove) if glove else None,
        model_file=Path(model_file) if model_file else None,
    )
    require(versions(trained.spec.features.libraries), trained.name)
    return Predictor(trained, _device(device))


def _device(name: str | None) -> torch.device | None:
    """The device of that name; `UserError` if there is none here."""
    if name is None:
        return None
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error).rstrip(".")
        raise UserError(f"device: expected one of this machine, got {name}: {reason}") from error
    return device


def open_model(
    model: str | Path,
    store: Store,
    *,
    glove: Path | None = None,
    model_file: Path | None = None,
) -> TrainedModel:
    """The trained model of that name in a store, or in a folder of ``mlt-ray export --to folder``.

    The arguments are those of `load`. A `Path`, and a name that is that of such a folder, is one.
    """
    if isinstance(model, Path) or is_folder(Path(model)):
        return read_folder(Path(model), model_file=model_file)
    return open_trained(model, store, glove=glove, model_file=model_file)
