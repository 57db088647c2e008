"""The protocol between a source of runs and a scheduler: packs, and how a run ends."""

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
"""Most runs of a specification that a pack holds."""


class End(StrEnum):
    """How a worker's try at a run ended."""

    DONE = "done"  # its report stands in the store
    FAILED = "failed"  # it left no report
    STOPPED = "stopped"  # it was asked to; its checkpoint is kept
    ELSEWHERE = "elsewhere"  # another driver trains it
    FULL = "full"  # the store has no room; an earlier checkpoint is kept


@dataclass(frozen=True, kw_only=True)
class RunEnd:
    """The end of a worker's try at a run, and why."""

    kind: End
    reason: str = ""


class Source(Protocol):
    """Gives out runs, and decides whether one shall stop."""

    def next(self, max_size: PackSize) -> Pack | None:
        """Runs to train now, at most `max_size(spec)` of one specification; None for none now."""

    @property
    def exhausted(self) -> bool:
        """True if no run will come any more, however those under way end."""

    def epochs(self, run: Run, epochs: Sequence[Epoch]) -> Sequence[Run]:
        """Epochs have ended; returns runs that shall stop."""

    def ended(self, run: Run, end: RunEnd) -> Sequence[Run]:
        """A run has ended; returns runs that shall stop."""


class Queue:
    """A source of known runs; gives out one specification after the other."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs: dict[RunSpec, deque[Run]] = {}
        for run in runs:
            self._runs.setdefault(run.spec, deque()).append(run)

    def next(self, max_size: PackSize) -> Pack | None:
        """The first runs that were not given out yet."""
        if not self._runs:
            return None
        spec, waiting = next(iter(self._runs.items()))
        pack = tuple(waiting.popleft() for _ in range(min(max_size(spec), len(waiting))))
        if not waiting:
            del self._runs[spec]
        return pack

    @property
    def exhausted(self) -> bool:
        """True if all have been given out."""
        return not self._runs

    def epochs(self, run: Run, epochs: Sequence[Epoch]) -> Sequence[Run]:
        """Nothing stops."""
        return ()

    def ended(self, run: Run, end: RunEnd) -> Sequence[Run]:
        """Nothing stops."""
        return ()
