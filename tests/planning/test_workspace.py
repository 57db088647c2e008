"""Where a command finds what it needs, and which of it is looked at before it starts."""

from pathlib import Path

import pytest

from mlt_ray.errors import UserError
from mlt_ray.planning import workspace
from mlt_ray.planning.resources import Resources
from mlt_ray.planning.workspace import Places, Workspace
from mlt_ray.spec import TrainingSpec
from mlt_ray.storage.store import Store


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(corpus=tmp_path / "none", store=Store(tmp_path / "store"))


def with_gpus(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(workspace, "gpus_here", lambda: number)


def replaced(places: Places, **values: object) -> Places:
    return Places(corpus=places.corpus, store=places.store, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("number", "each"), [(0, 0.0), (1, 1.0), (4, 1.0)])
def test_open_gpus_are_those_of_this_machine_one_a_run(
    places: Places, monkeypatch: pytest.MonkeyPatch, number: int, each: float
) -> None:
    with_gpus(monkeypatch, number)
    assert places.resources_here().gpus_per_run == each


def test_what_was_asked_for_and_what_a_cluster_has_stay_as_they_are(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch, 4)
    asked = replaced(places, resources=Resources(gpus_per_run=0.5))
    assert asked.resources_here() == asked.resources
    assert replaced(places, address="auto").resources_here() == Resources()
    monkeypatch.setenv("RAY_ADDRESS", "somewhere:6379")
    assert not places.is_local
    assert places.resources_here() == Resources()


def test_tf32_needs_a_gpu_of_this_machine_alone(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings = [TrainingSpec(), TrainingSpec(precision="tf32")]
    with_gpus(monkeypatch, 0)
    with pytest.raises(UserError, match="expected a GPU for tf32, found none"):
        places.check_precision(trainings)
    places.check_precision(trainings[:1])
    replaced(places, address="auto").check_precision(trainings)
    with_gpus(monkeypatch, 1)
    places.check_precision(trainings)


def test_a_corpus_that_is_not_there_cannot_be_opened(places: Places) -> None:
    with pytest.raises(UserError, match="no such folder"):
        Workspace.open(places)
