"""How a run ends whose Ray Train workers have failed."""

from ray.train import WorkerGroupError
from ray.train.v2._internal.util import UserExceptionWithTraceback

from mlt_ray.errors import StoreFull
from mlt_ray.planning.source import End, RunEnd
from mlt_ray.scheduling import ray_train

FULL = "/store/x: no space left"


def test_what_ray_train_makes_of_that_is_still_a_full_store() -> None:
    raised = UserExceptionWithTraceback(StoreFull(FULL), "Traceback ...")
    error = WorkerGroupError("worker 0: ...", {0: raised})
    assert ray_train.failure(error) == RunEnd(kind=End.FULL, reason=FULL)


def test_other_errors_of_several_workers_fail_the_run() -> None:
    raised = UserExceptionWithTraceback(ValueError("odd"), "Traceback ...\nValueError: odd")
    error = WorkerGroupError(f"worker 0: {raised}", {0: raised})
    assert ray_train.failure(error) == RunEnd(kind=End.FAILED, reason="ValueError: odd")
