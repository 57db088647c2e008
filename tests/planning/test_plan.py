"""Plans: a study's rows and their runs."""

from collections.abc import Iterable
from typing import Any

import pytest

from mlt_ray.errors import UserError
from mlt_ray.planning.plan import PlannedRow, make_plan
from mlt_ray.spec import Run
from mlt_ray.studies.study import parse_study
from tests.planning.three_rows import CORPUS, OTHER_CORPUS, study_of


def fold_seeds(runs: Iterable[Run]) -> set[tuple[int, int]]:
    return {(run.fold, run.seed) for run in runs}


def test_a_row_is_every_fold_with_every_seed() -> None:
    plan = make_plan(study_of(), CORPUS)
    assert [row.name for row in plan.rows] == ["whole", "words", "same again"]
    for row in plan.rows:
        assert len(row.runs) == 10
        assert fold_seeds(row.runs) == {(fold, seed) for fold in range(1, 6) for seed in (3, 5)}
        assert row.asked == row.runs
        assert {run.spec.corpus for run in row.runs} == {CORPUS.fingerprint}


def test_rows_with_the_same_values_are_the_same_runs() -> None:
    plan = make_plan(study_of(), CORPUS)
    whole, words, again = ([run.digest for run in row.runs] for row in plan.rows)
    assert whole == again
    assert not set(whole) & set(words)


def test_rows_folds_and_seeds_narrow_what_is_asked_for_but_not_the_rows() -> None:
    plan = make_plan(study_of(), CORPUS, rows=["words"], folds=[2, 4], seeds=[5])
    assert [len(row.runs) for row in plan.rows] == [10, 10, 10]
    assert [fold_seeds(row.asked) for row in plan.rows] == [set(), {(2, 5), (4, 5)}, set()]


def test_a_seed_beyond_the_study_is_added_to_the_rows_that_are_asked_for() -> None:
    plan = make_plan(study_of(), CORPUS, rows=["words"], seeds=[7])
    whole, words, _ = plan.rows
    assert fold_seeds(whole.runs) == {(f, s) for f in range(1, 6) for s in (3, 5)}
    assert fold_seeds(words.runs) == {(f, s) for f in range(1, 6) for s in (3, 5, 7)}
    assert fold_seeds(words.asked) == {(f, 7) for f in range(1, 6)}


@pytest.mark.parametrize("seeds", [[7, 7], [3, 3], [5, 7, 5, 7]])
def test_a_seed_that_is_given_twice_counts_once(seeds: list[int]) -> None:
    plan = make_plan(study_of(), CORPUS, seeds=seeds)
    for row in plan.rows:
        assert len(row.runs) == len({run.digest for run in row.runs})
        assert fold_seeds(row.asked) == {(f, s) for f in range(1, 6) for s in seeds}


def test_a_row_of_one_study_asks_for_nothing_of_another() -> None:
    plan = make_plan(study_of(), CORPUS, rows=["of another study"])
    assert [row.asked for row in plan.rows] == [() for _ in plan.rows]


@pytest.mark.parametrize("fold", [0, 6])
def test_a_fold_that_does_not_exist_is_refused(fold: int) -> None:
    with pytest.raises(UserError, match=f"--folds: expected numbers from 1 to 5, got {fold}"):
        make_plan(study_of(), CORPUS, folds=[fold])


def test_another_corpus_makes_other_runs() -> None:
    one, other = make_plan(study_of(), CORPUS), make_plan(study_of(), OTHER_CORPUS)
    assert not {r.digest for r in one.rows[0].runs} & {r.digest for r in other.rows[0].runs}


def classical(**choice: Any) -> PlannedRow:
    study = parse_study(
        "mine",
        {"seeds": [3, 5], "rows": [{"name": "words", "model": CLASSICAL}]},
    )
    [row] = make_plan(study, CORPUS, **choice).rows
    return row


CLASSICAL = {"system": "classical", "text": "tfidf"}


@pytest.mark.parametrize("seeds", [[], [3], [7, 9], [1]])
def test_a_row_that_reads_no_seed_is_one_run_a_fold(seeds: list[int]) -> None:
    row = classical(seeds=seeds)
    assert fold_seeds(row.runs) == fold_seeds(row.asked) == {(fold, 1) for fold in range(1, 6)}
    assert len(row.runs) == len(row.asked) == 5
    assert row.runs == classical().runs
    assert fold_seeds(classical(seeds=seeds, folds=[2, 4]).asked) == {(2, 1), (4, 1)}
