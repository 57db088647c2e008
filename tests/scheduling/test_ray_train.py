"""How a run ends that several workers share, when one of them raises."""

from ray.train import WorkerGroupError
from ray.train.v2._internal.util import UserExceptionWithTraceback

from mlt_ray.errors import StoreFull
from mlt_ray.planning.source import End, RunEnd
from mlt_ray.scheduling.ray_train import failure

FULL = "/store/x: no space left"


def test_a_full_store_that_ray_train_has_wrapped_is_still_a_full_store() -> None:
    raised = UserExceptionWithTraceback(StoreFull(FULL), "Traceback ...")
    error = WorkerGroupError("worker 0: ...", {0: raised})
    assert failure(error) == RunEnd(kind=End.FULL, reason=FULL)


def test_other_errors_of_several_workers_fail_the_run() -> None:
    raised = UserExceptionWithTraceback(ValueError("odd"), "Traceback ...\nValueError: odd")
    error = WorkerGroupError(f"worker 0: {raised}", {0: raised})
    assert failure(error) == RunEnd(kind=End.FAILED, reason="ValueError: odd")
