"""A pack as a Tune trial: trained by a worker that has the store and nothing else."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import ray
from ray import tune

from mlt_ray.errors import StoreFull
from mlt_ray.planning.source import End, Outcome, Pack
from mlt_ray.scheduling.job import Job, Outcomes, full
from mlt_ray.scheduling.messages import Messages
from mlt_ray.spec import Run
from mlt_ray.storage.lease import Lease, acquire
from mlt_ray.storage.store import Store


def trial(config: dict[str, Any]) -> None:
    """Train the runs of ``config["job"]`` and write them to the store that the job names.

    Tells Tune the ``epochs`` by digest as they come, and in the end the ``outcomes``.
    """
    job: Job = config["job"]
    messages = Messages(tune.report)
    with ExitStack() as leases:
        try:
            outcomes, mine, is_lost = claim(job, leases)
        except StoreFull as error:
            outcomes, mine = full(job.runs, error), ()
        if mine and job.resources.workers > 1:
            from mlt_ray.scheduling.ray_train import spread

            outcomes |= spread(job, mine)
        elif mine:
            # Not at the top: the driver, who only names this function, does without torch.
            import torch

            from mlt_ray.scheduling.worker import compute

            torch.set_num_threads(max(1, int(job.resources.cpus_per_run)))
            outcomes |= compute(job, mine, messages, is_lost=is_lost)
        messages.send(outcomes=outcomes)


def claim(job: Job, leases: ExitStack) -> tuple[Outcomes, Pack, Callable[[Run], bool]]:
    """How the runs ended that are not to be trained here, and those that are, each leased.

    Also what tells whether the lease of a run was lost to another driver meanwhile.
    """
    store, board = Store(job.store), ray.get_actor(job.board)
    outcomes: Outcomes = {}
    mine: dict[Run, Lease] = {}
    for run in job.runs:
        if ray.get(board.is_stopping.remote(run.digest)):
            # Tune starts a trial ahead of the one that ends.
            outcomes[run.digest] = Outcome(end=End.STOPPED)
            continue
        if store.is_done(run.digest):
            outcomes[run.digest] = Outcome(end=End.DONE)
            continue
        lease = acquire(store, run.digest, job.owner)
        if lease is None:
            outcomes[run.digest] = Outcome(end=End.ELSEWHERE)
            continue
        leases.enter_context(lease)
        # Asked again under the lease: its last holder may just have finished the run.
        if store.is_done(run.digest):
            outcomes[run.digest] = Outcome(end=End.DONE)
        else:
            mine[run] = lease
    return outcomes, tuple(mine), lambda run: mine[run].lost
