"""The protocol of whoever is told of runs while they are computed, and a thread to tell one in."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

from mlt_ray.spec import Run
from mlt_ray.storage.report import Epoch


class Observer(Protocol):
    """Hears of runs while they are computed. Displays, MLflow and the board are observers."""

    def started(self, run: Run) -> None:
        """A worker begins the run, or begins it again after a crash."""

    def epochs(self, run: Run, epochs: Sequence[Epoch]) -> None:
        """Epochs have ended."""

    def finished(self, run: Run) -> None:
        """The run's report stands in the store."""

    def failed(self, run: Run, reason: str) -> None:
        """The run left no report."""

    def stopped(self, run: Run) -> None:
        """The run was stopped between two epochs."""


Told = TypeVar("Told", bound=Observer)


class InBackground(Generic[Told]):
    """An `Observer` that passes everything on to another one, in order, in a thread of its own.

    Writing to MLflow takes a sizeable part of a second for each run, and importing it takes as long
    as Ray takes to start; so the other observer is made (`make`) and told in the thread. If it
    raises, its error is raised at the next event, or at the end of the block. The end of the block
    waits until everything is passed on; a Ctrl-C meanwhile drops the rest, and does not wait for
    what is being passed on.
    """

    def __init__(self, make: Callable[[], Told]) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._observer = self._thread.submit(make)
        self._told: deque[Future[None]] = deque()

    @property
    def observer(self) -> Told:
        """The other observer; waits until it is made."""
        return self._observer.result()

    def __enter__(self) -> "InBackground[Told]":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            self._thread.shutdown()
        except KeyboardInterrupt:
            self._thread.shutdown(wait=False, cancel_futures=True)
            raise
        if kind is None:
            self._observer.result()
            self._raise_errors()

    def started(self, run: Run) -> None:
        """Passed on."""
        self._tell(lambda observer: observer.started(run))

    def epochs(self, run: Run, epochs: Sequence[Epoch]) -> None:
        """Passed on."""
        self._tell(lambda observer: observer.epochs(run, epochs))

    def finished(self, run: Run) -> None:
        """Passed on."""
        self._tell(lambda observer: observer.finished(run))

    def failed(self, run: Run, reason: str) -> None:
        """Passed on."""
        self._tell(lambda observer: observer.failed(run, reason))

    def stopped(self, run: Run) -> None:
        """Passed on."""
        self._tell(lambda observer: observer.stopped(run))

    def _tell(self, event: Callable[[Observer], None]) -> None:
        self._raise_errors()
        # What makes the observer was submitted first: its result is there.
        self._told.append(self._thread.submit(lambda: event(self._observer.result())))

    def _raise_errors(self) -> None:
        while self._told and self._told[0].done():
            self._told.popleft().result()
