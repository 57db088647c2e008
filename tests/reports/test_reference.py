"""Rows against the reference: which one it is, what is compared, what is said."""

import csv
import io
from pathlib import Path

import pytest

from mlt_ray.reports.reference import (
    best_by_dev,
    compared,
    comparisons_csv,
    predicted_of,
    verdict_line,
)
from mlt_ray.reports.results import Results, results_of
from mlt_ray.storage.store import Store
from tests.reports.made_up import corpus, fill


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return fill(Store(tmp_path), {"good": 0.8, "poor": 0.3})


def without(results: Results, row: str, *runs: tuple[int, int]) -> Results:
    """The results after some runs of a row, by fold and seed, were lost."""
    rows = {one.name: one for one in results.records[0].rows}
    for run in rows[row].runs:
        if (run.fold, run.seed) in runs:
            results.store.run_file(run.digest, "report.json").unlink()
    return results_of(results.records, results.store)


def found(results: Results, reference: str = "good"):
    [record] = results.records
    rows = {row.name: row for row in record.rows}
    return compared(results.runs, rows, reference, predicted_of(record, results))


def test_the_reference_is_the_best_on_dev_whatever_test_says(results: Results) -> None:
    runs = results.runs.copy()
    runs.loc[runs["row"] == "good", "test_ua"] = 0.0
    assert best_by_dev(runs) == "good"
    assert best_by_dev(runs[runs["row"] == "nobody"]) is None
    # Of one fold alone, which may be an easy one.
    runs.loc[runs["row"] == "poor", "dev_ua"] = 1.0
    assert best_by_dev(runs) == "poor"
    assert best_by_dev(runs[(runs["row"] == "good") | (runs["fold"] == 1)]) == "good"


def test_rows_that_lack_runs_are_compared_over_those_that_both_have(results: Results) -> None:
    whole = found(results)["poor"]
    less = found(without(results, "poor", (1, 1), (1, 2), (1, 3), (2, 3)))["poor"]
    assert (whole.test.num_pairs, less.test.num_pairs) == (15, 11)
    assert less.pooled != whole.pooled
    dialog_of = {u.id: u.dialog for u in corpus().utterances}
    of_fold_1 = results.predictions.query("part == 'test' and fold == 1")
    lost = {dialog_of[name] for name in of_fold_1["utterance"]}
    assert whole.num_groups == len(set(dialog_of.values()))
    assert less.num_groups == whole.num_groups - len(lost)
    assert less.verdict == "lower"


def test_rows_without_a_run_in_common_are_not_told_apart(results: Results) -> None:
    others = [(fold, seed) for fold in range(1, 6) for seed in (1, 2, 3) if fold > 1]
    results = without(results, "good", *others)
    results = without(results, "poor", (1, 1), (1, 2), (1, 3))
    comparison = found(results)["poor"]
    assert (comparison.test, comparison.pooled) == (None, None)
    assert comparison.verdict == "too few runs to say"


def test_a_store_without_its_corpus_draws_utterances(results: Results) -> None:
    results.store.corpus(results.records[0].fingerprint).unlink()
    comparison = found(results)["poor"]
    assert (comparison.groups, comparison.num_groups) == ("utterance", 120)


def test_the_line_of_verdicts_and_the_csv_say_the_same(results: Results) -> None:
    comparisons = found(results)
    line = verdict_line("good", comparisons)
    assert line.startswith("UA against good, the best on dev")
    assert line.endswith("lower: poor")
    [row] = csv.DictReader(io.StringIO(comparisons_csv([("made", comparisons["poor"])])))
    assert (row["study"], row["row"], row["other"]) == ("made", "poor", "good")
    assert (row["verdict"], row["pairs"], row["groups"]) == ("lower", "15", "dialog")
    assert float(row["difference"]) == comparisons["poor"].test.difference
    assert float(row["pooled_high"]) == comparisons["poor"].pooled.high < 0
