"""What a search proposes, prunes and finds best, without Ray."""

import contextlib
import json
import pickle
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from mlt_ray.errors import UserError
from mlt_ray.models.classical.values import ClassicalSpec
from mlt_ray.planning.source import End, RunEnd
from mlt_ray.search.configuration import ConfigurationState
from mlt_ray.search.cross_validation import CrossValidationSearch
from mlt_ray.search.evidence import evidence_of
from mlt_ray.spec import Run, RunSpec
from mlt_ray.storage.files import write_bytes
from mlt_ray.storage.record import RowRecord, RunRecord, StudyRecord, write_record
from mlt_ray.storage.store import Store
from mlt_ray.studies.space import SearchSpace, parse_space
from tests.search.fake_tune import FakeTune
from tests.search.test_cma_es import Planted
from tests.stored import report_of, write_report

optuna.logging.set_verbosity(optuna.logging.WARNING)

SPACE: dict[str, Any] = {
    "base": {"model": {"system": "multilevel"}},
    "space": {
        "model.text_encoder_layers": {"int": [1, 3]},
        "model.deep_fusion_layers": {"int": [0, 3]},
    },
    "search": {"trials": 8, "startup_trials": 2, "warmup_epochs": 1, "best": 2},
}


def one(spec: RunSpec) -> int:
    """Packs of one run."""
    return 1


def space_of(**search: Any) -> SearchSpace:
    values = {**SPACE, "search": {**SPACE["search"], **search}}
    return parse_space(Path("mini.yaml"), values)


def open_search(
    space: SearchSpace, store: Store, storage: optuna.storages.BaseStorage, **more: Any
) -> CrossValidationSearch:
    def configure(values: Mapping[str, Any]) -> RunSpec:
        row = space.row(values)
        return RunSpec(corpus="c", model=row.model, training=row.training)

    configure_with = more.pop("configure", configure)
    return CrossValidationSearch(space, store, storage, configure_with, identity="1", **more)


def quality(run: Run) -> float:
    """Better with more text layers and fewer fusion layers, and a little with the fold."""
    model: Any = run.spec.model
    return 0.5 + 0.1 * model.text_encoder_layers - 0.1 * model.deep_fusion_layers + run.fold / 1000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_distinct_configurations_are_proposed_and_each_run_is_trained_once(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    search, tune = open_search(space_of(pruner="none"), store, storage), FakeTune(store, quality)
    tune.drive(search)
    assert len({c.spec for c in search.configurations}) == 8
    assert len(tune.trained) == len(set(tune.trained)) == 8 * 5
    assert all(c.state is ConfigurationState.COMPLETE for c in search.configurations)


def test_the_best_are_those_of_the_highest_mean_dev_score(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    search, tune = open_search(space_of(pruner="none"), store, storage), FakeTune(store, quality)
    tune.drive(search)
    means = {c.number: sum(quality(run) for run in c.runs) / 5 for c in search.configurations}
    assert [c.number for c in search.best()] == sorted(means, key=lambda n: (-means[n], n))[:2]
    for trial in search.study.get_trials(states=[optuna.trial.TrialState.COMPLETE]):
        assert trial.value == pytest.approx(means[trial.user_attrs["configuration"]])


def test_a_poor_configuration_is_pruned_on_its_partial_mean(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    # No curve is compared within its few epochs.
    space = space_of(warmup_epochs=100, sampler="random")
    search, tune = open_search(space, store, storage), FakeTune(store, quality)
    tune.drive(search)
    pruned = [c for c in search.configurations if c.state is ConfigurationState.PRUNED]
    assert pruned
    assert all("mean of the first" in c.reason and len(c.found) < 5 for c in pruned)
    best = max(quality(c.runs[0]) for c in search.configurations)
    assert all(quality(c.runs[0]) < best for c in pruned)
    states = {t.user_attrs["configuration"]: t.state for t in search.study.get_trials()}
    assert all(states[c.number] is optuna.trial.TrialState.PRUNED for c in pruned)


def test_a_poor_learning_curve_stops_a_run_and_prunes_its_configuration(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    space = space_of(warmup_cells=100, sampler="random")
    search, tune = open_search(space, store, storage), FakeTune(store, quality)
    tune.drive(search)
    assert tune.stopped
    pruned = [c for c in search.configurations if c.state is ConfigurationState.PRUNED]
    assert all("learning curve" in c.reason for c in pruned)
    assert not set(tune.stopped) & {d for c in search.configurations for d in c.found}


def test_a_poor_run_of_several_under_way_stops_the_others(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    space = space_of(warmup_cells=100, sampler="random", startup_trials=0, trials=2)
    search = open_search(space, store, storage)
    FakeTune(store, lambda run: 0.9).drive(search, most=5)
    while len(search.configurations) < 2 or not search.configurations[1].todo:
        assert search.next(one) is not None
    poor = search.configurations[1]
    taken = [
        *poor.under_way,
        *(run.digest for pack in [search.next(one)] if pack for run in pack),
    ]
    runs = {run.digest: run for run in poor.runs}
    curve = report_of(runs[taken[0]], 0.1).curve
    stopping = search.epochs(runs[taken[0]], curve[:3])
    assert {run.digest for run in stopping} == set(taken)
    assert poor.state is ConfigurationState.PRUNED


def test_after_a_kill_no_run_is_trained_twice_and_the_same_number_is_proposed(
    store: Store, tmp_path: Path
) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'optuna.db'}")
    tune = FakeTune(store, quality)
    tune.drive(open_search(space_of(), store, storage), most=13)
    again = open_search(space_of(), store, storage)
    tune.drive(again)
    stopped = set(tune.stopped)
    assert [d for d in tune.trained if tune.trained.count(d) > 1 and d not in stopped] == []
    assert len(again.configurations) == 8
    assert again.exhausted
    states = {t.state for t in again.study.get_trials()}
    assert optuna.trial.TrialState.RUNNING not in states


def test_a_search_that_ended_is_found_ended(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    first, tune = open_search(space_of(), store, storage), FakeTune(store, quality)
    tune.drive(first)
    again = open_search(space_of(), store, storage)
    assert again.exhausted
    assert again.next(one) is None
    assert [c.number for c in again.best()] == [c.number for c in first.best()]
    assert [c.state for c in again.configurations] == [c.state for c in first.configurations]


def test_runs_that_any_study_has_computed_are_not_trained_again(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    space = space_of(pruner="none", sampler="grid", trials=12)
    for values in space.grid():
        spec = RunSpec(
            corpus="c", model=space.row(values).model, training=space.row(values).training
        )
        for fold, seed in space.fold_seeds(5):
            run = Run(spec=spec, fold=fold, seed=seed)
            write_report(store, report_of(run, quality(run)))
    search, tune = open_search(space, store, storage), FakeTune(store, quality)
    tune.drive(search)
    assert tune.trained == []
    assert len(search.configurations) == 12
    assert all(c.state is ConfigurationState.COMPLETE for c in search.configurations)


def test_no_test_score_reaches_the_search(
    store: Store, storage: optuna.storages.BaseStorage, tmp_path: Path
) -> None:
    histories = []
    for name, test_ua in (
        ("kind", lambda run: quality(run)),
        ("cruel", lambda run: 1 - quality(run)),
    ):
        place = Store(tmp_path / name)
        where = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / name}.db")
        search = open_search(space_of(), place, where)
        FakeTune(place, quality, test_ua).drive(search)
        histories.append([(c.values, c.state, c.means) for c in search.configurations])
    assert histories[0] == histories[1]
    run = search.configurations[0].runs[0]
    report = report_of(run, 0.6)
    without = replace(report, scores={"dev": report.scores["dev"]})
    assert evidence_of(without) == evidence_of(report)
    assert not any("test" in name for name in vars(evidence_of(report)))


def test_a_configuration_that_diverges_is_failed_and_the_search_goes_on(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    def diverging(run: Run) -> float | None:
        model: Any = run.spec.model
        return None if model.deep_fusion_layers == 0 else quality(run)

    space = space_of(sampler="grid", trials=12, pruner="none")
    search, tune = open_search(space, store, storage), FakeTune(store, diverging)
    tune.drive(search)
    failed = [c for c in search.configurations if c.state is ConfigurationState.FAILED]
    assert len(failed) == 3
    assert {c.reason for c in failed} == {"the loss is nan"}
    assert all(c.state is ConfigurationState.COMPLETE for c in search.best())


def test_a_stopped_run_of_a_running_configuration_is_given_out_again(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    search = open_search(space_of(), store, storage)
    [run] = search.next(one) or ()
    search.ended(run, RunEnd(kind=End.STOPPED))
    assert search.next(one) == (run,)


def test_runs_of_one_configuration_go_out_in_packs(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    search = open_search(space_of(), store, storage)
    packs = [search.next(lambda spec: 3) or () for _ in range(3)]
    assert [len(pack) for pack in packs] == [3, 2, 3]
    assert all(len({run.spec for run in pack}) == 1 for pack in packs)


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "grid"])
def test_every_sampler_proposes(
    sampler: str, store: Store, storage: optuna.storages.BaseStorage
) -> None:
    space = space_of(sampler=sampler, sampler_seed=1)
    search, tune = open_search(space, store, storage), FakeTune(store, quality)
    tune.drive(search)
    assert len(search.configurations) == 8


@pytest.mark.parametrize("pruner", ["median", "percentile", "halving", "none"])
def test_every_pruner_works(
    pruner: str, store: Store, storage: optuna.storages.BaseStorage
) -> None:
    search, tune = open_search(space_of(pruner=pruner), store, storage), FakeTune(store, quality)
    tune.drive(search)
    states = {c.state for c in search.configurations}
    assert (ConfigurationState.PRUNED in states) == (pruner != "none")


def test_a_small_space_ends_when_all_is_proposed(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    space = space_of(trials=50, pruner="none", seeds=[1], folds=[1])
    search, tune = open_search(space, store, storage), FakeTune(store, quality)
    tune.drive(search)
    assert len(search.configurations) == space.size == 12


def test_several_objectives_give_a_front(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    space = space_of(objectives=["dev_ua", "num_parameters"], pruner="none", best=5)
    search = open_search(space, store, storage)
    FakeTune(store, quality).drive(search)
    best = search.best()
    # All have the same number of parameters here: only the best score stays on the front.
    top = max(c.means["dev_ua"] for c in search.configurations)
    assert {round(c.means["dev_ua"], 9) for c in best} == {round(top, 9)}


def test_a_space_of_which_nothing_can_be_built_says_so(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    def configure(values: Mapping[str, Any]) -> RunSpec:
        raise UserError("mini.model.width: expected a multiple of num_heads (4), got 3")

    search = open_search(space_of(), store, storage, configure=configure)
    with pytest.raises(UserError, match=r"cannot be built; the last: .*num_heads"):
        search.next(one)


def test_a_pruned_configuration_whose_last_run_is_finished_all_the_same_is_complete(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    space = space_of(folds=[1], warmup_cells=100, sampler="random", startup_trials=0, trials=2)
    search = open_search(space, store, storage)
    FakeTune(store, lambda run: 0.9).drive(search, most=1)
    while len(search.configurations) < 2:
        search.next(one)
    poor = search.configurations[1]
    [run] = poor.runs
    report = report_of(run, 0.1)
    assert search.epochs(run, report.curve) == [run]
    assert poor.state is ConfigurationState.PRUNED
    write_report(store, report)
    search.ended(run, RunEnd(kind=End.DONE))
    assert (poor.state, poor.reason) == (ConfigurationState.COMPLETE, "")
    assert poor.means["dev_ua"] == pytest.approx(0.1)
    told = [t.state for t in search.study.get_trials() if t.user_attrs["configuration"] == 2]
    assert told == [optuna.trial.TrialState.COMPLETE]


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "grid"])
@pytest.mark.parametrize("most", [1, 7, 14])
def test_a_killed_search_proposes_what_it_would_have_proposed(
    sampler: str, most: int, tmp_path: Path
) -> None:
    places = {name: Store(tmp_path / name) for name in ("whole", "killed")}
    storages = {name: optuna.storages.InMemoryStorage() for name in places}

    def open_again(name: str) -> CrossValidationSearch:
        space = space_of(sampler=sampler, folds=[1, 2], pruner="none")
        return open_search(space, places[name], storages[name])

    whole, search = open_again("whole"), open_again("killed")
    FakeTune(places["whole"], quality).drive(whole)
    tune = FakeTune(places["killed"], quality)
    tune.drive(search, most=most)
    dying = search.study.ask()
    dying.suggest_int("model.text_encoder_layers", 1, 3)  # killed while Optuna proposes
    search = open_again("killed")
    tune.drive(search)
    assert [c.values for c in search.configurations] == [c.values for c in whole.configurations]
    assert [c.means for c in search.configurations] == [c.means for c in whole.configurations]


def test_cma_es_with_several_objectives_says_that_it_needs_one(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    space = space_of(objectives=["dev_ua", "num_parameters"], pruner="none", sampler="cmaes")
    with pytest.raises(UserError, match=r"mini\.search\.sampler: expected tpe, random or grid"):
        open_search(space, store, storage)


def test_a_cma_es_search_runs_nothing_of_its_database(store: Store, tmp_path: Path) -> None:
    ran, path = tmp_path / "ran", tmp_path / "optuna.db"
    space = space_of(sampler="cmaes", sampler_seed=1, pruner="none", folds=[1])

    def open_again() -> CrossValidationSearch:
        return open_search(space, store, optuna.storages.RDBStorage(f"sqlite:///{path}"))

    FakeTune(store, quality).drive(open_again(), most=3)
    content = json.dumps(pickle.dumps(Planted(ran)).hex())
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        for key in ("cma:optimizer:0", "sepcma:optimizer:0", "cmawm:optimizer:0"):
            database.execute(
                "insert into trial_system_attributes (trial_id, key, value_json) "
                "select trial_id, ?, ? from trials",
                (key, content),
            )
    search = open_again()
    FakeTune(store, quality).drive(search)
    assert len(search.configurations) == 8
    assert not ran.exists()


def test_a_configuration_that_reads_no_seed_has_one_cell_a_fold(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    space = replace(space_of(seeds=[7, 8], folds=[2, 4], trials=1), parameters=())

    def configure(values: Mapping[str, Any]) -> RunSpec:
        return RunSpec(corpus="c", model=ClassicalSpec(text="tfidf"))

    search = open_search(space, store, storage, configure=configure)
    tune = FakeTune(store, lambda run: 0.5)
    tune.drive(search)
    [configuration] = search.configurations
    assert configuration.state is ConfigurationState.COMPLETE
    assert [(run.fold, run.seed) for run in configuration.runs] == [(2, 1), (4, 1)]
    assert len(tune.trained) == 2
    [result] = search.results()
    assert (result.runs_done, result.runs_planned) == (2, 2)


def test_runs_that_the_store_has_lost_are_computed_again(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    space = space_of(sampler="random", pruner="none")
    whole, tune = open_search(space, store, storage), FakeTune(store, quality)
    tune.drive(whole)
    expected = [(c.number, c.means) for c in whole.best()]
    lost = whole.best()[0].runs[1].digest
    shutil.rmtree(store.run_dir(lost))
    search, tune = open_search(space, store, storage), FakeTune(store, quality)
    assert not search.exhausted
    tune.drive(search)
    assert tune.trained == [lost]
    assert [(c.number, c.means) for c in search.best()] == expected


def leave_checkpoints(store: Store, runs: Iterable[Run]) -> None:
    for run in runs:
        write_bytes(store.checkpoint(run.digest), b"state")


def checkpoints(store: Store) -> set[str]:
    return {path.stem for path in (store.root / "checkpoints").iterdir()}


def test_no_checkpoint_is_left_of_a_configuration_that_has_ended(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    search = open_search(
        space_of(), store, storage, on_proposal=lambda c: leave_checkpoints(store, c.runs)
    )
    FakeTune(store, quality).drive(search)
    states = {c.state for c in search.configurations}
    assert states == {ConfigurationState.PRUNED, ConfigurationState.COMPLETE}
    assert checkpoints(store) == set()


def test_a_search_that_goes_on_removes_checkpoints_of_what_has_ended_and_keeps_the_others(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    search = open_search(space_of(), store, storage)
    FakeTune(store, quality).drive(search, most=23)
    pruned = [c for c in search.configurations if c.state is ConfigurationState.PRUNED]
    running = [c for c in search.configurations if c.is_running]
    assert pruned
    assert running
    shared, *left = (r for c in pruned for r in c.runs if r.digest not in c.found)
    needed = [run for c in running for run in c.runs if run.digest not in c.found]
    leave_checkpoints(store, [shared, *left, *needed])
    record = RunRecord(digest=shared.digest, fold=shared.fold, seed=shared.seed)
    row = RowRecord(name="row", spec={"corpus": "c"}, runs=(record,))
    study = StudyRecord(study="s", title="", corpus="c", fingerprint="f", rows=(row,))
    write_record(store, store.study("s"), study)
    open_search(space_of(), store, storage)
    assert checkpoints(store) == {run.digest for run in (shared, *needed)}


def test_the_parameter_that_decides_the_score_is_the_important_one(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    def by_fusion_alone(run: Run) -> float:
        model: Any = run.spec.model
        return 0.7 - 0.1 * model.deep_fusion_layers

    search = open_search(space_of(pruner="none"), store, storage)
    assert search.importances() == {}
    FakeTune(store, by_fusion_alone).drive(search)
    found = search.importances()
    assert set(found) == {p.key for p in search.space.parameters}
    assert sum(found.values()) == pytest.approx(1)
    assert found["model.deep_fusion_layers"] > 0.95


def test_scores_that_are_all_the_same_make_no_parameter_important(
    store: Store, storage: optuna.storages.BaseStorage
) -> None:
    search = open_search(space_of(pruner="none"), store, storage)
    FakeTune(store, lambda run: 0.5).drive(search)
    assert search.importances() == {}
