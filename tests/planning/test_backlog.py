"""A backlog: which runs of plans the store lacks, and what the store notes of the plans."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from mlt_ray.planning.backlog import note_plans, take_stock
from mlt_ray.planning.plan import Plan, RunName, make_plan
from mlt_ray.spec import Run
from mlt_ray.storage.files import write_json
from mlt_ray.storage.record import read_record
from mlt_ray.storage.store import Store
from tests.planning.three_rows import CORPUS, OTHER_CORPUS, study_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def left(plan: Plan, store: Store) -> list[Run]:
    return list(take_stock([plan], store).left)


def mark_done(store: Store, run: Run) -> None:
    write_json(store.run_dir(run.digest) / "report.json", {})


def test_a_run_of_two_rows_is_left_once(store: Store) -> None:
    plan = make_plan(study_of(), CORPUS)
    whole, words, _ = plan.rows
    assert left(plan, store) == [*whole.runs, *words.runs]


def test_finished_runs_are_left_out_for_every_row_that_shares_them(store: Store) -> None:
    plan = make_plan(study_of(), CORPUS)
    done = plan.rows[0].runs[4]
    mark_done(store, done)
    backlog = take_stock([plan], store)
    assert len(backlog.left) == 19
    assert done.digest not in {run.digest for run in backlog.left}
    assert backlog.done == {done.digest}


def test_nothing_is_left_when_all_is_done(store: Store) -> None:
    plan = make_plan(study_of(), CORPUS)
    for run in left(plan, store):
        mark_done(store, run)
    assert left(plan, store) == []


def test_only_runs_that_are_asked_for_are_left(store: Store) -> None:
    plan = make_plan(study_of(), CORPUS, rows=["words"], folds=[2, 4], seeds=[5])
    assert left(plan, store) == list(plan.rows[1].asked)
    assert len(plan.rows[1].asked) == 2


def test_several_plans_share_their_runs_and_the_first_gives_the_name(store: Store) -> None:
    plan = make_plan(study_of(), CORPUS)
    other = dataclasses.replace(plan, study="other", rows=plan.rows[::-1])
    backlog = take_stock([plan, other], store)
    whole, words, _ = plan.rows
    assert backlog.left == (*whole.runs, *words.runs)
    assert backlog.num_asked == 20
    assert backlog.specs_left == {whole.spec, words.spec}
    assert backlog.names[whole.runs[1].digest] == RunName(study="mine", row="whole", fold=2, seed=3)
    assert str(backlog.names[words.runs[5].digest]) == "mine: words, fold 1, seed 5"


def noted(store: Store) -> dict[str, Any]:
    values: dict[str, Any] = store.read_json(store.study("mine"))
    return values


def note(plan: Plan, store: Store) -> None:
    [record] = note_plans([plan], store)
    assert record == read_record(store, store.study("mine"))


def widths(store: Store) -> dict[str, int]:
    return {row["name"]: row["spec"]["model"]["width"] for row in noted(store)["rows"]}


def test_a_plan_is_recorded_with_its_rows_and_runs(store: Store) -> None:
    assert read_record(store, store.study("mine")) is None
    plan = make_plan(study_of(), CORPUS)
    note(plan, store)
    values = noted(store)
    assert (values["study"], values["title"]) == ("mine", "Mine")
    assert values["corpus"] == {"name": "spoken", "fingerprint": CORPUS.fingerprint}
    whole, words, _ = values["rows"]
    assert whole["published"] == {"wa": [0.73, 0.003], "ua": [0.741, None]}
    assert words["published"] is None
    runs = [(r.digest, r.fold, r.seed) for r in plan.rows[1].runs]
    assert [(r["digest"], r["fold"], r["seed"]) for r in words["runs"]] == runs


def narrower(**choice: Any) -> Plan:
    return make_plan(study_of(model={"system": "multilevel", "width": 64}), CORPUS, **choice)


def test_rows_that_were_not_asked_for_keep_what_was_recorded_before(store: Store) -> None:
    note(make_plan(study_of(), CORPUS), store)
    note(narrower(rows=["words"], folds=[1]), store)
    assert widths(store) == {"whole": 128, "words": 64, "same again": 128}


def test_on_another_corpus_everything_is_recorded_anew(store: Store) -> None:
    note(make_plan(study_of(), OTHER_CORPUS), store)
    note(narrower(rows=["words"]), store)
    assert widths(store) == {"whole": 64, "words": 64, "same again": 64}
    assert noted(store)["corpus"]["fingerprint"] == CORPUS.fingerprint


def test_rows_that_the_study_no_longer_has_are_forgotten(store: Store) -> None:
    note(make_plan(study_of(), CORPUS), store)
    values = noted(store)
    values["rows"][0]["name"] = "old name"
    write_json(store.study("mine"), values)
    note(narrower(rows=["words"]), store)
    assert widths(store) == {"whole": 64, "words": 64, "same again": 128}
