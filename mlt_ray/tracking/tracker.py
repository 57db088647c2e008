"""Writes what the store has to MLflow: experiment = study, parent run = row, child run = run.

A search is an experiment too: its parent runs are configurations. It shows dev scores only, since
people choose configurations by what they see there.

Only the driver writes. Every point has the time at which it was measured, so that writing a run
again, after a crash or from another machine, adds nothing.
"""

import shlex
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlt_ray.errors import StoreUnreachable, UserError
from mlt_ray.masking import masked
from mlt_ray.spec import Run
from mlt_ray.storage.lease import alone
from mlt_ray.storage.record import RowRecord, StudyRecord
from mlt_ray.storage.report import Epoch
from mlt_ray.storage.store import Store
from mlt_ray.tracking.experiment import Experiment
from mlt_ray.tracking.faults import ExperimentUnusable, check_file, reason_of
from mlt_ray.tracking.location import (
    LEASE,
    LOCAL_UI,
    default_uri,
    follow_store,
    limit_waiting,
    quieten,
)
from mlt_ray.tracking.presentation import EXPERIMENTS_PAGE, runs_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLUSH_INTERVAL_S = 5.0
"""Seconds between two writes of a run's curve, at least, while the run is trained."""


class Left(Exception):
    """Nothing more is to be sent."""


class Gated:
    """MLflow's client until it is left: then every call raises `Left`."""

    def __init__(self, client: Any, is_left: threading.Event) -> None:
        self._client = client
        self._is_left = is_left

    def __getattr__(self, name: str) -> Any:
        if self._is_left.is_set():
            raise Left
        return getattr(self._client, name)


class Tracker:
    """Writes studies and searches to MLflow; an `Observer` of runs.

    A server that does not answer never stops a run: the first error is printed, nothing more is
    sent, and `mlt-ray sync` writes later what is missing. So it is with a store that has not
    answered for so long that it is not waited for any more.

    `unusable` has a line for each experiment that cannot be written though MLflow answers, such as
    one that a user has deleted; the others are written.
    """

    def __init__(self, store: Store, uri: str, records: Sequence[StudyRecord]) -> None:
        self.store = store
        self.uri = uri
        self.broken = ""
        self.unusable: list[str] = []
        self._is_left = threading.Event()
        self._experiments: list[Experiment] = []
        self._unsent: dict[str, list[Epoch]] = {}
        self._sent_at: dict[str, float] = {}
        self._guard(lambda: self._open(records))

    @property
    def place(self) -> str:
        """The server or database, for people."""
        return masked(self.uri)

    def leave(self) -> None:
        """Send nothing more, whatever another thread is about to write."""
        self._is_left.set()

    def _open(self, records: Sequence[StudyRecord]) -> None:
        limit_waiting()
        import mlflow

        quieten()
        check_file(self.uri)
        # Two drivers would break a database, or a server's list, as they create what it lacks.
        with alone(self.store, LEASE):
            if self.uri == default_uri(self.store):
                follow_store(self.store)
            client = Gated(mlflow.MlflowClient(tracking_uri=self.uri), self._is_left)
            for record in records:
                try:
                    self._experiments.append(Experiment(client, self.store, record, self.uri))
                except ExperimentUnusable as error:
                    self.unusable.append(error.explained(self.uri, self.sync_command))
                    print(self.unusable[-1], file=sys.stderr)

    def _guard(self, action: Callable[[], None]) -> None:
        """Call `action` unless MLflow has failed before; print its first error."""
        if self.broken:
            return
        try:
            action()
        except Left:
            return
        except Exception as error:  # a server may fail in any way; runs go on
            if isinstance(error, UserError) and not isinstance(error, StoreUnreachable):
                raise  # the store is at fault, not MLflow
            self.broken = reason_of(error)
            print(
                f"MLflow at {self.place} cannot be written: {self.broken}\n"
                f"results are complete in the store; record them later with {self.sync_command}",
                file=sys.stderr,
            )

    @property
    def sync_command(self) -> str:
        """The command that writes what is missing."""
        sync = f"mlt-ray sync --store {self.store}"
        if self.uri != default_uri(self.store):
            sync += f" --tracking-uri {self.place}"
        return sync

    def started(self, run: Run) -> None:
        """Nothing to write before the first epoch."""

    def epochs(self, run: Run, epochs: Sequence[Epoch]) -> None:
        """Write the curve as it grows, every few seconds."""
        unsent = self._unsent.setdefault(run.digest, [])
        unsent += epochs
        sent_at = self._sent_at.setdefault(run.digest, time.monotonic())
        if time.monotonic() - sent_at < FLUSH_INTERVAL_S:
            return
        self._sent_at[run.digest] = time.monotonic()
        sent = list(unsent)
        unsent.clear()
        self._for_each(lambda e: e.write_curve(run.digest, sent))

    def finished(self, run: Run) -> None:
        """Write the finished run and its row's mean."""
        self.finished_runs([run])

    def finished_runs(self, runs: Sequence[Run]) -> None:
        """Write finished runs and their rows' means, together: that takes less time."""
        for run in runs:
            self._unsent.pop(run.digest, None)
            self._sent_at.pop(run.digest, None)
        digests = [run.digest for run in runs]
        self._for_each(lambda e: e.write_runs(digests))

    def failed(self, run: Run, reason: str) -> None:
        """Write the epochs that were not written yet, and mark the run as failed."""
        self.stopped(run)
        self._for_each(lambda e: e.write_failure(run.digest, reason))

    def stopped(self, run: Run) -> None:
        """Write the epochs that were not written yet."""
        unsent = self._unsent.pop(run.digest, [])
        self._sent_at.pop(run.digest, None)
        if unsent:
            self._for_each(lambda e: e.write_curve(run.digest, unsent))

    def add(self, study: str, row: RowRecord) -> None:
        """Add a row to a study, such as a new configuration to a search."""
        for experiment in self._experiments:
            if experiment.study == study:
                experiment.add(row)

    def note(self, study: str, name: str, tags: Mapping[str, str]) -> None:
        """Tag the parent run of a row that has ended."""
        self._for_each(lambda e: e.tag(name, tags) if e.study == study else None)

    def page(self, study: str, page: Path, picture: "Figure | None" = None) -> None:
        """Write a study's report page, and its figure of all rows."""
        self._for_each(lambda e: e.write_page(page, picture) if e.study == study else None)

    def address(self) -> str:
        """Where to see what was written: a command if there is no server, and a page."""
        ids = [experiment.experiment for experiment in self._experiments]
        page = runs_page(ids[0]) if len(ids) == 1 else EXPERIMENTS_PAGE
        if self.uri.startswith("http"):
            return f"{self.place.rstrip('/')}/{page}"
        command = f"mlflow ui --backend-store-uri {shlex.quote(self.place)}"
        return f"{command}, then open {LOCAL_UI}/{page}"

    def sync(self) -> None:
        """Write every finished run that MLflow lacks."""
        self._for_each(lambda e: e.sync())

    def _for_each(self, action: Callable[[Experiment], Any]) -> None:
        def act() -> None:
            for experiment in self._experiments:
                action(experiment)

        self._guard(act)
