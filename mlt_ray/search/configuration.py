"""A configuration of a search: its values, its runs and their results so far."""

import itertools
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
    """Proposed values and the runs that judge them, one per (fold, seed).

    `trials` are the Optuna trials that proposed these values and have not been told a result yet;
    Optuna may propose the same values twice. `found` is the evidence of finished runs, by digest.
    `todo` are the runs that wait, `under_way` the digests of those that are being trained. The
    pruner has seen the mean over the first n runs for every n up to `compared`.
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
        """True until the configuration is complete, pruned or failed."""
        return self.state is ConfigurationState.RUNNING

    @property
    def name(self) -> str:
        """Its number and values in a line."""
        return f"{self.number}: {describe(self.values)}"

    @property
    def first_evidence(self) -> list[Evidence]:
        """Evidence of the runs before the first one that is not finished."""
        finished = itertools.takewhile(lambda run: run.digest in self.found, self.runs)
        return [self.found[run.digest] for run in finished]

    @property
    def means(self) -> dict[Objective, float]:
        """Mean of every objective over the finished runs; empty if no run is finished."""
        if not self.found:
            return {}
        return {o: statistics.fmean(map(value, self.found.values())) for o, value in VALUE.items()}
