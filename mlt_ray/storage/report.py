"""The results of a finished run: report, predictions and learning curve."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from mlt_ray.labels import FOUR
from mlt_ray.metrics import Scores, score
from mlt_ray.parsing import shown
from mlt_ray.spec import FoldSpec
from mlt_ray.storage.spreadsheet import csv_text

PARTS = ("dev", "test")


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A line of the learning curve. Scores are shares in 0–1.

    `train_loss` is the mean of the system's loss over the epoch's utterances, with the weights of
    their classes. `dev_loss` is the mean cross entropy, in which every utterance counts once.
    `dev_macro_f1` is None in the curve of a run that was trained before it was computed.
    """

    epoch: int
    train_loss: float
    dev_loss: float
    dev_wa: float
    dev_ua: float
    dev_macro_f1: float | None = None
    ended_ms: int  # Unix time; MLflow gets the same value, so that a second sync adds no point


EPOCH_SCORES = ("train_loss", "dev_loss", "dev_wa", "dev_ua", "dev_macro_f1")
"""Fields of `Epoch` that are curves."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Predictions for one part: N utterance ids, (N,) labels and (N, K) probabilities of K classes.

    `classes` are the K names; a label is an index into them.
    """

    utterances: tuple[str, ...]
    classes: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray

    def scores(self) -> Scores:
        """Scores of the most probable classes; `ValueError` if there is no utterance."""
        return score(self.labels, self.probabilities.argmax(axis=1), len(self.classes))


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """The scores of a finished run, its learning curve, and how it was computed.

    `spec` has the values of the RunSpec. `scores` maps dev and test to {wa, ua, macro_f1,
    confusion}, all at `best_epoch`. `part_sizes` counts utterances. `details` is what the system
    says about itself (`mlt_ray.models.system.System.details`), such as its weights of layers.
    """

    digest: str
    spec: dict[str, Any]
    fold: int
    seed: int
    scores: dict[str, dict[str, Any]]
    best_epoch: int
    curve: tuple[Epoch, ...]
    part_sizes: dict[str, int]
    num_parameters: int
    started_ms: int
    ended_ms: int
    computed_s: float
    environment: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the confusion matrices."""
        return tuple(self.spec.get("classes", FOUR))

    @property
    def num_folds(self) -> int:
        """How many folds the corpus was divided into."""
        count: int = self.spec.get("folds", {}).get("num_folds", FoldSpec().num_folds)
        return count

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunReport":
        """Inverse of `dataclasses.asdict`, also after writing to and reading from JSON.

        Raises `ValueError` and its like for values of other kinds.
        """
        curve = tuple(Epoch(**e) for e in values["curve"])
        report = cls(**{**values, "curve": curve})
        for name, kind in _KINDS.items():
            _check(name, getattr(report, name), kind)
        for name in report.classes:
            _check("class", name, str)
        _check("num_folds", report.num_folds, int)
        for epoch in curve:
            for name, value in vars(epoch).items():
                _check(name, value, int if name in ("epoch", "ended_ms") else (*_NUMBER, _NONE))
        for part in PARTS:
            found = report.scores[part]
            for name in ("wa", "ua", "macro_f1"):
                _check(f"{part} {name}", found[name], _NUMBER)
            matrix = np.array(found["confusion"])
            num = len(report.classes)
            if matrix.shape != (num, num) or not np.issubdtype(matrix.dtype, np.integer):
                raise ValueError(f"a confusion matrix of {part} that is not of {num} classes")
        for part in ("train", *PARTS):
            _check(f"size of {part}", report.part_sizes[part], int)
        return report


_NUMBER: Final = (int, float)
_NONE: Final = type(None)
_KINDS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(
        ("fold", "seed", "best_epoch", "num_parameters", "started_ms", "ended_ms"), int
    ),
    **dict.fromkeys(("spec", "scores", "part_sizes", "environment", "details"), dict),
    "digest": str,
    "computed_s": _NUMBER,
}
"""Types of a report's values."""


def _check(name: str, value: object, kind: type | tuple[type, ...]) -> None:
    if isinstance(value, bool) or not isinstance(value, kind):
        raise ValueError(f"{name} {shown(value)}")


def predictions_csv(predictions: Mapping[str, Predictions]) -> str:
    """One line per utterance: part, id, true class, predicted class, probability of each class."""
    rows = [
        [
            part,
            name,
            found.classes[label],
            found.classes[int(row.argmax())],
            *(f"{p:.6f}" for p in row),
        ]
        for part, found in predictions.items()
        for name, label, row in zip(
            found.utterances, found.labels, found.probabilities, strict=True
        )
    ]
    classes = next((found.classes for found in predictions.values()), ())
    return csv_text(["part", "utterance", "emotion", "predicted", *classes], rows)


def curve_csv(curve: tuple[Epoch, ...]) -> str:
    """The learning curve as CSV, one line per epoch."""
    names = [f.name for f in dataclasses.fields(Epoch)]
    return csv_text(names, [[getattr(epoch, name) for name in names] for epoch in curve])
