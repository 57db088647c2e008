"""A configuration of a search: proposed values, the runs that judge it, and how far it has come."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import optuna

from mlt_ray.search.evidence import VALUE, Evidence
from mlt_ray.spec import Run, RunSpec
from mlt_ray.studies.space import Objective, describe


class State(StrEnum):
    """How far a configuration has come."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(kw_only=True)
class Configuration:
    """One distinct proposal and its cells. `trials` are Optuna's that proposed it."""

    number: int
    values: Mapping[str, Any]
    spec: RunSpec
    cells: tuple[Run, ...]
    trials: list[optuna.Trial] = field(default_factory=list)
    found: dict[str, Evidence] = field(default_factory=dict)
    todo: list[Run] = field(default_factory=list)
    under_way: set[str] = field(default_factory=set)
    compared: int = 0
    state: State = State.RUNNING
    reason: str = ""

    @property
    def name(self) -> str:
        """Its number and values in a line."""
        return f"{self.number}: {describe(self.values)}"

    @property
    def scores(self) -> list[Evidence]:
        """Evidence of the first cells, up to the first that is missing."""
        found = [self.found.get(cell.digest) for cell in self.cells]
        return [e for e in found[: found.index(None) if None in found else None] if e is not None]

    @property
    def means(self) -> dict[Objective, float]:
        """Mean of every objective over the cells that are finished; empty without any."""
        if not self.found:
            return {}
        return {o: statistics.fmean(map(value, self.found.values())) for o, value in VALUE.items()}
