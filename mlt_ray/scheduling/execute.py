"""Trains what a source gives out, as trials of Ray Tune."""

import os
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from ray import tune

from mlt_ray.errors import StoreSilent
from mlt_ray.planning.observer import Observer
from mlt_ray.planning.plan import RunName
from mlt_ray.planning.resources import Resources, check_fits, share_of_trial
from mlt_ray.planning.source import Pack, Source
from mlt_ray.scheduling.board import BoardClient
from mlt_ray.scheduling.connection import cluster_nodes
from mlt_ray.scheduling.interruption import interruptible
from mlt_ray.scheduling.job import Job
from mlt_ray.scheduling.trial import trial
from mlt_ray.scheduling.tune import TuneCallbacks, TuneSearcher
from mlt_ray.storage.files import filling
from mlt_ray.storage.lease import use
from mlt_ray.storage.store import Store

CRASHES = 2
"""How often the worker of a pack may die before the pack's runs count as failed."""

AHEAD = 16
"""Most workers that start at once; starting one keeps a core busy for some seconds."""


def execute(
    source: Source,
    names: Mapping[str, RunName],
    store: Store,
    resources: Resources,
    observers: Sequence[Observer],
    timeout_s: float | None = None,
) -> bool:
    """Train what `source` gives out, on the cluster that this process is connected to.

    `names` are the runs' names by digest; `resources` are those that `connection` yielded.

    Returns True when the source is exhausted and each run has ended, False after `timeout_s`.
    Finished runs are in the store, and another call computes the rest. The first Ctrl-C (or
    SIGTERM) lets every run end its epoch and write a checkpoint, the second ends at once; both
    raise `KeyboardInterrupt`. An error of the source or of an observer, and `StoreFull` where the
    store has no room, is raised after the epochs under way.
    """
    share = share_of_trial(resources)
    nodes = cluster_nodes()
    slots = check_fits(resources, nodes)
    # A folder of this call alone: nothing in it outlives the call, since a later call asks the
    # store what is left and never restores a Tuner.
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}"
    board = BoardClient(name, names, store.location)

    def job_of(pack: Pack) -> Job:
        return Job(
            name=_name_of(names, pack),
            runs=pack,
            owner=name,
            board=name,
            resources=resources,
        )

    until = None if timeout_s is None else time.monotonic() + timeout_s
    searcher = TuneSearcher(source, store, job_of, resources.pack_size, until)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(max(1, min(slots, AHEAD)))
    scratch = store.root / "ray"
    tuner = tune.Tuner(
        tune.with_resources(trial, share),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=-1,
            max_concurrent_trials=slots if resources.workers > 1 else resources.concurrency,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_folder,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(scratch),
            callbacks=[TuneCallbacks(searcher, board, names, observers)],
            failure_config=tune.FailureConfig(max_failures=CRASHES),
            verbose=0,
        ),
    )
    try:
        with interruptible(searcher) as interruption, filling(scratch), use(scratch / name, name):
            tuner.fit()
    except BaseException as error:
        # What ended Tune may only follow from it, as a Ctrl-C of who does not wait for the rest.
        reason = searcher.error or error
        if interruption.is_asked and isinstance(reason, StoreSilent):
            raise KeyboardInterrupt from None
        if searcher.error:
            raise searcher.error from error
        raise
    finally:
        shutil.rmtree(scratch / name, ignore_errors=True)
    if searcher.error:
        raise searcher.error
    if interruption.is_asked:
        raise KeyboardInterrupt
    return not searcher.is_stopping


def _name_of(names: Mapping[str, RunName], pack: Pack) -> str:
    more = f" and {len(pack) - 1} more" if len(pack) > 1 else ""
    return f"{names[pack[0].digest]}{more}"


# Tune pickles these two with every trial: they must be plain functions, not closures.


def _trial_name(tune_trial: Any) -> str:
    return str(tune_trial.config["job"].name)


def _trial_folder(tune_trial: Any) -> str:
    return str(tune_trial.trial_id)
