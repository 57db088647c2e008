"""Computes a row's means and deviations from the test scores of its runs."""

import statistics
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from mlt_ray.corpus.fold_notes import gap_text
from mlt_ray.errors import UserError
from mlt_ray.metrics import score
from mlt_ray.models.registry import parse_model
from mlt_ray.spec import ONLY_SEED
from mlt_ray.storage.record import RowRecord, RunRecord
from mlt_ray.storage.report import RunReport


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """WA or UA of a row, shares in 0–1.

    `mean`: over all finished runs. `std_repeats`: for each repeat (seed) the mean over its folds,
    then the sample standard deviation of these means. The paper's ± is *assumed* to be this one.
    Only repeats with all folds count; None if fewer than two have them. `std_runs`: sample
    standard deviation over all runs; None for one run. `pooled`: the score of the test predictions
    of all runs taken together.
    """

    mean: float
    std_repeats: float | None
    std_runs: float | None
    pooled: float


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """WA and UA of a row, with the number of finished and planned runs.

    `gaps`: where the test part of a fold holds no utterance of a class
    (`mlt_ray.corpus.folds.gap_text`). If there are any, UA is no mean over all classes.
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
    if _reads_seed(row):
        return row.runs
    ranked = sorted(row.runs, key=lambda run: (run.digest not in done, run.seed != ONLY_SEED))
    one_a_fold = {run.fold: run for run in reversed(ranked)}
    return tuple(one_a_fold[fold] for fold in sorted(one_a_fold))


def _reads_seed(row: RowRecord) -> bool:
    try:
        return parse_model(row.spec.get("model", {}), row.name).reads_seed
    except UserError:
        return True  # a system that this version does not have


def _gaps(reports: Sequence[RunReport]) -> tuple[str, ...]:
    by_fold = {report.fold: report for report in reports}
    return tuple(
        gap_text(name, "test", fold)
        for fold, report in sorted(by_fold.items())
        for name, row in zip(report.classes, report.scores["test"]["confusion"], strict=True)
        if not sum(row)
    )


def aggregate(reports: Sequence[RunReport], planned: int) -> Aggregate:
    """Aggregate the test scores of a row's finished runs; `ValueError` if there are none."""
    if not reports:
        raise ValueError("no finished run to aggregate")
    confusion = np.sum([r.scores["test"]["confusion"] for r in reports], axis=0)
    labels, predictions = np.repeat(
        np.indices(confusion.shape).reshape(2, -1), confusion.ravel(), axis=1
    )
    pooled = score(labels, predictions, len(confusion))
    return Aggregate(
        wa=_statistic(reports, "wa", pooled.wa),
        ua=_statistic(reports, "ua", pooled.ua),
        done=len(reports),
        planned=planned,
        gaps=_gaps(reports),
    )


def _statistic(reports: Sequence[RunReport], score_name: str, pooled: float) -> Statistic:
    values = [r.scores["test"][score_name] for r in reports]
    repeats: dict[int, dict[int, float]] = defaultdict(dict)
    for report, value in zip(reports, values, strict=True):
        repeats[report.seed][report.fold] = value
    means = [
        statistics.fmean(v.values()) for v in repeats.values() if len(v) == reports[0].num_folds
    ]
    return Statistic(
        mean=statistics.fmean(values),
        std_repeats=statistics.stdev(means) if len(means) > 1 else None,
        std_runs=statistics.stdev(values) if len(values) > 1 else None,
        pooled=pooled,
    )
