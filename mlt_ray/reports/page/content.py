"""What a report's page says of a study: its rows with their statistics, and its corpus."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from mlt_ray.corpus.examination.paper_counts import has_paper_counts
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.reports.breakdown import (
    Calibration,
    Part,
    always_wrong,
    calibration_of,
    parts_of,
    recalls,
)
from mlt_ray.reports.collect import Table, TableRow
from mlt_ray.reports.comparison import Comparison
from mlt_ray.reports.page.searched import SearchContent
from mlt_ray.reports.reference import (
    best_by_dev,
    compared,
    corpora_of,
    predicted_of,
    verdict_line,
)
from mlt_ray.reports.resampling import FEW_GROUPS, Interval, interval
from mlt_ray.reports.results import Results
from mlt_ray.reports.statistics import Aggregate
from mlt_ray.storage.record import StudyRecord
from mlt_ray.storage.report import RunReport

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_WRONG: Final = 100
"""Utterances listed of those that every run gets wrong."""


@dataclass(frozen=True, kw_only=True)
class RowContent:
    """A row that has finished runs. `runs` and `predictions` are its part of a frame.

    `measured` are its scores. `interval` is that of the pooled UA; None where all
    tests are of one group. `comparison` is None for the reference and for rows that are tested on
    other utterances.
    """

    row: TableRow
    measured: Aggregate
    reports: tuple[RunReport, ...]
    runs: "DataFrame"
    predictions: "DataFrame"
    interval: Interval | None
    comparison: Comparison | None

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of `confusion`."""
        return self.row.classes

    @cached_property
    def confusion(self) -> np.ndarray:
        """(K, K) counts over all runs, true by predicted class."""
        return np.sum([np.asarray(c) for c in self.runs["test_confusion"]], axis=0)

    @cached_property
    def never(self) -> tuple[str, ...]:
        """Classes that no run of the row has ever predicted."""
        predicted = self.confusion.sum(axis=0)
        return tuple(name for name, n in zip(self.classes, predicted, strict=True) if not n)

    @cached_property
    def recalls(self) -> tuple[float | None, ...]:
        """Recall of each class over all runs."""
        return recalls(self.confusion)

    @cached_property
    def calibration(self) -> Calibration:
        """How sure its test predictions are, and how often right."""
        return calibration_of(self.predictions)


@dataclass(frozen=True, kw_only=True)
class StudyContent:
    """A study's table, and the rows of it that have finished runs.

    `reference` is the row that the others are compared with (`best_by_dev`). `groups` are what is
    resampled. `corpora` are those that rows count, each once: rows of other labels count other
    utterances of the one corpus. `search` is the one whose best configurations the rows are.
    """

    table: Table
    record: StudyRecord
    rows: tuple[RowContent, ...]
    reference: str | None
    groups: str
    num_groups: int
    corpora: tuple[Corpus, ...]
    search: SearchContent | None

    @property
    def few(self) -> str:
        """Of how few groups, or speakers, intervals are: too narrow ones; empty if of enough."""
        if 0 < self.num_groups < FEW_GROUPS:
            return f"{self.num_groups} {self.groups}s"
        speakers = {u.speaker for u in self.utterances.values()}
        return f"{len(speakers)} speakers" if 0 < len(speakers) < FEW_GROUPS else ""

    @property
    def comparisons(self) -> Mapping[str, Comparison]:
        """Each row that is tested on the reference's utterances against it, by name."""
        return {c.row.name: c.comparison for c in self.rows if c.comparison is not None}

    @property
    def verdicts(self) -> str:
        """Which rows differ from the reference, in one line; empty where there are no others."""
        if self.reference is None or not self.comparisons:
            return ""
        return verdict_line(self.reference, self.comparisons)

    @cached_property
    def utterances(self) -> Mapping[str, Utterance]:
        """The utterances that rows count, by id."""
        return {u.id: u for corpus in self.corpora for u in corpus.utterances}

    def parts(self, kind: str) -> Mapping[str, tuple[Part, ...]]:
        """Scores in each part of one of `KINDS`, of each row; empty if there is one part alone."""
        found = {c.row.name: parts_of(c.predictions, self.utterances, kind) for c in self.rows}
        return {name: parts for name, parts in found.items() if len(parts) > 1}

    @cached_property
    def never(self) -> tuple[str, ...]:
        """Classes that no run of any row has ever predicted."""
        return tuple(
            name
            for name in dict.fromkeys(name for c in self.rows for name in c.classes)
            if all(name in c.never for c in self.rows if name in c.classes)
        )

    @property
    def is_beside_another_corpus(self) -> bool:
        """Whether a row with published scores counts other utterances than the paper, as known."""
        others = {c.fingerprint for c in self.corpora if not has_paper_counts(c)}
        return any(row.published and row.spec["corpus"] in others for row in self.record.rows)

    @cached_property
    def wrong(self) -> "DataFrame":
        """Utterances that every run of every row gets wrong, with ``text`` and ``speaker``.

        Those of a class that nobody ever predicts say nothing of their labels, and are left out.
        """
        from pandas import concat

        told = self.utterances
        tested = concat([c.predictions for c in self.rows])
        found = always_wrong(tested[~tested["emotion"].isin(self.never)])
        return found.assign(
            text=[told[u].text if u in told else "" for u in found["utterance"]],
            speaker=[told[u].speaker if u in told else "" for u in found["utterance"]],
        )


def contents_of(results: Results) -> tuple[StudyContent, ...]:
    """The content of each study; `UserError` if predictions of a run are missing or damaged."""
    pairs = zip(results.records, results.tables, strict=True)
    return tuple(_content(record, table, results) for record, table in pairs)


def _content(record: StudyRecord, table: Table, results: Results) -> StudyContent:
    corpora = corpora_of(record, results.store)
    predicted = predicted_of(record, corpora, results.predictions)
    records = {row.name: row for row in record.rows}
    runs = results.runs[results.runs["study"] == record.study]
    reference = best_by_dev(runs, records)
    comparisons = compared(runs, records, reference, predicted)
    return StudyContent(
        table=table,
        record=record,
        rows=tuple(
            RowContent(
                row=row,
                measured=row.measured,
                reports=tuple(
                    done.report
                    for done in results.finished
                    if (done.study, done.row) == (record.study, row.name)
                ),
                runs=runs[runs["row"] == row.name],
                predictions=predicted.predictions[row.name],
                interval=interval("ua", predicted.counts[row.name]),
                comparison=comparisons.get(row.name),
            )
            for row in table.rows
            if row.measured is not None
        ),
        reference=reference,
        groups=predicted.groups,
        num_groups=predicted.num_groups,
        corpora=corpora,
        search=SearchContent.read(record, results.store),
    )
