"""Opens a trained model by its name."""

from pathlib import Path

from mlt_ray.inference.predictor import Predictor
from mlt_ray.inference.trained import open_trained
from mlt_ray.storage.store import Store


def load(
    model: str,
    store: str | Path | Store = "runs",
    *,
    device: str | None = None,
    glove: str | Path | None = None,
    model_file: str | Path | None = None,
) -> Predictor:
    """A trained model at work: a row as ``STUDY/ROW``, or a run by its digest.

    `device` computes, such as ``cpu`` (None: a GPU if there is one). `glove` is the file of word
    vectors that the row was trained with, if these are not the packaged ones. `model_file` is the
    Python file of a model of one's own, which the store never runs. Raises `UserError` where the
    model cannot be opened.
    """
    import torch

    trained = open_trained(
        model,
        store if isinstance(store, Store) else Store(store).looking(),
        glove=Path(glove) if glove else None,
        model_file=Path(model_file) if model_file else None,
    )
    return Predictor(trained, torch.device(device) if device else None)
