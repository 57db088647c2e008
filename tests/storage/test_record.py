"""What a store notes of studies and searches, as it stands in their files."""

from pathlib import Path

import pytest

from mlt_ray.storage.record import (
    RowRecord,
    RunRecord,
    StudyRecord,
    all_records,
    read_record,
    write_record,
)
from mlt_ray.storage.store import Store

RUNS = (RunRecord(digest="aa", fold=1, seed=3), RunRecord(digest="bb", fold=2, seed=3))
SPEC = {"corpus": "c0ffee", "model": {"system": "xu"}}
STUDY = StudyRecord(
    study="mine",
    title="Mine",
    corpus="spoken",
    fingerprint="c0ffee",
    rows=(
        RowRecord(
            name="one",
            spec=SPEC,
            runs=RUNS,
            published={"wa": (0.73, 0.003), "ua": (0.741, None)},
            changes=("training.max_epochs=2",),
        ),
        RowRecord(name="two", spec=SPEC, runs=()),
    ),
)
SEARCH = StudyRecord(
    study="layers search",
    title="Layers",
    corpus="spoken",
    fingerprint="c0ffee",
    rows=(RowRecord(name="1: width 64", spec=SPEC, runs=RUNS),),
    is_search=True,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_study_is_read_as_it_was_written(store: Store) -> None:
    path = store.study("mine")
    assert read_record(store, path) is None
    write_record(store, path, STUDY)
    assert read_record(store, path) == STUDY


def test_a_search_is_read_as_it_was_written(store: Store) -> None:
    write_record(store, store.search("layers"), SEARCH)
    assert read_record(store, store.search("layers")) == SEARCH


def test_studies_come_before_searches(store: Store) -> None:
    write_record(store, store.search("layers"), SEARCH)
    write_record(store, store.study("mine"), STUDY)
    assert all_records(store) == [STUDY, SEARCH]


def test_a_row_of_a_study_says_what_is_published_and_changed_and_one_of_a_search_does_not() -> None:
    [one, two] = STUDY.as_dict()["rows"]
    assert list(one) == ["name", "published", "overrides", "spec", "runs"]
    assert one["published"] == {"wa": [0.73, 0.003], "ua": [0.741, None]}
    assert one["overrides"] == ["training.max_epochs=2"]
    assert (two["published"], two["overrides"]) == (None, [])
    [row] = SEARCH.as_dict()["rows"]
    assert list(row) == ["name", "spec", "runs"]


def test_only_a_search_is_for_dev_scores_alone() -> None:
    assert "dev_only" not in STUDY.as_dict()
    assert SEARCH.as_dict()["dev_only"] is True


def test_a_run_is_named_by_fold_and_seed() -> None:
    assert str(RUNS[1]) == "fold 2, seed 3"
