"""MLflow as a view of the store: experiment = study, parent run = row, child run = fold-seed.

A search is an experiment of its own, whose parent runs are configurations and whose children are
their runs; it shows dev scores alone, since whoever looks at a search decides by what it shows.

The driver alone writes. Every point carries the time at which it was measured, so that writing a
run again, after a crash or from another machine, adds nothing.
"""

import logging
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from mlt_ray.errors import UserError
from mlt_ray.spec import Run
from mlt_ray.storage.record import RowRecord, StudyRecord
from mlt_ray.storage.report import Epoch
from mlt_ray.storage.store import Store
from mlt_ray.tracking.experiment import Experiment
from mlt_ray.tracking.location import alone, default_uri, limit_waiting

FLUSH_INTERVAL_S = 5.0
"""Least seconds between two writes of a run's curve."""


class Tracker:
    """Writes studies and searches to MLflow; an `Observer` of runs.

    A server that does not answer never stops a run: the first error is printed, nothing more is
    sent, and `mlt-ray sync` writes later what is missing.
    """

    def __init__(self, store: Store, uri: str, records: Sequence[StudyRecord]) -> None:
        self.store = store
        self.uri = uri
        self.broken = ""
        self._experiments: list[Experiment] = []
        self._waiting: dict[str, list[Epoch]] = {}
        self._flushed: dict[str, float] = {}
        self._guard(lambda: self._open(records))

    def _open(self, records: Sequence[StudyRecord]) -> None:
        limit_waiting()
        import mlflow

        logging.getLogger("alembic").setLevel(logging.WARNING)
        # It shows the whole traceback of an error that `_guard` says in a line.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
        with alone(self.store) if self.uri == default_uri(self.store) else nullcontext():
            client = mlflow.MlflowClient(tracking_uri=self.uri)
            self._experiments = [
                Experiment(client, self.store, record, self.uri) for record in records
            ]

    def _guard(self, action: Callable[[], None]) -> None:
        if self.broken:
            return
        try:
            action()
        except UserError:
            raise  # the store's trouble, not the server's
        except Exception as error:  # whatever a server's absence looks like, results go on
            self.broken = reason_of(error)
            sync = f"mlt-ray sync --store {self.store}"
            if self.uri != default_uri(self.store):
                sync += f" --tracking-uri {self.uri}"
            print(
                f"MLflow at {self.uri} cannot be written: {self.broken}\n"
                f"results are complete in the store; record them later with {sync}",
                file=sys.stderr,
            )

    def started(self, run: Run) -> None:
        """Nothing to write before the first epoch."""

    def epochs(self, run: Run, epochs: Sequence[Epoch]) -> None:
        """Write the curve as it grows, every few seconds."""
        waiting = self._waiting.setdefault(run.digest, [])
        waiting += epochs
        first = self._flushed.setdefault(run.digest, time.monotonic())
        if time.monotonic() - first < FLUSH_INTERVAL_S:
            return
        self._flushed[run.digest] = time.monotonic()
        sent = list(waiting)
        waiting.clear()
        self._each(lambda e: e.write_curve(run.digest, sent))

    def finished(self, run: Run) -> None:
        """Write the finished run and its row's mean."""
        self._each(lambda e: e.write_run(run.digest))

    def failed(self, run: Run, reason: str) -> None:
        """Mark the run as failed."""
        self._each(lambda e: e.write_failure(run.digest, reason))

    def stopped(self, run: Run) -> None:
        """Write the epochs that were not written yet; the run will be resumed."""
        waiting = self._waiting.pop(run.digest, [])
        if waiting:
            self._each(lambda e: e.write_curve(run.digest, waiting))

    def add(self, study: str, row: RowRecord) -> None:
        """Add a row to a study: a new configuration of a search."""
        for experiment in self._experiments:
            if experiment.study == study:
                experiment.add(row)

    def note(self, study: str, name: str, tags: Mapping[str, str]) -> None:
        """Tag a row's parent run."""
        self._each(lambda e: e.tag(name, tags) if e.study == study else None)

    def sync(self) -> None:
        """Write every finished run that MLflow lacks."""
        self._each(lambda e: e.sync())

    def _each(self, action: Callable[[Experiment], Any]) -> None:
        """Do something with every experiment, if MLflow can be written."""

        def act() -> None:
            for experiment in self._experiments:
                action(experiment)

        self._guard(act)


def reason_of(error: BaseException) -> str:
    """What went wrong, in one line; for an error of a database, the database's own words."""
    said: BaseException | None = error
    while said is not None and not isinstance(said, sqlite3.Error):
        said = said.__cause__ or said.__context__
    said = said or error
    return (str(said).strip() or type(said).__name__).splitlines()[0][:200]
