"""Trains runs from a store alone, as a worker does that sees nothing else."""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mlt_ray.corpus.folds import Fold, make_folds
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import RunFailed, RunStopped, StoreSilent, StoreUnreachable, UserError
from mlt_ray.features.batching import FoldData
from mlt_ray.libraries import check_installed
from mlt_ray.machine import device_of
from mlt_ray.models.faults import explained
from mlt_ray.spec import FoldSpec, Run
from mlt_ray.storage.outage import LAST_PAUSE_S
from mlt_ray.storage.report import Epoch
from mlt_ray.storage.store import Store
from mlt_ray.training.checkpoint import INTERVAL_S, Checkpoint
from mlt_ray.training.finish import FinishedRun
from mlt_ray.training.fit import fit_runs
from mlt_ray.training.group import ALONE, Group
from mlt_ray.training.packs.replay import cuda_graphs


def train_from_store(
    runs: Sequence[Run],
    store: Store,
    *,
    on_epoch: Callable[[Run, Epoch], None],
    tell: Callable[[Run, str], None],
    stop: Callable[[Run], bool],
    group: Group = ALONE,
    uses_cuda_graphs: bool = True,
    recomputes: bool = False,
    checkpoint_interval_s: float | None = None,
    check: Callable[[Run], None] = lambda run: None,
) -> Sequence[FinishedRun | RunFailed | RunStopped | StoreUnreachable]:
    """Train runs whose features the store has, on a GPU if there is one, and store what they leave.

    The arguments are those of `mlt_ray.training.loop.train`. `tell` is called with a line for
    people about a run that starts anew. `checkpoint_interval_s` (None: the default of
    `mlt_ray.training.checkpoint`) lies between two checkpoints of a run. `check` is that of
    `Store.write_run`. The results keep the order of `runs`. Where a run that was trained cannot be
    written, the reason is in its place: a `StoreUnreachable`, or the `RunStopped` of `check`.
    Raises `UserError`, such as `StoreFull`, if this machine has other versions of what trains than
    those that the runs were planned with, and for an error in the file of a model of one's own.
    """
    for libraries in {run.spec.training.libraries for run in runs}:
        check_installed(libraries)
    device = device_of()
    records = uses_cuda_graphs and device.type == "cuda"
    with explained(runs[0].spec.model.source):
        fitted = fit_runs(
            runs,
            [fold_data(run, store) for run in runs],
            device=device,
            checkpoints=[
                _checkpoint(run, store, checkpoint_interval_s, group, tell, check) for run in runs
            ],
            on_epoch=on_epoch,
            stop=stop,
            group=group,
            recorder=cuda_graphs() if records else None,
            recomputes=recomputes,
        )
    if not group.leads:
        return fitted
    results: list[FinishedRun | RunFailed | RunStopped | StoreUnreachable] = []
    for run, result in zip(runs, fitted, strict=True):
        if isinstance(result, FinishedRun):
            try:
                store.write_run(
                    result.report,
                    result.predictions,
                    result.weights,
                    result.inputs,
                    result.weights_file,
                    check=functools.partial(check, run),
                )
            except RunStopped as stopped:
                results.append(stopped)
                continue
            except StoreUnreachable as error:
                results.append(error)
                store = store.at_once()  # the other runs' files are kept here without a wait
                continue
        results.append(result)
    return results


def fold_data(run: Run, store: Store) -> FoldData:
    """The run's fold, from the store's corpus, feature cache and encoders."""
    spec = run.spec
    corpus, folds = _folds(spec.corpus, spec.classes, spec.folds, store.location)
    return FoldData.of_run(run, corpus, folds[run.fold - 1], store)


@functools.lru_cache(maxsize=4)
def _folds(
    fingerprint: str, classes: tuple[str, ...], spec: FoldSpec, location: str
) -> tuple[Corpus, Sequence[Fold]]:
    # A worker trains many runs on one corpus: it reads the corpus once.
    store = Store(location)
    values = store.read_json(store.corpus(fingerprint))
    if values is None:
        raise UserError(
            f"{store}: expected the corpus {fingerprint}, found none (was the store emptied?); "
            "ask again"
        )
    corpus = dataclasses.replace(Corpus.from_dict(values), classes=classes)
    return corpus, make_folds(corpus, spec)


def _checkpoint(
    run: Run,
    store: Store,
    interval_s: float | None,
    group: Group,
    tell: Callable[[Run, str], None],
    check: Callable[[Run], None],
) -> Checkpoint:
    """The run's checkpoint, as the last worker left it.

    In an outage training goes on, and a later checkpoint is uploaded. So this machine may have a
    newer one than the store; but all processes of a `group` must take the same.
    """
    path, now, try_again_s = store.checkpoint(run.digest), store.at_once(), 0.0
    store.pull(path, keep_newer=group.size == 1)

    def upload(path: Path) -> None:
        nonlocal try_again_s
        if time.monotonic() >= try_again_s:
            try:
                now.push(path)
            except StoreSilent:  # which takes some seconds to find out
                try_again_s = time.monotonic() + LAST_PAUSE_S

    def is_mine() -> bool:
        try:
            check(run)
        except RunStopped:
            return False
        except StoreSilent:
            return True  # in an outage nobody else can begin the run
        return True

    return Checkpoint(
        path,
        INTERVAL_S if interval_s is None else interval_s,
        written=upload,
        told=lambda line: tell(run, line),
        is_mine=is_mine,
    )
