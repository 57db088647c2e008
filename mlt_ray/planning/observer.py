"""The protocol of whoever is told of runs while they are computed."""

from collections.abc import Sequence
from typing import Protocol

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
