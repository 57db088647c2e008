"""A pack as a Tune trial: trained by a worker that has the store and nothing else."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray import tune

from mlt_ray.corpus.folds import Fold, make_folds
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import RunFailed, RunStopped, StoreFull, UserError
from mlt_ray.features.batching import FoldData
from mlt_ray.orchestration.jobs import End, Outcome, Pack
from mlt_ray.orchestration.resources import Resources
from mlt_ray.spec import FoldSpec, Run
from mlt_ray.storage.lease import Lease, acquire
from mlt_ray.storage.store import Epoch, Store
from mlt_ray.training.checkpoint import INTERVAL_S, Checkpoint
from mlt_ray.training.fit import fit
from mlt_ray.training.group import ALONE, Group
from mlt_ray.training.loop import FinishedRun
from mlt_ray.training.replay import cuda_graphs

REPORT_INTERVAL_S = 1.0
"""Least time between two messages to the driver: each costs the trial a round trip."""

Outcomes = dict[str, Outcome]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker is told: the runs, the store's location, who the driver is, its board.

    `name` is what people read of the runs.
    """

    name: str
    runs: Pack
    store: str
    owner: str
    board: str
    resources: Resources


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
            from mlt_ray.orchestration.workers import spread

            outcomes |= spread(job, mine)
        elif mine:
            torch.set_num_threads(max(1, int(job.resources.cpus_per_run)))
            outcomes |= compute(job, mine, messages, is_lost=is_lost)
        messages.send(outcomes=outcomes)


def full(runs: Pack, error: StoreFull) -> Outcomes:
    """How runs end that the store has no room for."""
    return {run.digest: Outcome(end=End.FULL, reason=str(error)) for run in runs}


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


def compute(
    job: Job,
    runs: Pack,
    messages: "Messages",
    group: Group = ALONE,
    is_lost: Callable[[Run], bool] = lambda run: False,
) -> Outcomes:
    """Train runs in this process (one of `group`) and write what they leave.

    A run stops after its epoch where the board says so, or where its lease `is_lost`. Raises
    `StoreFull` in one process of a group: the others, who wait for it, must be ended.
    """
    store, board = Store(job.store), ray.get_actor(job.board)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recorded = job.resources.cuda_graphs and device.type == "cuda"
    try:
        results = fit(
            runs,
            [fold_data(run, job.store) for run in runs],
            device=device,
            checkpoints=[checkpoint(store, run, job.resources) for run in runs],
            on_epoch=messages.add,
            stop=lambda run: is_lost(run) or ray.get(board.is_stopping.remote(run.digest)),
            group=group,
            record=cuda_graphs() if recorded else None,
        )
        return {
            run.digest: write(store, result, group)
            for run, result in zip(runs, results, strict=True)
        }
    except StoreFull as error:
        if group.size > 1:
            raise
        return full(runs, error)
    except UserError as error:
        return {run.digest: Outcome(end=End.FAILED, reason=str(error)) for run in runs}


def checkpoint(store: Store, run: Run, resources: Resources) -> Checkpoint:
    """The run's checkpoint, as the last worker left it."""
    path, interval_s = store.checkpoint(run.digest), resources.checkpoint_interval_s
    store.pull(path, fresh=True)
    return Checkpoint(path, INTERVAL_S if interval_s is None else interval_s, written=store.push)


def write(store: Store, result: FinishedRun | RunFailed | RunStopped, group: Group) -> Outcome:
    """Put a finished run into the store, and say how it ended."""
    if isinstance(result, RunStopped):
        return Outcome(end=End.STOPPED)
    if isinstance(result, RunFailed):
        return Outcome(end=End.FAILED, reason=str(result))
    if group.leads:
        store.write_run(
            result.report, result.predictions, result.weights, result.inputs, result.weights_file
        )
    return Outcome(end=End.DONE)


class Messages:
    """Collects epochs and passes them on to the driver, not too often."""

    def __init__(
        self, report: Callable[[dict[str, Any]], None], interval_s: float = REPORT_INTERVAL_S
    ) -> None:
        self._report = report
        self._interval_s = interval_s
        self._waiting: dict[str, list[Epoch]] = {}
        self._sent = time.monotonic()

    def add(self, run: Run, epoch: Epoch) -> None:
        """One epoch of the run has ended."""
        self._waiting.setdefault(run.digest, []).append(epoch)
        if time.monotonic() - self._sent >= self._interval_s:
            self.send()

    def send(self, **more: Mapping[str, Any]) -> None:
        """Send what has been collected."""
        self._report({"epochs": self._waiting, **more})
        self._waiting, self._sent = {}, time.monotonic()


def fold_data(run: Run, location: str) -> FoldData:
    """The run's fold, from the store's corpus table, feature cache and encoders."""
    corpus, folds = _folds(run.spec.corpus, run.spec.folds, location)
    return FoldData.of_run(run, corpus, folds[run.fold - 1], Store(location))


@functools.lru_cache(maxsize=4)
def _folds(fingerprint: str, spec: FoldSpec, location: str) -> tuple[Corpus, Sequence[Fold]]:
    # A worker computes many runs of one corpus: it reads the table once.
    store = Store(location)
    corpus = Corpus.from_dict(store.read_json(store.corpus(fingerprint)))
    return corpus, make_folds(corpus, spec)
