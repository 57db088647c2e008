"""A configuration of a search: proposed values, the runs that judge it, and how far it has come."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mlt_ray.search.evidence import VALUE, Evidence
from mlt_ray.spec import Run, RunSpec
from mlt_ray.studies.space import Objective, describe

if TYPE_CHECKING:
    import optuna


class ConfigurationState(StrEnum):
    """How far a configuration has come."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(kw_only=True)
class Configuration:
    """A proposal and the runs that judge it. `trials` are the trials of Optuna that proposed it.

    `found` is the evidence of finished runs, by digest; `todo` and `under_way` are the runs that
    wait and those that are trained. `compared` counts the runs whose mean the pruner has seen.
    """

    number: int
    values: Mapping[str, Any]
    spec: RunSpec
    runs: tuple[Run, ...]
    trials: "list[optuna.Trial]" = field(default_factory=list)
    found: dict[str, Evidence] = field(default_factory=dict)
    todo: list[Run] = field(default_factory=list)
    under_way: set[str] = field(default_factory=set)
    compared: int = 0
    state: ConfigurationState = ConfigurationState.RUNNING
    reason: str = ""

    @property
    def is_running(self) -> bool:
        """True while runs are to come and nothing has ended the configuration."""
        return self.state is ConfigurationState.RUNNING

    @property
    def name(self) -> str:
        """Its number and values in a line."""
        return f"{self.number}: {describe(self.values)}"

    @property
    def scores(self) -> list[Evidence]:
        """Evidence of the first runs, up to the first that is missing."""
        found = [self.found.get(run.digest) for run in self.runs]
        return [e for e in found[: found.index(None) if None in found else None] if e is not None]

    @property
    def means(self) -> dict[Objective, float]:
        """Mean of every objective over the finished runs; empty if there is none."""
        if not self.found:
            return {}
        return {o: statistics.fmean(map(value, self.found.values())) for o, value in VALUE.items()}
