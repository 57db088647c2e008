"""What a worker process does with runs: trains them and says how they ended."""

from collections.abc import Callable
from typing import Any

import ray

from mlt_ray.errors import RunFailed, RunStopped, StoreFull, UserError
from mlt_ray.planning.source import End, Pack, RunEnd
from mlt_ray.scheduling.job import Job, RunEnds, full
from mlt_ray.scheduling.messages import Messages
from mlt_ray.spec import Run
from mlt_ray.storage.store import Store
from mlt_ray.training.from_store import train_from_store
from mlt_ray.training.group import ALONE, Group


def train_runs(
    job: Job,
    runs: Pack,
    store: Store,
    messages: Messages,
    group: Group = ALONE,
    is_lost: Callable[[Run], bool] = lambda run: False,
) -> RunEnds:
    """Train runs of a job in this process, one of the `group`, into the job's `store`.

    A run stops after its epoch where the job's board says so, or where its lease `is_lost`. Raises
    `StoreFull` if the group has several processes: the others wait for this one and must be ended.
    """
    board = ray.get_actor(job.board)
    try:
        results = train_from_store(
            runs,
            store,
            on_epoch=messages.add,
            tell=messages.tell,
            stop=lambda run: is_lost(run) or ray.get(board.is_stopping.remote(run.digest)),
            group=group,
            uses_cuda_graphs=job.resources.cuda_graphs,
            checkpoint_interval_s=job.resources.checkpoint_interval_s,
        )
    except StoreFull as error:
        if group.size > 1:
            raise
        return full(runs, error)
    except UserError as error:
        return {run.digest: RunEnd(kind=End.FAILED, reason=str(error)) for run in runs}
    return {run.digest: _end(result) for run, result in zip(runs, results, strict=True)}


def _end(result: Any) -> RunEnd:
    if isinstance(result, RunStopped):
        return RunEnd(kind=End.STOPPED)
    if isinstance(result, RunFailed):
        return RunEnd(kind=End.FAILED, reason=str(result))
    return RunEnd(kind=End.DONE)
