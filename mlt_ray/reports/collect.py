"""Collects a study's measured and published scores from the store."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from mlt_ray.errors import UserError
from mlt_ray.parsing import unknown_key
from mlt_ray.reports.statistics import Aggregate, aggregate
from mlt_ray.storage.record import PublishedScores, RowRecord, read_record
from mlt_ray.storage.report import RunReport
from mlt_ray.storage.store import Store
from mlt_ray.studies.files import file_names


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A row of a table. `measured` is None while no run is finished.

    `changes` are settings in which the row, as measured, differs from the study's file.
    """

    name: str
    published: PublishedScores | None
    measured: Aggregate | None
    runs_done: int
    runs_planned: int
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """A study's table. `corpus` is the name of the measured corpus, `fold_by` how it was split."""

    study: str
    title: str
    corpus: str
    fold_by: tuple[str, ...]
    rows: tuple[TableRow, ...]


def collect(study: str, store: Store) -> Table:
    """The table of a study as it was last run in this store.

    Raises `UserError` if the study was never run in it.
    """
    record = read_record(store, store.study(study))
    if record is None:
        raise never_run(study, store)
    # All at once: behind a URI each run is asked for.
    digests = {run.digest for row in record.rows for run in row.runs}
    reports = {report.digest: report for report in store.reports(digests)}
    protocols = dict.fromkeys(row.spec["folds"]["by"] for row in record.rows)
    return Table(
        study=record.study,
        title=record.title,
        corpus=record.corpus,
        fold_by=tuple(protocols),
        rows=tuple(_row(row, reports) for row in record.rows),
    )


MISSPELT = 0.75
"""Similarity (0–1, of `difflib`) from which an unknown name counts as a misspelt known one."""


def never_run(study: str, store: Store) -> UserError:
    """The error for a study that was never run in the store."""
    stored, shipped = store.studies(), file_names()
    if study not in shipped and difflib.get_close_matches(study, [*stored, *shipped], 1, MISSPELT):
        return unknown_key(str(store), study, [*stored, *shipped], "study")
    return UserError(
        f"{store}: expected runs of study {study}, found those of: {', '.join(stored) or 'none'}; "
        f"run mlt-ray run {study} --corpus CORPUS first, or name another --store"
    )


def _row(row: RowRecord, reports: Mapping[str, RunReport]) -> TableRow:
    done = [reports[run.digest] for run in row.runs if run.digest in reports]
    return TableRow(
        name=row.name,
        published=row.published,
        measured=aggregate(done, len(row.runs)) if done else None,
        runs_done=len(done),
        runs_planned=len(row.runs),
        changes=row.changes,
    )
