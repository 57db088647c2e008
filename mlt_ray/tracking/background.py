"""Tells MLflow of runs in a thread of its own: whoever trains them never waits for MLflow.

What is told waits in a queue that has an end. A run waits there once, whatever is told of it: its
epochs are put together, and where it is finished its report has them. The thread takes all that
waits at once, which is written together. Order is kept for each run, and a row's end comes after
its runs.
"""

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from mlt_ray.spec import Run
from mlt_ray.storage.record import RowRecord
from mlt_ray.storage.report import Epoch

if TYPE_CHECKING:
    from mlt_ray.tracking.tracker import Tracker

MOST_WAITING = 5000
"""Runs that wait at most. Of further ones the finished are written at the end, from the store."""

PATIENCE_S = 10.0
"""Seconds to go on writing after an error or a Ctrl-C."""


class _End(StrEnum):
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(kw_only=True)
class _Waiting:
    """What is to be told of a run."""

    run: Run
    epochs: list[Epoch] = field(default_factory=list)
    end: _End | None = None
    reason: str = ""


@dataclass(kw_only=True)
class _Queue:
    """What waits to be told, and what had no room."""

    rows: list[tuple[str, RowRecord]] = field(default_factory=list)
    runs: list[_Waiting] = field(default_factory=list)
    open_runs: dict[str, _Waiting] = field(default_factory=dict)
    ends: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not (self.rows or self.runs or self.ends)


class InBackground:
    """An `Observer` that passes everything on to a `Tracker` in a thread of its own.

    The tracker is made there too (`make`), since importing MLflow takes as long as Ray takes to
    start. If it raises, its error is raised at the next event, or at the end of the block.

    The end of the block waits until everything is written. If the block raises, it waits for
    `PATIENCE_S` at most, and a Ctrl-C meanwhile ends the waiting at once. Then nothing more is
    sent, and a line says how many runs MLflow lacks and how to write them.
    """

    def __init__(self, make: "Callable[[], Tracker]", patience_s: float = PATIENCE_S) -> None:
        self._make = make
        self._patience_s = patience_s
        self._tracker: Tracker | None = None
        self._error: BaseException | None = None
        self._queue = _Queue()
        self._num_finished = self._num_written = 0
        self._is_behind, self._num_lost = False, 0
        self._is_ending = self._is_left = self._is_over = False
        self._changed = threading.Condition()
        # A daemon: what is under way when the process ends is not waited for.
        self._thread = threading.Thread(target=self._work, daemon=True, name="mlflow")
        self._thread.start()

    @property
    def tracker(self) -> "Tracker":
        """The tracker; waits until it is made."""
        with self._changed:
            self._changed.wait_for(lambda: self._tracker or self._error)
        self._raise_error()
        assert self._tracker is not None
        return self._tracker

    def __enter__(self) -> "InBackground":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            self._wait(None if kind is None else self._patience_s)
        finally:
            self._leave()
        if kind is None:
            self._raise_error()

    def _wait(self, timeout_s: float | None) -> None:
        """Wait until everything is written."""
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_over, timeout_s)

    def _leave(self) -> None:
        """Send nothing more, and say what is missing."""
        with self._changed:
            self._is_left = True
            tracker, is_over = self._tracker, self._is_over
            missing = self._num_finished - self._num_written
            self._changed.notify_all()
        if tracker is not None:
            if not is_over:
                tracker.leave()
            if missing and not tracker.broken and self._error is None:
                runs = "1 finished run is" if missing == 1 else f"{missing} finished runs are"
                print(
                    f"MLflow at {tracker.place}: {runs} not recorded yet; record them with "
                    f"{tracker.sync_command}",
                    file=sys.stderr,
                )
            if self._num_lost and not tracker.broken:
                print(
                    f"MLflow at {tracker.place} was too slow: it lacks the curves of "
                    f"{self._num_lost} runs that were stopped or failed",
                    file=sys.stderr,
                )

    def started(self, run: Run) -> None:
        """Nothing to write before the first epoch."""
        self._raise_error()

    def epochs(self, run: Run, epochs: Sequence[Epoch]) -> None:
        """Passed on."""
        self._tell(run, epochs=epochs)

    def finished(self, run: Run) -> None:
        """Passed on."""
        self._tell(run, end=_End.FINISHED)

    def failed(self, run: Run, reason: str) -> None:
        """Passed on."""
        self._tell(run, end=_End.FAILED, reason=reason)

    def stopped(self, run: Run) -> None:
        """Passed on."""
        self._tell(run, end=_End.STOPPED)

    def add(self, study: str, row: RowRecord) -> None:
        """Passed on, before anything of the row's runs."""
        with self._changed:
            self._queue.rows.append((study, row))
            self._changed.notify_all()

    def note(self, study: str, name: str, tags: Mapping[str, str]) -> None:
        """Passed on, after the row's runs that have ended."""
        self._raise_error()
        with self._changed:
            self._queue.ends.setdefault((study, name), {}).update(tags)
            self._changed.notify_all()

    def _tell(
        self, run: Run, *, epochs: Sequence[Epoch] = (), end: _End | None = None, reason: str = ""
    ) -> None:
        self._raise_error()
        with self._changed:
            self._num_finished += end is _End.FINISHED
            waiting = self._queue.open_runs.get(run.digest)
            if waiting is None:
                if len(self._queue.runs) >= MOST_WAITING:
                    # The store has the report of a finished one: the last sync writes it.
                    self._is_behind = True
                    self._num_lost += end in (_End.FAILED, _End.STOPPED)
                    return
                waiting = self._queue.open_runs[run.digest] = _Waiting(run=run)
                self._queue.runs.append(waiting)
            waiting.epochs += epochs
            if end is not None:
                waiting.end, waiting.reason = end, reason
                # Another worker may begin it again.
                del self._queue.open_runs[run.digest]
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            tracker = self._make()
            with self._changed:
                self._tracker = tracker
                if self._is_left:
                    tracker.leave()
                self._changed.notify_all()
            while (queue := self._next()) is not None:
                self._pass_on(tracker, queue)
            if self._is_behind and not self._is_left:
                tracker.sync()
                self._num_written = self._num_finished
        except BaseException as error:
            with self._changed:
                self._error = error
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _next(self) -> _Queue | None:
        """All that waits; None at the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_left or self._is_ending or not self._queue.is_empty
            )
            if self._is_left or self._queue.is_empty:
                return None
            queue, self._queue = self._queue, _Queue()
            return queue

    def _pass_on(self, tracker: "Tracker", queue: _Queue) -> None:
        for study, row in queue.rows:
            tracker.add(study, row)
        finished = [one.run for one in queue.runs if one.end is _End.FINISHED]
        for one in queue.runs:
            if one.end is _End.FINISHED:
                continue
            if one.epochs:
                tracker.epochs(one.run, one.epochs)
            if one.end is _End.FAILED:
                tracker.failed(one.run, one.reason)
            elif one.end is _End.STOPPED:
                tracker.stopped(one.run)
        tracker.finished_runs(finished)
        with self._changed:
            if not self._is_left:
                self._num_written += len(finished)
        for (study, name), tags in queue.ends.items():
            tracker.note(study, name, tags)

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error
