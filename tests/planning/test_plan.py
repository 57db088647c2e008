"""Plans: what a study asks for, less what is there, each run once."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest

from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.errors import UserError
from mlt_ray.planning.backlog import note_plans, take_stock
from mlt_ray.planning.plan import Plan, RunName, make_plan
from mlt_ray.planning.workspace import Places
from mlt_ray.spec import Run
from mlt_ray.storage.files import write_json
from mlt_ray.storage.record import read_record
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Study, parse_study
from mlt_ray.workflows.run import Request


def corpus_of(text: str) -> Corpus:
    utterance = Utterance(
        id="u",
        audio=Path("u.wav"),
        text=text,
        emotion="sad",
        speaker="a",
        duration_s=1.0,
        audio_sha256=hashlib.sha256(b"u").hexdigest(),
    )
    return Corpus(name="spoken", utterances=(utterance,))


CORPUS, OTHER_CORPUS = corpus_of("hello"), corpus_of("goodbye")


def study_of(**base: Any) -> Study:
    """Three rows; the first and the last are the same model under two names."""
    return parse_study(
        "mine",
        {
            "title": "Mine",
            "seeds": [3, 5],
            "base": {"model": {"system": "multilevel"}, **base},
            "rows": [
                {"name": "whole", "published": {"wa": [0.73, 0.003], "ua": [0.741, None]}},
                {"name": "words", "model": {"text": "word"}},
                {"name": "same again", "model": {"text": "highway"}},
            ],
        },
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def left(plan: Plan, store: Store) -> list[Run]:
    return list(take_stock([plan], store).left)


def mark_done(store: Store, run: Run) -> None:
    write_json(store.run_dir(run.digest) / "report.json", {})


def places(runs: Any) -> set[tuple[int, int]]:
    return {(run.fold, run.seed) for run in runs}


def test_a_row_is_every_fold_with_every_seed() -> None:
    plan = make_plan(study_of(), CORPUS)
    assert [row.name for row in plan.rows] == ["whole", "words", "same again"]
    for row in plan.rows:
        assert len(row.runs) == 10
        assert places(row.runs) == {(fold, seed) for fold in range(1, 6) for seed in (3, 5)}
        assert row.asked == row.runs
        assert {run.spec.corpus for run in row.runs} == {CORPUS.fingerprint}


def test_rows_with_the_same_values_are_the_same_runs(store: Store) -> None:
    plan = make_plan(study_of(), CORPUS)
    whole, words, again = ([run.digest for run in row.runs] for row in plan.rows)
    assert whole == again
    assert not set(whole) & set(words)
    assert [run.digest for run in left(plan, store)] == [*whole, *words]


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


def test_rows_folds_and_seeds_narrow_what_is_computed_but_not_the_rows(store: Store) -> None:
    plan = make_plan(study_of(), CORPUS, rows=["words"], folds=[2, 4], seeds=[5])
    assert [len(row.runs) for row in plan.rows] == [10, 10, 10]
    assert [places(row.asked) for row in plan.rows] == [set(), {(2, 5), (4, 5)}, set()]
    assert left(plan, store) == list(plan.rows[1].asked)


def test_a_seed_beyond_the_study_is_added_to_the_rows_that_are_asked_for() -> None:
    plan = make_plan(study_of(), CORPUS, rows=["words"], seeds=[7])
    whole, words, _ = plan.rows
    assert places(whole.runs) == {(f, s) for f in range(1, 6) for s in (3, 5)}
    assert places(words.runs) == {(f, s) for f in range(1, 6) for s in (3, 5, 7)}
    assert places(words.asked) == {(f, 7) for f in range(1, 6)}


@pytest.mark.parametrize("seeds", [[7, 7], [3, 3], [5, 7, 5, 7]])
def test_a_seed_that_is_given_twice_counts_once(seeds: list[int], store: Store) -> None:
    plan = make_plan(study_of(), CORPUS, seeds=seeds)
    for row in plan.rows:
        assert len(row.runs) == len({run.digest for run in row.runs})
        assert places(row.asked) == {(f, s) for f in range(1, 6) for s in seeds}


def test_an_unknown_row_is_refused_with_the_nearest() -> None:
    studies = [study_of()]
    places = Places(corpus=Path(), store=Store("unused"))
    request = Request(studies=studies, places=places, rows=["wrods"])
    with pytest.raises(UserError, match=r"--rows: unknown row wrods; did you mean words\?"):
        _ = request.asked_rows


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


def narrow(**choice: Any) -> Plan:
    return make_plan(study_of(model={"system": "multilevel", "width": 64}), CORPUS, **choice)


def test_rows_that_were_not_asked_for_keep_what_was_recorded_before(store: Store) -> None:
    note(make_plan(study_of(), CORPUS), store)
    note(narrow(rows=["words"], folds=[1]), store)
    assert widths(store) == {"whole": 128, "words": 64, "same again": 128}


def test_on_another_corpus_everything_is_recorded_anew(store: Store) -> None:
    note(make_plan(study_of(), OTHER_CORPUS), store)
    note(narrow(rows=["words"]), store)
    assert widths(store) == {"whole": 64, "words": 64, "same again": 64}
    assert noted(store)["corpus"]["fingerprint"] == CORPUS.fingerprint


def test_rows_that_the_study_no_longer_has_are_forgotten(store: Store) -> None:
    note(make_plan(study_of(), CORPUS), store)
    values = noted(store)
    values["rows"][0]["name"] = "old name"
    write_json(store.study("mine"), values)
    note(narrow(rows=["words"]), store)
    assert widths(store) == {"whole": 64, "words": 64, "same again": 128}


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
