"""What a worker process does with runs: trains them and says how they ended."""

from collections.abc import Mapping
from typing import Any

import ray

from mlt_ray.errors import RunFailed, RunStopped, StoreFull, StoreUnreachable, UserError
from mlt_ray.planning.source import End, Pack, RunEnd
from mlt_ray.scheduling.job import Job, RunEnds, full
from mlt_ray.scheduling.messages import Messages
from mlt_ray.scheduling.opening import end_of, ends_of, is_stopping
from mlt_ray.spec import Run
from mlt_ray.storage.lease import Lease, LentLease
from mlt_ray.storage.store import Store
from mlt_ray.training.from_store import train_from_store
from mlt_ray.training.group import ALONE, Group


def train_runs(
    job: Job,
    runs: Pack,
    store: Store,
    messages: Messages,
    group: Group = ALONE,
    leases: Mapping[Run, Lease | LentLease] | None = None,
) -> RunEnds:
    """Train runs of a job in this process, one of the `group`, into the job's `store`.

    A run stops after its epoch where the job's board says so, or where its lease, if it is among
    `leases`, was lost to another driver; without a lease it is not written either. Raises
    `StoreFull` if the group has several processes: the others wait for this one and must be ended.
    """
    board, held = ray.get_actor(job.board), leases or {}

    def is_lost(run: Run) -> bool:
        return run in held and held[run].lost

    def check(run: Run) -> None:
        if run in held and not held[run].is_kept():
            raise RunStopped("another driver has its lease")

    try:
        results = train_from_store(
            runs,
            store,
            on_epoch=messages.add,
            tell=messages.tell,
            stop=lambda run: is_lost(run) or is_stopping(board, run),
            group=group,
            uses_cuda_graphs=job.resources.cuda_graphs is not False,
            recomputes=job.resources.gradient_checkpointing,
            checkpoint_interval_s=job.resources.checkpoint_interval_s,
            check=check,
        )
    except StoreFull as error:
        if group.size > 1:
            raise
        return full(runs, error)
    except UserError as error:
        return ends_of(job, runs, error)

    def end(run: Run, result: Any) -> RunEnd:
        if isinstance(result, RunStopped):
            return RunEnd(kind=End.ELSEWHERE if is_lost(run) else End.STOPPED)
        if isinstance(result, StoreUnreachable):
            return end_of(job, run, result)
        if isinstance(result, RunFailed):
            return RunEnd(kind=End.FAILED, reason=str(result))
        return RunEnd(kind=End.DONE)

    return {run.digest: end(run, result) for run, result in zip(runs, results, strict=True)}
