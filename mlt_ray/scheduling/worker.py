"""What a worker computes: runs trained from the store alone, and what they leave written there."""

import functools
from collections.abc import Callable, Sequence

import ray
import torch

from mlt_ray.corpus.folds import Fold, make_folds
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import RunFailed, RunStopped, StoreFull, UserError
from mlt_ray.features.batching import FoldData
from mlt_ray.planning.resources import Resources
from mlt_ray.planning.source import End, Outcome, Pack
from mlt_ray.scheduling.job import Job, Outcomes, full
from mlt_ray.scheduling.messages import Messages
from mlt_ray.spec import FoldSpec, Run
from mlt_ray.storage.store import Store
from mlt_ray.training.checkpoint import INTERVAL_S, Checkpoint
from mlt_ray.training.finish import FinishedRun
from mlt_ray.training.fit import fit_runs
from mlt_ray.training.group import ALONE, Group
from mlt_ray.training.packs.replay import cuda_graphs


def compute(
    job: Job,
    runs: Pack,
    messages: Messages,
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
        results = fit_runs(
            runs,
            [fold_data(run, job.store) for run in runs],
            device=device,
            checkpoints=[checkpoint(store, run, job.resources) for run in runs],
            on_epoch=messages.add,
            stop=lambda run: is_lost(run) or ray.get(board.is_stopping.remote(run.digest)),
            group=group,
            recorder=cuda_graphs() if recorded else None,
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
