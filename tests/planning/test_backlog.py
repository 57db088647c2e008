"""A backlog: which runs of plans the store lacks, and what the store notes of the plans."""

import dataclasses
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.planning.backlog import (
    latest_records,
    note_plans,
    other_studies,
    other_versions,
    take_stock,
)
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


def fold_seeds(store: Store, name: str) -> list[tuple[int, int]]:
    [row] = (row for row in noted(store)["rows"] if row["name"] == name)
    return [(run["fold"], run["seed"]) for run in row["runs"]]


def every_fold(*seeds: int) -> list[tuple[int, int]]:
    return [(fold, seed) for seed in seeds for fold in range(1, 6)]


def test_seeds_of_one_call_stay_beside_those_of_the_next(store: Store) -> None:
    for seeds in ([11, 12], [13, 14]):
        note(make_plan(study_of(), CORPUS, rows=["words"], seeds=seeds), store)
    assert fold_seeds(store, "words") == every_fold(3, 5, 11, 12, 13, 14)
    assert fold_seeds(store, "whole") == every_fold(3, 5)
    note(make_plan(study_of(), CORPUS), store)
    assert fold_seeds(store, "words") == every_fold(3, 5, 11, 12, 13, 14)


def test_with_other_settings_a_row_is_recorded_anew(store: Store) -> None:
    note(make_plan(study_of(), CORPUS, rows=["words"], seeds=[11]), store)
    note(narrower(rows=["words"]), store)
    assert fold_seeds(store, "words") == every_fold(3, 5)
    assert widths(store)["words"] == 64


def test_a_row_is_shown_as_this_call_asked_for_it(store: Store) -> None:
    """Between the two calls of a driver, another has asked for the same and for other rows."""
    plan = make_plan(study_of(), CORPUS, rows=["words"], seeds=[11])
    first = note_plans([plan], store)
    note(make_plan(study_of(), CORPUS, rows=["words"], seeds=[13]), store)
    [shown] = latest_records([plan], first, store)
    assert [(r.fold, r.seed) for r in shown.rows[1].runs] == every_fold(3, 5, 11, 13)
    note(narrower(), store)
    [shown] = latest_records([plan], first, store)
    assert [row.spec["model"]["width"] for row in shown.rows] == [64, 128, 64]
    assert [(r.fold, r.seed) for r in shown.rows[1].runs] == every_fold(3, 5, 11)
    note(make_plan(study_of(), OTHER_CORPUS), store)
    assert latest_records([plan], first, store) == first


def row_changes(store: Store) -> dict[str, list[str]]:
    return {row["name"]: row["overrides"] for row in noted(store)["rows"]}


def test_a_row_that_the_file_says_otherwise_of_by_now_is_marked_as_changed(store: Store) -> None:
    note(make_plan(study_of(), CORPUS), store)
    wide = {"model": {"system": "multilevel", "width": 64}, "training": {"clip_norm": 0.5}}
    note(make_plan(study_of(**wide), CORPUS, rows=["words"]), store)
    changes = ["model.width=128", "training.clip_norm=null"]
    assert row_changes(store) == {"whole": changes, "words": [], "same again": changes}
    # Once the file is as it was, nothing differs from it but the row of the other file.
    note(make_plan(study_of(), CORPUS, rows=["whole"]), store)
    assert row_changes(store) == {
        "whole": [],
        "words": ["model.width=64", "training.clip_norm=0.5"],
        "same again": [],
    }


def test_a_row_keeps_the_changes_of_its_own_call_in_that_calls_words(store: Store) -> None:
    study = study_of(training={"learning_rate": 1e-3})
    words = replace(study.rows[1], changes=("training.learning_rate=1e-3", "--glove mine.txt"))
    rows = (study.rows[0], words, study.rows[2])
    note(make_plan(replace(study, rows=rows), CORPUS, rows=["words"]), store)
    note(make_plan(study_of(), CORPUS, rows=["whole"]), store)
    assert row_changes(store)["words"] == ["--glove mine.txt", "training.learning_rate=1e-3"]
    published = {row["name"]: row["published"] for row in noted(store)["rows"]}
    assert published["words"] is None


DRIVERS: dict[str, dict[str, Any]] = {
    "seeds": {"rows": ["whole"], "seeds": [11, 12]},
    "more seeds": {"rows": ["whole"], "seeds": [13, 14]},
    "other settings": {"rows": ["whole"], "width": 64},
    "another row": {"rows": ["words"], "folds": [2]},
}
"""What drivers of one study ask for at once: they all disturb one another's record."""

TIMES = 20


@contextmanager
def at_once(number: int) -> Iterator[tuple[ProcessPoolExecutor, Any]]:
    """Processes, and a barrier that lets them go on when all have come to it."""
    spawn = multiprocessing.get_context("spawn")
    with spawn.Manager() as manager, ProcessPoolExecutor(number, mp_context=spawn) as pool:
        yield pool, manager.Barrier(number)


def drive(name: str, root: str, gate: Any) -> list[tuple[str, int, list[str], list[Any]]]:
    """Note a plan and show it, `TIMES` times; returns the rows as the driver would print them."""
    shown = []
    for _ in range(TIMES):
        asked = dict(DRIVERS[name])
        model = {"system": "multilevel", "width": asked.pop("width", 128)}
        study = study_of(model=model)
        if name == "other settings":
            rows = tuple(replace(row, changes=("model.width=64",)) for row in study.rows)
            study = replace(study, rows=rows)
        plan, store = make_plan(study, CORPUS, **asked), Store(root)
        gate.wait(60)
        records = note_plans([plan], store)
        gate.wait(60)
        [record] = latest_records([plan], records, store)
        [row] = (row for row in record.rows if row.name in asked["rows"])
        runs = [(run.fold, run.seed) for run in row.runs]
        shown.append((row.name, row.spec["model"]["width"], list(row.changes), runs))
    return shown


@pytest.mark.slow
def test_drivers_of_one_study_at_once_each_show_their_own_rows(store: Store) -> None:
    with at_once(len(DRIVERS)) as (pool, gate):
        futures = {n: pool.submit(drive, n, str(store.root), gate) for n in DRIVERS}
        shown = {name: future.result() for name, future in futures.items()}
    assert all(len(found) == TIMES for found in shown.values())
    for name, seeds in (("seeds", (11, 12)), ("more seeds", (13, 14))):
        for row, width, changes, runs in shown[name]:
            assert (row, width, changes) == ("whole", 128, [])
            assert set(every_fold(3, 5, *seeds)) <= set(runs)
    for row, width, changes, runs in shown["other settings"]:
        assert (row, width, changes) == ("whole", 64, ["model.width=64"])
        assert runs == every_fold(3, 5)
    for row, width, changes, runs in shown["another row"]:
        assert (row, width, changes, runs) == ("words", 128, [], every_fold(3, 5))
    assert [row["name"] for row in noted(store)["rows"]] == ["whole", "words", "same again"]


def note_seeds(first: int, root: str, gate: Any) -> None:
    """Ask for a seed of its own, `TIMES` times."""
    for number in range(TIMES):
        plan = make_plan(study_of(), CORPUS, rows=["whole"], seeds=[first + number])
        gate.wait(60)
        note_plans([plan], Store(root))


@pytest.mark.slow
def test_no_driver_loses_what_another_notes_at_the_same_time(store: Store) -> None:
    firsts = (100, 200, 300)
    with at_once(len(firsts)) as (pool, gate):
        for future in [pool.submit(note_seeds, n, str(store.root), gate) for n in firsts]:
            future.result()
    seeds = (first + number for first in firsts for number in range(TIMES))
    assert fold_seeds(store, "whole") == every_fold(3, 5, *seeds)


def computed_with(torch: str, corpus: Corpus = CORPUS) -> Plan:
    study = study_of()
    rows = (
        replace(row, training=replace(row.training, libraries=f"numpy 2.4.6, torch {torch}"))
        for row in study.rows
    )
    return make_plan(replace(study, rows=tuple(rows)), corpus)


def test_rows_that_another_version_of_a_library_has_computed_are_told(store: Store) -> None:
    old, new = computed_with("2.11.0"), computed_with("2.12.0")
    assert other_versions([new], store) == []
    note(old, store)
    assert other_versions([old], store) == []
    assert other_versions([new], store) == [
        "mine: rows were computed with torch 2.11.0 (now 2.12.0); they are computed anew, and "
        "their old runs stay in the store"
    ]
    # On another corpus they were never computed.
    assert other_versions([computed_with("2.12.0", OTHER_CORPUS)], store) == []


def test_a_study_that_takes_another_s_name_is_told(store: Store) -> None:
    study = study_of()
    assert other_studies([make_plan(study, CORPUS)], store) == []
    note(make_plan(study, CORPUS), store)
    assert other_studies([make_plan(study, CORPUS)], store) == []
    renamed = tuple(replace(row, name=f"my {row.name}") for row in study.rows)
    # A row in common: the same study, edited.
    edited = make_plan(replace(study, rows=(*renamed, study.rows[0])), CORPUS)
    assert other_studies([edited], store) == []
    [line] = other_studies([make_plan(replace(study, rows=renamed), CORPUS)], store)
    assert line.startswith(
        f"{study.name}: takes the place of another study of that name in the store ({study.title})"
    )
