"""The code that MLflow runs of an exported model; MLflow keeps a copy of this file with the model.

A model from code: nothing of it is pickled. It needs mlflow, and of this package only the part that
predicts, a copy of which lies beside it (`mlt_ray.inference.package.bundle`).
"""

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mlflow.models
import mlflow.pyfunc
from mlflow.exceptions import MlflowException

FOLDER = "model"
"""Name of the artifact that is the folder of the trained model."""

COLUMNS = ("text", "text_source", "label", "probabilities")
"""Columns of the answer."""

MOST_SECONDS = 3600
"""Seconds that the recordings of one request may last together (*assumed*): decoded, they take four
bytes a sample, and all of them are in memory at once."""


# MLflow asks for annotations of `predict`, which it would take for the signature; that is given.
warnings.filterwarnings("ignore", ".*Add type hints to the `predict` method")


class EmotionModel(mlflow.pyfunc.PythonModel):
    """Predicts recordings whose bytes come in a table, and opens no file for a request."""

    def load_context(self, context: Any) -> None:
        """Open the folder of the trained model."""
        import mlt_ray
        from mlt_ray.inference.folder.read import own_file_in

        folder = Path(context.artifacts[FOLDER])
        self.predictor = mlt_ray.load(folder, model_file=own_file_in(folder))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """A frame with a row for each recording, and the columns `COLUMNS`.

        `model_input` is a frame with the columns ``audio`` (bytes of a WAV, FLAC, … file), ``text``
        (None or missing: nobody knows what is said) and, for a model that was standardised by
        speaker, ``speaker``. `MlflowException`, in one line, for a row that cannot be read and for
        more than `MOST_SECONDS`; a server answers it with status 400.
        """
        from pandas import DataFrame

        from mlt_ray.errors import UserError

        try:
            clips = _clips(model_input.to_dict("records"))
            found = [one.as_dict() for one in self.predictor.answer(clips)]
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None
        except Exception:
            # A server would send the traceback to whoever asked.
            logging.getLogger(__name__).exception("prediction failed")
            raise MlflowException("the prediction failed; the server's log says why") from None
        return DataFrame({name: [one[name] for one in found] for name in COLUMNS})


def _clips(rows: Iterable[dict[str, Any]]) -> list[Any]:
    """The recordings of a request's rows; `UserError` as soon as they last too long together."""
    from mlt_ray.errors import UserError

    clips, seconds = [], 0.0
    for number, row in enumerate(rows):
        clips.append(_clip(f"row {number}", row))
        seconds += clips[-1].duration_s
        if seconds > MOST_SECONDS:
            raise UserError(
                f"row {number}: expected at most {MOST_SECONDS} s of recordings in one request, "
                f"got {seconds:.0f} s up to here; send several requests"
            )
    return clips


def _clip(name: str, row: dict[str, Any]) -> Any:
    """The recording of a row; `UserError` if it holds none."""
    from mlt_ray.errors import UserError
    from mlt_ray.inference.clips import clip_of

    audio, text = row.get("audio"), row.get("text")
    if not isinstance(audio, bytes):  # above all no path
        raise UserError(f"{name}: expected the bytes of an audio file, got {type(audio).__name__}")
    speaker = row.get("speaker")
    return clip_of(
        audio,
        text if isinstance(text, str) else None,
        name=name,
        speaker=speaker if isinstance(speaker, str) else "",
    )


mlflow.models.set_model(EmotionModel())
