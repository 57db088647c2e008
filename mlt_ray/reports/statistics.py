"""Computes a row's means and deviations from the test scores of its runs."""

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlt_ray.corpus.fold_notes import gap_text
from mlt_ray.errors import UserError
from mlt_ray.metrics import score
from mlt_ray.models.registry import parse_model
from mlt_ray.spec import ONLY_SEED
from mlt_ray.storage.record import RowRecord, RunRecord

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """WA or UA of a row, shares in 0–1.

    `mean`: over all finished runs. `std_repeats`: for each repeat (seed) the mean over its folds,
    then the sample standard deviation of these means. The paper's ± is *assumed* to be this one.
    Only repeats with all folds count; None if fewer than two have them. `std_folds`: for each fold
    the mean over its runs, then the deviation of these; None for one fold. `std_runs`: sample
    standard deviation over all runs; None for one run. `pooled`: the score of the test predictions
    of all runs taken together.
    """

    mean: float
    std_repeats: float | None
    std_folds: float | None
    std_runs: float | None
    pooled: float


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """WA and UA of a row, with the number of finished and planned runs.

    `gaps`: where the test part of a fold holds no utterance of a class
    (`mlt_ray.corpus.fold_notes.gap_text`). If there are any, UA is no mean over all classes.
    """

    wa: Statistic
    ua: Statistic
    done: int
    planned: int
    gaps: tuple[str, ...] = ()


def counted_runs(row: RowRecord, done: Collection[str]) -> tuple[RunRecord, ...]:
    """The runs that a row's scores are the mean of, of which those in `done` are finished.

    All of them; if its system reads no seed, one a fold, a finished one where there is any. An
    earlier version repeated such runs with every seed.
    """
    if reads_seed(row):
        return row.runs
    ranked = sorted(row.runs, key=lambda run: (run.digest not in done, run.seed != ONLY_SEED))
    one_a_fold = {run.fold: run for run in reversed(ranked)}
    return tuple(one_a_fold[fold] for fold in sorted(one_a_fold))


def reads_seed(row: RowRecord) -> bool:
    """Whether runs of the row's system differ by their seed; False for classical ones."""
    try:
        return parse_model(row.spec.get("model", {}), row.name).reads_seed
    except UserError:
        return True  # a system that this version does not have


def aggregate(runs: "DataFrame", planned: int) -> Aggregate:
    """Aggregate the test scores of a row's finished runs; `ValueError` if there are none.

    `runs` is a frame of `mlt_ray.reports.frames.runs_frame`.
    """
    found = statistics_of(runs, ("wa", "ua"))
    return Aggregate(
        wa=found["wa"],
        ua=found["ua"],
        done=len(runs),
        planned=planned,
        gaps=_gaps(runs),
    )


def statistics_of(runs: "DataFrame", scores: Sequence[str]) -> dict[str, Statistic]:
    """The statistics of these test scores of runs, by name; `ValueError` if there are no runs.

    Columns that are read: ``fold, seed, num_folds, test_confusion``, and ``test_NAME`` of a score.
    """
    if runs.empty:
        raise ValueError("no finished run to aggregate")
    confusion = np.sum(runs["test_confusion"].to_list(), axis=0)
    labels, predictions = np.repeat(
        np.indices(confusion.shape).reshape(2, -1), confusion.ravel(), axis=1
    )
    pooled = score(labels, predictions, len(confusion))
    return {name: _statistic(runs, f"test_{name}", getattr(pooled, name)) for name in scores}


def _statistic(runs: "DataFrame", column: str, pooled: float) -> Statistic:
    """Python's own means and deviations: exact sums, whatever the order of the runs."""
    values = runs[column].to_list()
    num_folds = runs["num_folds"].iloc[0]
    repeats = runs.groupby("seed")[column]
    means = [statistics.fmean(repeat) for _, repeat in repeats if len(repeat) == num_folds]
    by_fold = [statistics.fmean(fold) for _, fold in runs.groupby("fold")[column]]
    return Statistic(
        mean=statistics.fmean(values),
        std_repeats=statistics.stdev(means) if len(means) > 1 else None,
        std_folds=statistics.stdev(by_fold) if len(by_fold) > 1 else None,
        std_runs=statistics.stdev(values) if len(values) > 1 else None,
        pooled=pooled,
    )


def _gaps(runs: "DataFrame") -> tuple[str, ...]:
    by_fold = runs.drop_duplicates("fold").sort_values("fold")
    return tuple(
        gap_text(name, "test", fold)
        for fold, classes, confusion in zip(
            by_fold["fold"], by_fold["classes"], by_fold["test_confusion"], strict=True
        )
        for name, row in zip(classes, confusion, strict=True)
        if not sum(row)
    )
