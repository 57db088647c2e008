"""What Ray sets aside, held against what Ray itself accepts."""

import math

import pytest
from ray._common.ray_option_utils import validate_actor_options

from mlt_ray.errors import UserError
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.xu.values import XuSpec
from mlt_ray.planning import resources as here
from mlt_ray.planning.resources import Node, Resources, check_fits, cpus_here
from mlt_ray.spec import RunSpec


def ray_accepts(gpus: float) -> bool:
    try:
        validate_actor_options({"num_gpus": gpus}, in_options=False)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("gpus", [0, 0.0, 0.25, 1, 1.0, 2, 3.0])
@pytest.mark.parametrize("name", ["gpus_per_run", "gpus_per_worker"])
def test_shares_of_a_gpu_and_whole_gpus_are_accepted(name: str, gpus: float) -> None:
    assert getattr(Resources(**{name: gpus}), name) == gpus
    assert ray_accepts(gpus)


@pytest.mark.parametrize("gpus", [-1, -0.5, float("inf"), float("nan"), 1.5, 2.25])
@pytest.mark.parametrize("name", ["gpus_per_run", "gpus_per_worker"])
def test_other_numbers_of_gpus_are_refused(name: str, gpus: float) -> None:
    with pytest.raises(
        ValueError, match=f"{name}: expected a number from 0 to 1, or whole up to 1024, got"
    ):
        Resources(**{name: gpus})


@pytest.mark.parametrize("name", ["cpus_per_run", "cpus_per_worker"])
@pytest.mark.parametrize("cpus", [0, -1.0, float("nan")])
def test_a_run_needs_some_of_a_cpu(name: str, cpus: float) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected a number above 0 and at most [0-9]+"):
        Resources(**{name: cpus})


@pytest.mark.parametrize("name", ["concurrency", "workers", "pack"])
def test_counts_start_at_one(name: str) -> None:
    assert getattr(Resources(**{name: 1}), name) == 1
    with pytest.raises(ValueError, match=f"{name}: expected a number from 1 to [0-9]+, got 0"):
        Resources(**{name: 0})


def test_checkpoints_may_be_written_after_every_epoch_but_not_sooner() -> None:
    assert Resources(checkpoint_interval_s=0).checkpoint_interval_s == 0
    with pytest.raises(
        ValueError, match="checkpoint_interval_s: expected a number from 0 to 1000000"
    ):
        Resources(checkpoint_interval_s=-1)


@pytest.mark.parametrize(
    ("asked", "slots"),
    [
        ({}, 5),
        ({"cpus_per_run": 2}, 2),
        ({"cpus_per_run": 0.5}, 10),
        ({"gpus_per_run": 0.25}, 4),
        ({"concurrency": 3}, 3),
        ({"concurrency": 30}, 5),
        ({"workers": 2}, 2),
        ({"workers": 2, "gpus_per_worker": 0.5}, 1),
        ({"workers": 3, "cpus_per_worker": 1}, 1),
    ],
)
def test_runs_fit_where_one_node_has_all_that_one_asks_for(asked: dict, slots: int) -> None:
    nodes = [Node(cpus=2, gpus=0), Node(cpus=3, gpus=1)]
    if asked.get("gpus_per_run"):
        nodes[1] = Node(cpus=math.inf, gpus=1)
    assert check_fits(Resources(**asked), nodes) == slots


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"cpus_per_run": 4}, r"expected 4 CPU for a run, found 2 CPU and 0 GPU, 3 CPU and 1 GPU"),
        ({"gpus_per_run": 2}, r"expected 1 CPU, 2 GPU for a run"),
        ({"workers": 6}, r"expected 6 times 1 CPU for a run"),
    ],
)
def test_what_fits_nowhere_is_refused_with_what_there_is(asked: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_fits(Resources(**asked), [Node(cpus=2, gpus=0), Node(cpus=3, gpus=1)])


def test_cuda_graphs_need_a_gpu() -> None:
    asked = Resources(cuda_graphs=True)
    assert check_fits(asked, [Node(cpus=2, gpus=0), Node(cpus=3, gpus=1)]) == 5
    with pytest.raises(UserError, match="expected a GPU for --cuda-graphs, found none"):
        check_fits(asked, [Node(cpus=2, gpus=0)])


@pytest.mark.parametrize("asked", [None, False])
def test_no_gpu_is_needed_where_cuda_graphs_were_not_asked_for(asked: bool | None) -> None:
    assert check_fits(Resources(cuda_graphs=asked), [Node(cpus=2, gpus=0)]) == 2


@pytest.mark.parametrize(
    ("resources", "most"),
    [
        (Resources(), 1),
        (Resources(gpus_per_run=1), 15),
        (Resources(gpus_per_run=0.5), 15),
        (Resources(gpus_per_run=1, pack=4), 4),
        (Resources(gpus_per_run=1, pack=1), 1),
        (Resources(pack=3), 3),
        (Resources(workers=2, gpus_per_worker=1), 1),
    ],
)
def test_packs_are_for_gpus_and_for_who_asks(resources: Resources, most: int) -> None:
    packing, alone = (RunSpec(corpus="c", model=m) for m in (MultilevelSpec(), XuSpec()))
    assert resources.max_pack_size == most
    assert resources.pack_size(packing) == most
    assert resources.pack_size(alone) == 1


def test_a_run_is_spread_or_packed() -> None:
    with pytest.raises(ValueError, match="pack: expected 1 where workers is above 1"):
        Resources(workers=2, pack=3)
    assert Resources(workers=2, pack=1).max_pack_size == 1


def test_rays_own_variables_say_how_many_cpus_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("RAY_OVERRIDE_RESOURCES", "RAY_USE_MULTIPROCESSING_CPU_COUNT")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(here, "usable_cpus", lambda: 4)
    monkeypatch.setattr(here, "installed_cpus", lambda: 64)
    assert cpus_here() == 4
    monkeypatch.setenv(names[1], "1")
    assert cpus_here() == 64
    monkeypatch.setenv(names[0], '{"GPU": 1}')
    assert cpus_here() == 64
    monkeypatch.setenv(names[0], '{"CPU": 7}')
    assert cpus_here() == 7
    for wrong in ("7", "{"):
        monkeypatch.setenv(names[0], wrong)
        with pytest.raises(UserError, match="RAY_OVERRIDE_RESOURCES: expected a mapping in JSON"):
            cpus_here()
