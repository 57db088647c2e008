"""Rows against the reference: which one it is, what is compared, what is said."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from pandas import concat

from mlt_ray.reports.reference import (
    Predicted,
    against,
    best_by_dev,
    compared,
    comparisons_csv,
    corpora_of,
    predicted_of,
    verdict_line,
)
from mlt_ray.reports.results import Results, results_of
from mlt_ray.storage.record import RowRecord
from mlt_ray.storage.store import Store
from tests.reports.made_up import corpus, fill


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return fill(Store(tmp_path), {"good": 0.8, "poor": 0.3})


def rows_of(results: Results) -> dict[str, RowRecord]:
    return {row.name: row for row in results.records[0].rows}


def predicted(results: Results) -> Predicted:
    [record] = results.records
    return predicted_of(record, corpora_of(record, results.store), results.predictions)


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
    return compared(results.runs, rows, reference, predicted(results))


def test_the_reference_is_the_best_on_dev_whatever_test_says(results: Results) -> None:
    runs = results.runs.copy()
    runs.loc[runs["row"] == "good", "test_ua"] = 0.0
    rows = rows_of(results)
    assert best_by_dev(runs, rows) == "good"
    assert best_by_dev(runs[runs["row"] == "nobody"], rows) is None
    # Of one fold alone, which may be an easy one.
    runs.loc[runs["row"] == "poor", "dev_ua"] = 1.0
    assert best_by_dev(runs, rows) == "poor"
    assert best_by_dev(runs[(runs["row"] == "good") | (runs["fold"] == 1)], rows) == "good"


def test_the_reference_is_one_of_the_rows_that_most_others_can_be_compared_with(
    results: Results,
) -> None:
    rows = rows_of(results)
    frame = results.runs
    third = frame[frame["row"] == "poor"].assign(row="third")
    alone = {**rows["good"].spec, "classes": ["angry", "sad"]}
    rows = {**rows, "third": rows["poor"], "good": replace(rows["good"], spec=alone)}
    assert best_by_dev(concat([frame, third]), rows) == "poor"


def test_rows_that_lack_runs_are_compared_over_those_that_both_have(results: Results) -> None:
    whole = found(results)["poor"]
    less = found(without(results, "poor", (1, 1), (1, 2), (1, 3), (2, 3)))["poor"]
    assert (whole.test.num_pairs, less.test.num_pairs) == (5, 4)
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
    assert (row["verdict"], row["folds"], row["groups"]) == ("lower", "5", "dialog")
    assert float(row["difference"]) == comparisons["poor"].test.difference
    assert float(row["pooled_high"]) == comparisons["poor"].pooled.high < 0


def test_a_row_of_another_seed_is_compared_by_folds(results: Results) -> None:
    """As a system that reads no seed stands beside a network of seed 11."""
    frame = results.runs
    one = frame[(frame["row"] == "poor") & (frame["seed"] == 1)]
    both = concat([frame[frame["row"] == "good"].query("seed > 1"), one])
    found = against("poor", "good", both, predicted(results))
    assert found.test.num_pairs == 5
    assert found.verdict == "lower"


def test_tests_of_one_speaker_have_no_interval(results: Results) -> None:
    of_all = predicted(results)
    alone = dict.fromkeys(of_all.group_of, "all of one")
    found = against("poor", "good", results.runs, replace(of_all, group_of=alone))
    assert found.pooled is None
    assert found.verdict == "lower"
