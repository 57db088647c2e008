"""Places: what is known of this machine, and of a cluster, before Ray is there."""

from pathlib import Path
from typing import Any

import pytest

from mlt_ray.errors import UserError
from mlt_ray.planning import workspace
from mlt_ray.planning.resources import Resources
from mlt_ray.planning.workspace import Places
from mlt_ray.spec import TrainingSpec
from mlt_ray.storage.store import Store

TF32 = [TrainingSpec(), TrainingSpec(precision="tf32")]


@pytest.fixture(autouse=True)
def no_ray_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def places(**more: Any) -> Places:
    return Places(corpus=Path("unused"), store=Store("unused"), **more)


def with_gpus(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(workspace, "gpus_here", lambda: number)


def test_this_machine_computes_unless_a_cluster_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert places().is_local
    assert not places(address="auto").is_local
    monkeypatch.setenv("RAY_ADDRESS", "somewhere:6379")
    assert not places().is_local


@pytest.mark.parametrize(("num_gpus", "found"), [(0, 0.0), (3, 1.0)])
def test_gpus_that_are_left_open_are_those_of_this_machine(
    num_gpus: int, found: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch, num_gpus)
    assert places().resources_here().gpus_per_run == found
    assert places(resources=Resources(gpus_per_run=0.5)).resources_here().gpus_per_run == 0.5
    assert places(address="auto").resources_here().gpus_per_run is None


def test_tf32_needs_a_gpu_where_this_machine_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 0)
    with pytest.raises(UserError, match="tf32"):
        places().check_precision(TF32)
    places().check_precision(TF32[:1])
    places(address="auto").check_precision(TF32)
    with_gpus(monkeypatch, 1)
    places().check_precision(TF32)


def test_what_a_run_asks_for_is_checked_where_this_machine_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_gpus(monkeypatch, 1)
    places(resources=Resources(gpus_per_run=1)).check_machine()
    asked = Resources(gpus_per_run=2)
    with pytest.raises(UserError, match="expected 1 CPU, 2 GPU for a run"):
        places(resources=asked).check_machine()
    places(resources=asked, address="auto").check_machine()
