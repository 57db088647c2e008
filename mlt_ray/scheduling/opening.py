"""Opens a job's store in a worker, whose driver says to people when the store does not answer."""

import os
from typing import Any

import ray

from mlt_ray.errors import StoreSilent, UserError
from mlt_ray.planning.source import End, Pack, RunEnd
from mlt_ray.scheduling.board import Place
from mlt_ray.scheduling.job import Job, RunEnds
from mlt_ray.spec import Run
from mlt_ray.storage.outage import outage_of
from mlt_ray.storage.store import Store


def open_store(job: Job) -> Store:
    """The driver's store. In an outage this worker waits, unless all runs of the job shall stop.

    A job without runs waits in any case.
    """
    board = ray.get_actor(job.board)
    place: Place = ray.get(board.place.remote())
    os.environ.update(place.environment)
    outage = outage_of(place.location)
    worker = ray.get_runtime_context().get_worker_id()

    def tell(is_silent: bool, line: str) -> None:
        board.hear.remote(worker, is_silent, line)

    outage.tell = tell
    outage.goes_on = lambda: not job.runs or not all(is_stopping(board, r) for r in job.runs)
    return Store(place.location, patient=True)


def ends_of(job: Job, runs: Pack, error: UserError) -> RunEnds:
    """The ends of runs that cannot be read from the store, or written to it."""
    return {run.digest: end_of(job, run, error) for run in runs}


def end_of(job: Job, run: Run, error: UserError) -> RunEnd:
    """The end of such a run: it stops where its wait for the store ended since it shall stop."""
    if isinstance(error, StoreSilent) and is_stopping(ray.get_actor(job.board), run):
        return RunEnd(kind=End.STOPPED)
    return RunEnd(kind=End.FAILED, reason=str(error))


def is_stopping(board: Any, run: Run) -> bool:
    """Whether the board says that the run shall stop."""
    return bool(ray.get(board.is_stopping.remote(run.digest)))
