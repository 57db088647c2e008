"""What Ray sets aside, held against what Ray itself accepts."""

import pytest
from ray._common.ray_option_utils import validate_actor_options

from mlt_ray.orchestration.resources import Resources


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
    with pytest.raises(ValueError, match=f"{name}: expected a number from 0 to 1, or whole, got"):
        Resources(**{name: gpus})


@pytest.mark.parametrize("name", ["cpus_per_run", "cpus_per_worker"])
@pytest.mark.parametrize("cpus", [0, -1.0, float("nan")])
def test_a_run_needs_some_of_a_cpu(name: str, cpus: float) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected a number above 0"):
        Resources(**{name: cpus})


@pytest.mark.parametrize("name", ["concurrency", "workers", "pack"])
def test_counts_start_at_one(name: str) -> None:
    assert getattr(Resources(**{name: 1}), name) == 1
    with pytest.raises(ValueError, match=f"{name}: expected a number at least 1, got 0"):
        Resources(**{name: 0})


def test_checkpoints_may_be_written_after_every_epoch_but_not_sooner() -> None:
    assert Resources(checkpoint_interval_s=0).checkpoint_interval_s == 0
    with pytest.raises(ValueError, match="checkpoint_interval_s: expected a number at least 0"):
        Resources(checkpoint_interval_s=-1)
