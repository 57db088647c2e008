"""One run on several workers of Ray Train, inside a Tune trial."""

from collections.abc import Mapping
from typing import Any

import torch
from ray import train
from ray.train import FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback

from mlt_ray.errors import StoreFull
from mlt_ray.planning.source import End, RunEnd
from mlt_ray.scheduling.job import Job, RunEnds
from mlt_ray.scheduling.messages import Messages
from mlt_ray.scheduling.opening import open_store
from mlt_ray.scheduling.worker import train_runs
from mlt_ray.spec import Run
from mlt_ray.storage.lease import Lease, LentLease
from mlt_ray.storage.store import Store
from mlt_ray.training.group import Group

RESTARTS = 2
"""How often a worker of a run may die before the run counts as failed."""


def train_with_ray_train(job: Job, leases: Mapping[Run, Lease], store: Store) -> RunEnds:
    """Train leased runs one after the other, each on ``job.resources.workers`` DDP workers."""
    ends: RunEnds = {}
    for run, lease in leases.items():
        resources = job.resources
        trainer = TorchTrainer(
            work,
            train_loop_config={"job": job, "run": run, "lease": lease.token},
            torch_config=TorchConfig(timeout_s=600),
            scaling_config=ScalingConfig(
                num_workers=resources.workers,
                use_gpu=bool(resources.gpus_per_worker),
                resources_per_worker={
                    "CPU": resources.cpus_per_worker,
                    "GPU": resources.gpus_per_worker or 0,
                },
            ),
            run_config=RunConfig(
                name=run.digest,
                storage_path=str(store.root / "ray" / job.owner),
                callbacks=[TuneReportCallback()],
                failure_config=FailureConfig(max_failures=RESTARTS),
            ),
        )
        try:
            ends |= trainer.fit().return_value or {}
        except WorkerGroupError as error:
            ends[run.digest] = failure(error)
        if run.digest not in ends:
            reason = "the workers ended without a word"
            ends[run.digest] = RunEnd(kind=End.FAILED, reason=reason)
    return ends


def failure(error: WorkerGroupError) -> RunEnd:
    """How a run ended whose workers have died or raised too often."""
    for raised in error.worker_failures.values():
        # Ray Train wraps what a worker raised, to keep its traceback.
        cause = getattr(raised, "_base_exc", raised)
        if isinstance(cause, StoreFull):
            return RunEnd(kind=End.FULL, reason=str(cause))
    return RunEnd(kind=End.FAILED, reason=str(error).strip().splitlines()[-1])


def work(config: dict[str, Any]) -> RunEnds:
    """What every worker does; the messages and the result of the first one reach the driver."""
    job: Job = config["job"]
    torch.set_num_threads(max(1, int(job.resources.cpus_per_worker)))
    # A report of Ray Train waits for those of all workers, so each reports after every epoch.
    messages = Messages(train.report, interval_s=0.0)
    run, store = config["run"], open_store(job)
    leases = {run: LentLease(store, run.digest, config["lease"])}
    return train_runs(job, (run,), store, messages, group=Group.joined(), leases=leases)
