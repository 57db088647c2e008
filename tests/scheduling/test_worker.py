"""What a worker says of a store without room or that does not answer, and of a lost lease."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlt_ray.errors import StoreFull, StoreSilent
from mlt_ray.planning.resources import Resources
from mlt_ray.planning.source import End, Pack, RunEnd
from mlt_ray.scheduling import opening, worker
from mlt_ray.scheduling.job import Job
from mlt_ray.scheduling.messages import Messages
from mlt_ray.spec import ModelSpec, Run, RunSpec
from mlt_ray.storage import outage
from mlt_ray.storage.lease import LentLease, acquire
from mlt_ray.storage.mirror import CACHE_VARIABLE
from mlt_ray.storage.remote import Remote
from mlt_ray.storage.store import Store
from mlt_ray.training import from_store
from mlt_ray.training.checkpoint import Checkpoint
from mlt_ray.training.finish import FinishedRun
from mlt_ray.training.group import Group
from tests.stored import PREDICTIONS, report_of

FULL = "/store/x: no space left"
RUN = Run(spec=RunSpec(corpus="c", model=ModelSpec(system="bert")), fold=1, seed=1)


def job() -> Job:
    return Job(name="n", runs=(RUN,), owner="o", board="b", resources=Resources())


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
    ends = worker.train_runs(job(), (RUN,), Store(tmp_path), messages)
    assert ends == {RUN.digest: RunEnd(kind=End.FULL, reason=FULL)}


@pytest.mark.usefixtures("without_ray")
def test_one_of_several_workers_raises_since_the_others_wait_for_it(tmp_path: Path) -> None:
    messages = Messages(lambda message: None)
    with pytest.raises(StoreFull):
        worker.train_runs(job(), (RUN,), Store(tmp_path), messages, group=Group(rank=0, size=2))


@pytest.mark.usefixtures("without_ray")
@pytest.mark.parametrize(("asked", "uses"), [(None, True), (True, True), (False, False)])
def test_a_gpu_records_steps_unless_it_is_told_not_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool | None, uses: bool
) -> None:
    given: list[bool] = []

    def training(*_: object, uses_cuda_graphs: bool, **__: object) -> list[FinishedRun]:
        given.append(uses_cuda_graphs)
        return []

    monkeypatch.setattr(worker, "train_from_store", training)
    told = replace(job(), resources=Resources(cuda_graphs=asked))
    worker.train_runs(told, (), Store(tmp_path), Messages(lambda message: None))
    assert given == [uses]


class Kept:
    """A lease that is kept or lost."""

    def __init__(self, is_kept: bool) -> None:
        self.lost = not is_kept
        self.is_kept = lambda: is_kept


def trained(runs: Pack, *_: object, **__: object) -> list[FinishedRun]:
    """What training gives: results of the runs."""
    return [
        FinishedRun(
            report=report_of(run, 0.5), predictions=PREDICTIONS, weights=b"weights", inputs={}
        )
        for run in runs
    ]


@pytest.fixture
def trains(without_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs are trained; the board asks none to stop."""
    monkeypatch.setattr(from_store, "fit_runs", trained)
    monkeypatch.setattr(opening, "is_stopping", lambda board, run: False)


PACK = (RUN, Run(spec=RUN.spec, fold=2, seed=1))


@pytest.mark.usefixtures("trains")
def test_a_run_whose_lease_was_lost_is_not_written_and_is_left_to_the_other_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "mirror"))
    store = Store(f"local://{tmp_path}/there")
    leases = {run: Kept(is_kept) for run, is_kept in zip(PACK, (False, True), strict=True)}
    ends = worker.train_runs(job(), PACK, store, Messages(lambda message: None), leases=leases)  # type: ignore[arg-type]
    assert [end.kind for end in ends.values()] == [End.ELSEWHERE, End.DONE]
    assert store.finished(ends) == {PACK[1].digest}


@pytest.mark.usefixtures("trains")
@pytest.mark.parametrize("stops", [False, True])
def test_runs_that_cannot_be_uploaded_are_complete_in_the_mirror_and_are_uploaded_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "mirror"))
    monkeypatch.setattr(opening, "is_stopping", lambda board, run: stops)
    store = Store(f"local://{tmp_path}/there")
    assert store.mirror is not None
    monkeypatch.setattr(outage, "LONGEST_S", 0.0)

    def silent(*_: object) -> None:
        raise StoreSilent("gone")

    with monkeypatch.context() as patch:

        def trained_in_an_outage(*values: Any, **more: Any) -> list[FinishedRun]:
            for request in ("file", "write", "files"):
                patch.setattr(Remote, request, silent)
            return trained(*values, **more)

        patch.setattr(from_store, "fit_runs", trained_in_an_outage)
        ends = worker.train_runs(job(), PACK, store, Messages(lambda message: None))
    kind = End.STOPPED if stops else End.FAILED
    assert [end.kind for end in ends.values()] == [kind, kind]
    assert not list((tmp_path / "there").rglob("report.json"))
    assert store.finished(ends) == {run.digest for run in PACK}
    assert len(list((tmp_path / "there").rglob("report.json"))) == 2


@pytest.mark.usefixtures("trains")
@pytest.mark.parametrize("is_remote", [False, True])
def test_a_worker_of_several_whose_lease_was_taken_over_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_remote: bool
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "mirror"))
    store = Store(f"local://{tmp_path}/there" if is_remote else tmp_path / "there")
    checkpoints: list[Checkpoint] = []

    def trained_while_another_began(runs: Pack, *_: object, **more: Any) -> list[FinishedRun]:
        checkpoints.extend(more["checkpoints"])
        assert all(checkpoint.is_mine() for checkpoint in checkpoints)
        assert acquire(store, RUN.digest, "o", interval_s=1000.0)
        return trained(runs)

    monkeypatch.setattr(from_store, "fit_runs", trained_while_another_began)
    lease = acquire(store, RUN.digest, "o", interval_s=1000.0)
    assert lease is not None
    leases = {RUN: LentLease(store, RUN.digest, lease.token)}
    messages = Messages(lambda message: None)
    ends = worker.train_runs(job(), (RUN,), store, messages, leases=leases)
    assert [end.kind for end in ends.values()] == [End.ELSEWHERE]
    assert store.finished(ends) == set()
    assert [checkpoint.is_mine() for checkpoint in checkpoints] == [False]
    assert not list((tmp_path / "there").rglob("weights.safetensors"))
