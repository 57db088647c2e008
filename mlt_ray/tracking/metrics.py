"""Metrics, parameters and the confusion matrix of a run in the form that MLflow takes."""

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mlt_ray.reports.statistics import Aggregate
from mlt_ray.storage.record import PublishedScores
from mlt_ray.storage.report import EPOCH_SCORES, Epoch, RunReport
from mlt_ray.storage.spreadsheet import csv_text

if TYPE_CHECKING:
    from pandas import DataFrame

SCORES = ("wa", "ua", "macro_f1")


def curve_points(epochs: Sequence[Epoch]) -> list[Any]:
    """The learning curve as MLflow metrics; scores that it lacks (None) have no points."""
    from mlflow.entities import Metric

    return [
        Metric(name, value, epoch.ended_ms, epoch.epoch)
        for epoch in epochs
        for name in EPOCH_SCORES
        if (value := getattr(epoch, name)) is not None
    ]


def scores(report: RunReport, parts: Sequence[str]) -> list[Any]:
    """The scores of these parts at the best epoch, and the run's costs, as MLflow metrics."""
    from mlflow.entities import Metric

    values = {
        f"{prefix}_{k}": report.scores[part][k]
        for part, prefix in (("dev", "best_dev"), ("test", "test"))
        if part in parts
        for k in SCORES
    }
    values |= {"best_epoch": report.best_epoch, "computed_s": report.computed_s}
    return [Metric(k, float(v), report.ended_ms, 0) for k, v in values.items()]


def row_means(
    runs: "DataFrame", result: Aggregate | None, published: PublishedScores | None
) -> dict[str, float]:
    """What a row's parent run shows of its finished runs (`Results.runs`), the main score first.

    `result` has their test scores; None where only dev may be seen.
    """
    values: dict[str, float | None] = {}
    for name in ("ua", "wa") if result is not None else ():
        found = getattr(result, name)
        values[f"test_{name}_mean"] = found.mean
        values[f"test_{name}_std"] = found.std_repeats
        values[f"test_{name}_std_folds"] = found.std_folds
        values[f"test_{name}_std_runs"] = found.std_runs
        values[f"test_{name}_pooled"] = found.pooled
        if published:
            values[f"published_{name}"] = published[name][0]
            values[f"test_{name}_minus_published"] = found.mean - published[name][0]
    values |= {f"dev_{name}_mean": fmean(runs[f"dev_{name}"]) for name in SCORES}
    values["num_parameters"] = fmean(runs["num_parameters"])
    values["computed_s"] = sum(runs["computed_s"])
    values["runs_done"] = len(runs)
    return {name: value for name, value in values.items() if value is not None}


def confusion_csv(classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    """A confusion matrix as CSV; rows are true classes, columns predicted ones."""
    rows: list[list[str | float]] = [
        [name, *row] for name, row in zip(classes, confusion, strict=True)
    ]
    return csv_text(["true \\ predicted", *classes], rows)
