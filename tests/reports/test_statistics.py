"""A row's mean and deviations, compared with numbers worked out by hand and scikit-learn."""

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from mlt_ray.metrics import score
from mlt_ray.reports import statistics
from mlt_ray.reports.frames import RunOfRow, runs_frame
from mlt_ray.reports.statistics import Aggregate, counted_runs
from mlt_ray.storage.record import RowRecord, RunRecord
from mlt_ray.storage.report import RunReport
from tests.stored import report_with

# WA by seed and fold. Means over folds: 0.60, 0.64, 0.71.
WA = {
    1: [0.50, 0.55, 0.60, 0.65, 0.70],
    2: [0.60, 0.62, 0.64, 0.66, 0.68],
    3: [0.61, 0.66, 0.71, 0.76, 0.81],
}


def aggregate(reports: list[RunReport], planned: int) -> Aggregate:
    """The aggregate of the frame of these reports."""
    finished = [RunOfRow(study="study", row="row", report=report) for report in reports]
    return statistics.aggregate(runs_frame(finished), planned)


def reports_of(scores: dict[int, list[float]]) -> list[RunReport]:
    return [
        report_with(fold, seed, wa=wa, ua=1 - wa)
        for seed, values in scores.items()
        for fold, wa in enumerate(values, start=1)
    ]


def test_fifteen_runs_give_the_numbers_worked_by_hand() -> None:
    found = aggregate(reports_of(WA), planned=15)
    assert (found.done, found.planned) == (15, 15)
    # (0.60 + 0.64 + 0.71) / 3, and the sample deviation of the three.
    assert found.wa.mean == pytest.approx(0.65)
    repeats = math.sqrt((0.05**2 + 0.01**2 + 0.06**2) / 2)
    assert found.wa.std_repeats == pytest.approx(repeats)
    squares = sum((x - 0.65) ** 2 for values in WA.values() for x in values)
    assert found.wa.std_runs == pytest.approx(math.sqrt(squares / 14))
    assert found.ua.mean == pytest.approx(0.35)
    assert found.ua.std_repeats == pytest.approx(repeats)


def test_the_order_of_runs_does_not_matter() -> None:
    runs = reports_of(WA)
    assert aggregate(runs[::-1], 15) == aggregate(runs, 15)


def test_the_deviation_over_repeats_leaves_out_repeats_with_a_missing_fold() -> None:
    scores = WA | {2: WA[2][:4]}
    found = aggregate(reports_of(scores), planned=15)
    assert (found.done, found.planned) == (14, 15)
    # Only 0.60 and 0.71 are left: their sample deviation is their distance / √2.
    assert found.wa.std_repeats == pytest.approx(0.11 / math.sqrt(2))
    assert found.wa.mean == pytest.approx((3.0 + 2.52 + 3.55) / 14)


@pytest.mark.parametrize(
    "scores", [{1: WA[1]}, {1: WA[1], 2: WA[2][:4]}, {1: WA[1][:1], 2: WA[2][:1]}]
)
def test_fewer_than_two_complete_repeats_have_no_deviation(
    scores: dict[int, list[float]],
) -> None:
    found = aggregate(reports_of(scores), planned=15)
    assert found.wa.std_repeats is None
    assert found.wa.std_runs is not None


def test_one_run_has_no_deviation_at_all() -> None:
    found = aggregate([report_with(4, 9, wa=0.6, ua=0.7)], planned=5)
    assert (found.wa.mean, found.wa.std_repeats, found.wa.std_runs) == (0.6, None, None)
    assert found.ua.mean == 0.7


def test_nothing_to_aggregate_is_an_error() -> None:
    with pytest.raises(ValueError, match="no finished run"):
        aggregate([], planned=15)


def test_pooled_scores_are_those_of_all_test_predictions_together() -> None:
    rng = np.random.default_rng(3)
    runs, all_labels, all_predictions = [], [], []
    for fold, size in enumerate((11, 47, 23, 31, 5), start=1):
        labels = rng.choice(4, size, p=[0.1, 0.2, 0.3, 0.4])
        predictions = np.where(rng.random(size) < 0.5, labels, rng.integers(0, 4, size))
        scores = asdict(score(labels, predictions, 4))
        runs.append(report_with(fold, 1, scores["wa"], scores["ua"], scores["confusion"]))
        all_labels.append(labels)
        all_predictions.append(predictions)
    labels, predictions = np.concatenate(all_labels), np.concatenate(all_predictions)
    found = aggregate(runs, planned=5)
    assert found.wa.pooled == pytest.approx(metrics.accuracy_score(labels, predictions))
    assert found.ua.pooled == pytest.approx(metrics.balanced_accuracy_score(labels, predictions))
    # Folds differ in size, so the pooled score differs from the mean.
    assert found.wa.pooled != pytest.approx(found.wa.mean, abs=1e-3)


def row_of(model: dict[str, Any], *fold_seeds: tuple[int, int]) -> RowRecord:
    runs = tuple(RunRecord(digest=f"{f}:{s}", fold=f, seed=s) for f, s in fold_seeds)
    return RowRecord(name="row", spec={"model": model}, runs=runs)


ALL = [(fold, seed) for seed in (1, 2, 3) for fold in range(1, 6)]
TFIDF = {"system": "classical", "text": "tfidf"}


def test_every_run_of_a_row_that_reads_seeds_counts() -> None:
    for model in ({"system": "multilevel"}, {"system": "of another version"}):
        row = row_of(model, *ALL)
        assert counted_runs(row, {"1:1"}) == row.runs


@pytest.mark.parametrize(
    ("done", "counted"),
    [
        (set(), [(fold, 1) for fold in range(1, 6)]),
        ({"2:3", "4:1", "4:2"}, [(1, 1), (2, 3), (3, 1), (4, 1), (5, 1)]),
    ],
)
def test_one_run_a_fold_counts_of_a_row_that_reads_no_seed(
    done: set[str], counted: list[tuple[int, int]]
) -> None:
    """As an earlier version noted it, with every seed; any of a fold will do."""
    for fold_seeds in (ALL, ALL[::-1]):
        runs = counted_runs(row_of(TFIDF, *fold_seeds), done)
        assert [(run.fold, run.seed) for run in runs] == counted


def test_gaps_name_the_classes_that_a_test_part_lacks() -> None:
    no_sad = [[1, 1, 0, 0], [0, 2, 0, 0], [0, 0, 3, 1], [0, 0, 0, 0]]
    only_happy = [[0] * 4, [1, 4, 0, 0], [0] * 4, [0] * 4]
    runs = [report_with(fold, 1) for fold in (1, 4, 5)]
    runs += [report_with(3, seed, confusion=no_sad) for seed in (1, 2)]
    assert aggregate(runs, 5).gaps == ("no sad in test of fold 3",)
    runs.append(report_with(2, 1, confusion=only_happy))
    assert aggregate(runs, 6).gaps == (
        "no angry in test of fold 2",
        "no neutral in test of fold 2",
        "no sad in test of fold 2",
        "no sad in test of fold 3",
    )
    assert aggregate(runs[:3], 5).gaps == ()
