"""A store without room: no run fails over it, and nothing more is given out."""

import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.train import WorkerGroupError
from ray.train.v2._internal.util import UserExceptionWithTraceback
from ray.tune.search import Searcher

from mlt_ray.errors import StoreFull
from mlt_ray.planning.resources import Resources
from mlt_ray.planning.source import End, Queue, RunEnd
from mlt_ray.scheduling import ray_train, worker
from mlt_ray.scheduling.job import Job
from mlt_ray.scheduling.messages import Messages
from mlt_ray.scheduling.tune import TuneCallbacks, TuneSearcher
from mlt_ray.spec import ModelSpec, Run, RunSpec
from mlt_ray.storage.store import Store
from mlt_ray.tracking.tracker import reason_of
from mlt_ray.training import from_store
from mlt_ray.training.group import Group

FULL = "/store/x: no space left"
RUNS = tuple(
    Run(spec=RunSpec(corpus="c", model=ModelSpec(system="bert")), fold=fold, seed=1)
    for fold in (1, 2, 3)
)


class Calls:
    """Stands in for a board and for an observer: notes what it is told."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.names.append(name)


def test_the_first_run_without_room_stops_the_others_and_gives_out_no_more(tmp_path: Path) -> None:
    source, board, observer = Queue(RUNS), Calls(), Calls()
    feed = TuneSearcher(source, Store(tmp_path), lambda pack: pack, lambda spec: 1, until=None)
    events = TuneCallbacks(feed, board, [observer])  # type: ignore[arg-type]
    for trial_id in ("1", "2"):
        assert feed.suggest(trial_id) is not Searcher.FINISHED
    for trial_id, run in zip(("1", "2"), RUNS, strict=False):
        ends = {run.digest: RunEnd(kind=End.FULL, reason=f"{FULL} {trial_id}")}
        ended = SimpleNamespace(trial_id=trial_id, last_result={"ends": ends})
        events.on_trial_complete(0, [], ended)
        events.on_step_end(0, [])
    assert feed.suggest("3") == Searcher.FINISHED
    assert feed.full == f"{FULL} 1"
    assert observer.names == ["stopped", "stopped"]
    assert board.names.count("stop_all") == 1


def job(folder: Path) -> Job:
    return Job(
        name="n", runs=RUNS[:1], store=str(folder), owner="o", board="b", resources=Resources()
    )


def refuse(*_: object, **__: object) -> None:
    raise StoreFull(FULL)


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.ray, "get_actor", lambda name: None)
    monkeypatch.setattr(from_store, "fold_data", lambda run, store: None)
    monkeypatch.setattr(from_store, "fit_runs", refuse)


@pytest.mark.usefixtures("without_ray")
def test_a_worker_that_finds_no_room_says_so(tmp_path: Path) -> None:
    messages = Messages(lambda message: None)
    ends = worker.train_runs(job(tmp_path), RUNS[:1], Store(tmp_path), messages)
    assert ends == {RUNS[0].digest: RunEnd(kind=End.FULL, reason=FULL)}


@pytest.mark.usefixtures("without_ray")
def test_one_of_several_workers_raises_since_the_others_wait_for_it(tmp_path: Path) -> None:
    messages = Messages(lambda message: None)
    with pytest.raises(StoreFull):
        worker.train_runs(
            job(tmp_path), RUNS[:1], Store(tmp_path), messages, group=Group(rank=0, size=2)
        )


def test_what_ray_train_makes_of_that_is_still_a_full_store() -> None:
    raised = UserExceptionWithTraceback(StoreFull(FULL), "Traceback ...")
    error = WorkerGroupError("worker 0: ...", {0: raised})
    assert ray_train.failure(error) == RunEnd(kind=End.FULL, reason=FULL)


def test_other_errors_of_several_workers_fail_the_run() -> None:
    raised = UserExceptionWithTraceback(ValueError("odd"), "Traceback ...\nValueError: odd")
    error = WorkerGroupError(f"worker 0: {raised}", {0: raised})
    assert ray_train.failure(error) == RunEnd(kind=End.FAILED, reason="ValueError: odd")


def test_a_full_database_is_said_in_the_databases_own_words() -> None:
    error = RuntimeError("(raised as a result of Query-invoked autoflush)\n[SQL: ...]")
    error.__cause__ = sqlite3.OperationalError("database or disk is full")
    assert reason_of(error) == "database or disk is full"
    assert reason_of(ConnectionError("refused\nsince nobody is there")) == "refused"
