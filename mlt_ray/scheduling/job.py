"""What a worker is told to train, and how it says that runs have ended."""

from dataclasses import dataclass

from mlt_ray.errors import StoreFull
from mlt_ray.planning.resources import Resources
from mlt_ray.planning.source import End, Pack, RunEnd

RunEnds = dict[str, RunEnd]
"""How runs ended, by digest."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """Runs for one worker, and what it must know to train them.

    `name` is what people read of the runs. `owner` names the driver, and holds the leases. `board`
    is the name of the driver's `RunBoard`. Tune writes all of it to files that anyone may read, so
    it holds no URI: the board knows where the store is.
    """

    name: str
    runs: Pack
    owner: str
    board: str
    resources: Resources


def full(runs: Pack, error: StoreFull) -> RunEnds:
    """The ends of runs that the store has no room for."""
    return {run.digest: RunEnd(kind=End.FULL, reason=str(error)) for run in runs}
