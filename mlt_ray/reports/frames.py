"""Finished runs, their learning curves and their predictions as pandas frames."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from mlt_ray.errors import UserError, first_line
from mlt_ray.reports.statistics import counted_runs
from mlt_ray.storage.record import StudyRecord
from mlt_ray.storage.report import EPOCH_SCORES, PARTS, Epoch, RunReport
from mlt_ray.storage.spreadsheet import csv_rows, plain_texts
from mlt_ray.storage.store import Store

if TYPE_CHECKING:
    from pandas import DataFrame

_NAME: Final = {"study": "object", "row": "object", "fold": "int64", "seed": "int64"}

RUN_COLUMNS: Final[Mapping[str, str]] = {
    **_NAME,
    "digest": "object",
    "best_epoch": "int64",
    **{f"{part}_{name}": "float64" for part in PARTS for name in ("wa", "ua", "macro_f1")},
    **{f"{part}_confusion": "object" for part in PARTS},
    "classes": "object",
    "num_folds": "int64",
    **{f"num_{part}": "int64" for part in ("train", *PARTS)},
    "num_parameters": "int64",
    "computed_s": "float64",
    "details": "object",
}
"""Columns of `runs_frame` and their types.

Scores are shares in 0–1. A confusion is a list of lists, true classes by predicted ones, in the
order of `classes`, a tuple of K names. `num_train`, `num_dev` and `num_test` count utterances.
`details` is that of `RunReport`.
"""

CURVE_COLUMNS: Final[Mapping[str, str]] = {
    **_NAME,
    **{f.name: "float64" if f.name in EPOCH_SCORES else "int64" for f in fields(Epoch)},
}
"""Columns of `curves_frame` and their types: the fields of `Epoch`, a row an epoch."""

PREDICTION_COLUMNS: Final[Mapping[str, str]] = {
    **_NAME,
    "part": "object",
    "utterance": "object",
    "emotion": "object",
    "predicted": "object",
}
"""Columns of `predictions_frame` and their types, before the probabilities.

These are ``p_NAME`` for each class: float64 in 0–1, in steps of 1e-6; NaN where a run does not
have the class. `part` is dev or test, `emotion` the true class.
"""

_WRITTEN: Final = ["part", "utterance", "emotion", "predicted"]
"""Columns of a run's predictions.csv before those of its classes."""


@dataclass(frozen=True, kw_only=True)
class RunOfRow:
    """The report of a run, and which row of which study it belongs to."""

    study: str
    row: str
    report: RunReport

    @property
    def name(self) -> tuple[str, str, int, int]:
        """The run's first four columns in every frame."""
        return self.study, self.row, self.report.fold, self.report.seed


def finished_runs(records: Iterable[StudyRecord], store: Store) -> tuple[RunOfRow, ...]:
    """The finished ones of the runs that count in these studies, row by row.

    A run that belongs to several rows is there for each of them.
    """
    records = list(records)
    # All at once: behind a URI each run is asked for.
    digests = {run.digest for record in records for row in record.rows for run in row.runs}
    reports = {report.digest: report for report in store.reports(digests)}
    return tuple(
        RunOfRow(study=record.study, row=row.name, report=reports[run.digest])
        for record in records
        for row in record.rows
        for run in counted_runs(row, reports)
        if run.digest in reports
    )


def runs_frame(runs: Iterable[RunOfRow]) -> "DataFrame":
    """One row for each finished run, with `RUN_COLUMNS`."""
    return _frame(RUN_COLUMNS, [(*run.name, *_scores(run.report)) for run in runs])


def _scores(report: RunReport) -> tuple[Any, ...]:
    found = [report.scores[part] for part in PARTS]
    return (
        report.digest,
        report.best_epoch,
        *(scores[name] for scores in found for name in ("wa", "ua", "macro_f1")),
        *(scores["confusion"] for scores in found),
        report.classes,
        report.num_folds,
        *(report.part_sizes[part] for part in ("train", *PARTS)),
        report.num_parameters,
        report.computed_s,
        report.details,
    )


def curves_frame(runs: Iterable[RunOfRow]) -> "DataFrame":
    """One row for each epoch of each finished run, with `CURVE_COLUMNS`."""
    names = [field.name for field in fields(Epoch)]
    rows = [
        (*run.name, *(getattr(epoch, name) for name in names))
        for run in runs
        for epoch in run.report.curve
    ]
    return _frame(CURVE_COLUMNS, rows)


def predictions_frame(runs: Iterable[RunOfRow], store: Store) -> "DataFrame":
    """One row for each utterance of dev and test of each run, with `PREDICTION_COLUMNS`.

    Reads a file a run. Raises `UserError` if one is missing or damaged.
    """
    from pandas import concat

    runs = list(runs)
    classes = dict.fromkeys(name for run in runs for name in run.report.classes)
    columns = {**PREDICTION_COLUMNS, **{f"p_{name}": "float64" for name in classes}}
    # A run may belong to several rows.
    read = {run.report.digest: _predictions(run.report, store) for run in runs}
    found = []
    for run in runs:
        study, row, fold, seed = run.name
        part = read[run.report.digest]
        found.append(part.assign(study=study, row=row, fold=fold, seed=seed))
    if not found:
        return _frame(columns, [])
    whole = concat(found, ignore_index=True)
    return whole.reindex(columns=list(columns)).astype(columns)


def _predictions(report: RunReport, store: Store) -> "DataFrame":
    """A run's predictions.csv: four texts, and ``p_NAME``, the probability of each class."""
    from pandas import read_csv

    path = store.run_file(report.digest, "predictions.csv")
    shares = [f"p_{name}" for name in report.classes]
    try:
        content = path.read_bytes()
        [head] = csv_rows(content.partition(b"\n")[0].decode())
        if head != [*_WRITTEN, *report.classes]:
            raise ValueError(f"columns {', '.join(head)}")
        frame = read_csv(
            io.BytesIO(content),
            skiprows=1,
            names=[*_WRITTEN, *shares],
            dtype={**dict.fromkeys(_WRITTEN, "object"), **dict.fromkeys(shares, "float64")},
            keep_default_na=False,
            index_col=False,
        )
        if frame.isna().to_numpy().any():
            raise ValueError("lines that end too early")
        return frame.assign(**{name: plain_texts(frame[name]) for name in _WRITTEN})
    except (OSError, ValueError, csv.Error) as error:
        reason = first_line(error)
        raise UserError(
            f"{path}: expected the run's predictions, got {reason}; delete the folder to compute "
            "the run again"
        ) from error


def _frame(columns: Mapping[str, str], rows: Sequence[tuple[Any, ...]]) -> "DataFrame":
    # It takes a third of a second to import: not before there is something to show.
    from pandas import DataFrame

    frame = DataFrame(rows, columns=list(columns), dtype="object")
    return frame.astype(dict(columns))
