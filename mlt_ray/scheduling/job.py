"""What a worker is told to train, and how it says that runs have ended."""

from dataclasses import dataclass

from mlt_ray.errors import StoreFull
from mlt_ray.planning.resources import Resources
from mlt_ray.planning.source import End, Outcome, Pack


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker is told: the runs, the store's location, who the driver is, its board.

    `name` is what people read of the runs.
    """

    name: str
    runs: Pack
    store: str
    owner: str
    board: str
    resources: Resources


Outcomes = dict[str, Outcome]
"""How runs ended, by digest."""


def full(runs: Pack, error: StoreFull) -> Outcomes:
    """How runs end that the store has no room for."""
    return {run.digest: Outcome(end=End.FULL, reason=str(error)) for run in runs}
