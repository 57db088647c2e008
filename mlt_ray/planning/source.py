"""What is trained together, how it ended, and where the next one comes from."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from mlt_ray.spec import Run, RunSpec
from mlt_ray.storage.report import Epoch

Pack = tuple[Run, ...]
"""Runs of one RunSpec that one worker trains side by side; most packs hold one run."""

PackSize = Callable[[RunSpec], int]
"""How many runs of a specification a pack holds at most."""


class End(StrEnum):
    """How a worker's try at a run ended."""

    DONE = "done"  # its report stands in the store
    FAILED = "failed"  # it left no report
    STOPPED = "stopped"  # asked to; a checkpoint holds it
    ELSEWHERE = "elsewhere"  # another driver is at it
    FULL = "full"  # the store has no room; a checkpoint holds what was learnt before


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of a try, and why."""

    end: End
    reason: str = ""


class Source(Protocol):
    """Where runs come from, and who decides that one shall stop."""

    def next(self, most: PackSize) -> Pack | None:
        """Runs to train now, at most `most` of their specification; None for none at present."""

    @property
    def exhausted(self) -> bool:
        """Whether nothing will ever come any more, however the runs under way end."""

    def epochs(self, run: Run, epochs: Sequence[Epoch]) -> Sequence[Run]:
        """Epochs have ended; returns runs that shall stop."""

    def ended(self, run: Run, outcome: Outcome) -> Sequence[Run]:
        """A run has ended; returns runs that shall stop."""


class Queue:
    """A source of runs that are known from the start, one specification after the other."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs: dict[RunSpec, deque[Run]] = {}
        for run in runs:
            self._runs.setdefault(run.spec, deque()).append(run)

    def next(self, most: PackSize) -> Pack | None:
        """The first runs that were not given out yet."""
        if not self._runs:
            return None
        spec, waiting = next(iter(self._runs.items()))
        pack = tuple(waiting.popleft() for _ in range(min(most(spec), len(waiting))))
        if not waiting:
            del self._runs[spec]
        return pack

    @property
    def exhausted(self) -> bool:
        """Whether all have been given out."""
        return not self._runs

    def epochs(self, run: Run, epochs: Sequence[Epoch]) -> Sequence[Run]:
        """Nothing stops."""
        return ()

    def ended(self, run: Run, outcome: Outcome) -> Sequence[Run]:
        """Nothing stops."""
        return ()
