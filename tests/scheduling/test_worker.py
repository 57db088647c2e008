"""What a worker says of a store without room."""

from pathlib import Path

import pytest

from mlt_ray.errors import StoreFull
from mlt_ray.planning.resources import Resources
from mlt_ray.planning.source import End, RunEnd
from mlt_ray.scheduling import worker
from mlt_ray.scheduling.job import Job
from mlt_ray.scheduling.messages import Messages
from mlt_ray.spec import ModelSpec, Run, RunSpec
from mlt_ray.storage.store import Store
from mlt_ray.training import from_store
from mlt_ray.training.group import Group

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
