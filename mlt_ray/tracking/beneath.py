"""What is known of a row's run in MLflow and of the runs beneath it, and what MLflow lacks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mlt_ray.storage.record import RowRecord, RunRecord
from mlt_ray.storage.report import RunReport
from mlt_ray.tracking.content import num_counted, row_digest, runs_digest
from mlt_ray.tracking.entry import Addition, Written
from mlt_ray.tracking.listing import HAS_RUNS

TOGETHER = 100
"""Runs of whole rows, at least, that are written together; other drivers wait meanwhile."""


@dataclass(kw_only=True)
class Beneath:
    """A row's run in MLflow, and what is known of the runs beneath it.

    `averaged`: of how many runs it has the means. `has_runs`: its tag. `is_bare`: it lacks even its
    parameters. `children` are runs beneath it, by digest; `finished` are digests of those that are
    complete. `listed_in`: the hold of the lease in which all that it has were looked up; 0 for
    none.
    """

    run: Written
    averaged: int = 0
    has_runs: str = ""
    is_bare: bool = False
    children: dict[str, Written] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    listed_in: int = 0

    @classmethod
    def of(cls, run: Any) -> "Beneath":
        """What a row's run says of itself, as MLflow's client returns it."""
        return cls(
            run=Written.of(run),
            averaged=_averaged(run.data.metrics),
            has_runs=run.data.tags.get(HAS_RUNS, ""),
            is_bare=not run.data.params,
        )

    def note(self, digest: str, child: Written) -> None:
        """Note a run that stands beneath it."""
        self.children[digest] = child
        if child.is_finished:
            self.finished.add(digest)

    def note_mean(self, row: RowRecord, finished: Sequence[str], mean: Addition) -> None:
        """Note that it has the mean of the finished runs."""
        self.is_bare = False
        self.averaged = num_counted(row, finished)
        self.has_runs = mean.tags.get(HAS_RUNS, self.has_runs)

    def has_all(self, row: RowRecord, finished: Sequence[str]) -> bool:
        """Whether its tags say that it has these finished runs, and their mean."""
        is_averaged = self.averaged >= num_counted(row, finished)
        return is_averaged and self.has_runs == runs_digest(finished)


@dataclass(kw_only=True)
class Lacking:
    """Finished runs of a row that MLflow lacks, all reports of the row, and what MLflow has of it.

    `is_due`: the mean is to be written in any case.
    """

    row: RowRecord
    runs: Sequence[RunRecord]
    reports: Sequence[RunReport]
    known: Beneath | None
    is_due: bool

    def __post_init__(self) -> None:
        self.digest = row_digest(self.row)

    @property
    def finished(self) -> list[str]:
        """Digests of the row's finished runs."""
        return [report.digest for report in self.reports]

    @property
    def new(self) -> list[RunRecord]:
        """The runs of which MLflow has nothing at all."""
        return [r for r in self.runs if self.known is None or r.digest not in self.known.children]

    @property
    def is_mean_due(self) -> bool:
        """Whether another mean is to be written: of other runs than the last one."""
        if not self.reports or self.known is None:
            return False
        is_due = self.is_due or bool(self.runs)
        return is_due or not self.known.has_all(self.row, self.finished)


def together(rows: Iterable[RowRecord], done: set[str]) -> Iterator[list[RowRecord]]:
    """Groups of whole rows with about `TOGETHER` finished runs."""
    group: list[RowRecord] = []
    count = 0
    for row in rows:
        group.append(row)
        count += sum(run.digest in done for run in row.runs)
        if count >= TOGETHER:
            yield group
            group, count = [], 0
    if group:
        yield group


def _averaged(metrics: Mapping[str, float]) -> int:
    """Of how many runs a parent has the means; 0 for one that an earlier version has written."""
    return int(metrics.get("runs_done", 0)) if "num_parameters" in metrics else 0
