"""Saves a trained model as MLflow's, which its server and its Python function can run.

The model is one from code (`mlt_ray.tracking.served`): it holds no pickle. Its input has a column
``audio`` of bytes and, if the model reads them, optional columns ``text`` and ``speaker``; its
output has ``text, text_source, label`` and ``probabilities``, a mapping from class to probability.
"""

import io
import math
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from pathlib import Path
from typing import Any, Final

import numpy as np

from mlt_ray.corpus.audio import SAMPLE_RATE_HZ
from mlt_ray.errors import UserError
from mlt_ray.logs import are_logs_shown
from mlt_ray.masking import masked
from mlt_ray.storage.lease import alone
from mlt_ray.storage.record import StudyRecord
from mlt_ray.storage.store import Store
from mlt_ray.tracking.experiment import Experiment
from mlt_ray.tracking.faults import reason_of
from mlt_ray.tracking.location import (
    LEASE,
    MODELS_LEASE,
    default_uri,
    follow_store,
    limit_waiting,
    quieten,
    tracking_location,
)

SERVED: Final = Path(__file__).with_name("served.py")
"""The file that MLflow runs."""

MLMODEL: Final = "MLmodel"

EXAMPLE: Final[Mapping[str, str]] = {"text": "What a day.", "speaker": "somebody"}
"""An example of each column that a model may read besides ``audio``."""


def save_model(
    folder: Path,
    code: Path,
    out: Path,
    requirements: Sequence[str],
    *,
    more_columns: Sequence[str],
    name: str,
) -> None:
    """Save the trained model in `folder` as MLflow's model `out`, a new or empty folder.

    `code` is the part of this package that predicts, as `mlt_ray.inference.package.write` copies
    it, and `requirements` are the lines of pip's without mlflow itself. `more_columns` are those
    of the input besides ``audio``: of `EXAMPLE`.
    """
    with _quiet():
        import mlflow
        import mlflow.pyfunc

        from mlt_ray.tracking.served import FOLDER

        mlflow.pyfunc.save_model(
            out,
            python_model=SERVED,
            artifacts={FOLDER: str(folder)},
            code_paths=[str(code)],
            pip_requirements=[f"mlflow=={mlflow.__version__}", *requirements],
            signature=_signature(more_columns),
            input_example=_example(more_columns),
            metadata={"mlt_ray.name": name},
        )
        _forget_paths(out)


def _signature(more_columns: Sequence[str]) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Map

    more = [ColSpec(DataType.string, name, required=False) for name in more_columns]
    names = ("text", "text_source", "label")
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, "audio"), *more]),
        outputs=Schema(
            [
                *(ColSpec(DataType.string, name) for name in names),
                ColSpec(Map(DataType.double), "probabilities"),
            ]
        ),
    )


def _example(more_columns: Sequence[str]) -> Any:
    """A frame of one recording, a tone of half a second."""
    from pandas import DataFrame

    return DataFrame({"audio": [tone()], **{name: [EXAMPLE[name]] for name in more_columns}})


def tone(seconds: float = 0.5, frequency_hz: float = 220.0) -> bytes:
    """The bytes of a WAV file with a tone."""
    import soundfile

    times = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    file = io.BytesIO()
    soundfile.write(
        file, 0.3 * np.sin(2 * math.pi * frequency_hz * times), SAMPLE_RATE_HZ, format="WAV"
    )
    return file.getvalue()


def _forget_paths(out: Path) -> None:
    """Take out the paths of this machine: of the description, and of what Python compiled."""
    from mlflow.models import Model

    description = Model.load(str(out))
    values = description.flavors["python_function"]
    values["model_code_path"] = SERVED.name
    for artifact in values["artifacts"].values():
        artifact["uri"] = artifact["path"]
    description.save(str(out / MLMODEL))
    for compiled in [*out.rglob("__pycache__")]:
        shutil.rmtree(compiled)


def log_model(record: StudyRecord, store: Store, tracking_uri: str | None, folder: Path) -> str:
    """Make the model in `folder` that of the MLflow run of the record's only row.

    Returns where to see it. A model that MLflow has already is not written again. `UserError` if
    MLflow cannot be written.
    """
    uri = tracking_location(store, tracking_uri)
    limit_waiting()
    import mlflow

    quieten()
    is_ours = uri == default_uri(store)
    try:
        with alone(store, LEASE) if is_ours else nullcontext():
            if is_ours:
                follow_store(store)
            client = mlflow.MlflowClient(tracking_uri=uri)
            experiment = Experiment(client, store, record, uri)
        with alone(store, MODELS_LEASE):
            model_id = experiment.write_model(record.rows[0].name, folder)
    except UserError:
        raise
    except Exception as error:  # a server may fail in any way
        raise UserError(
            f"MLflow at {masked(uri)} cannot be written: {reason_of(error)}; the export itself is "
            f"complete in {folder}"
        ) from error
    return f"MLflow has it as models:/{model_id}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's bars and notes, unless logs are shown."""
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    if are_logs_shown():
        yield
        return
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
