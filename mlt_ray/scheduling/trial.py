"""A pack as a Tune trial: trained by a worker that sees the store and nothing else."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import ray
from ray import tune

from mlt_ray.errors import StoreFull, UserError
from mlt_ray.planning.source import End, RunEnd
from mlt_ray.scheduling.job import Job, RunEnds, full
from mlt_ray.scheduling.messages import Messages
from mlt_ray.scheduling.opening import ends_of, is_stopping, open_store
from mlt_ray.spec import Run
from mlt_ray.storage.lease import Lease, acquire
from mlt_ray.storage.store import Store


def trial(config: dict[str, Any]) -> None:
    """Train the runs of ``config["job"]`` and write them to the job's store.

    Reports to Tune: ``epochs`` by digest while runs are trained, and ``ends`` by digest at last.
    """
    job: Job = config["job"]
    messages = Messages(tune.report)
    with ExitStack() as leases:
        try:
            store = open_store(job)
            ends, mine = claim(job, store, leases)
        except StoreFull as error:
            ends, mine = full(job.runs, error), {}
        except UserError as error:
            ends, mine = ends_of(job, job.runs, error), {}
        if mine and job.resources.workers > 1:
            from mlt_ray.scheduling.ray_train import train_with_ray_train

            ends |= train_with_ray_train(job, mine, store)
        elif mine:
            # Not at the top: the driver, which only names this function, does without torch.
            import torch

            from mlt_ray.scheduling.worker import train_runs

            torch.set_num_threads(max(1, int(job.resources.cpus_per_run)))
            ends |= train_runs(job, tuple(mine), store, messages, leases=mine)
        messages.send(ends=ends)


def claim(job: Job, store: Store, leases: ExitStack) -> tuple[RunEnds, Mapping[Run, Lease]]:
    """Take a lease on each run that is to be trained here.

    Returns how the other runs ended, and the leases by run.
    """
    board = ray.get_actor(job.board)
    ends: RunEnds = {}
    mine: dict[Run, Lease] = {}
    for run in job.runs:
        if is_stopping(board, run):
            # Tune starts a trial ahead of the one that ends.
            ends[run.digest] = RunEnd(kind=End.STOPPED)
            continue
        if store.is_done(run.digest):
            ends[run.digest] = RunEnd(kind=End.DONE)
            continue
        lease = acquire(store, run.digest, job.owner)
        if lease is None:
            ends[run.digest] = RunEnd(kind=End.ELSEWHERE)
            continue
        leases.enter_context(lease)
        # Asked again under the lease: its last holder may just have finished the run.
        if store.is_done(run.digest):
            ends[run.digest] = RunEnd(kind=End.DONE)
        else:
            mine[run] = lease
    return ends, mine
