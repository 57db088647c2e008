"""A study's measured rows beside its published ones, read from the store."""

import difflib
from dataclasses import dataclass

from mlt_ray.errors import UserError
from mlt_ray.parsing import unknown_key
from mlt_ray.reports.statistics import Aggregate, aggregate
from mlt_ray.storage.record import Published, RowRecord, read_record
from mlt_ray.storage.store import Store
from mlt_ray.studies.files import file_names


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """`published` maps wa and ua to (mean, deviation or None); `measured` is None without runs.

    `changes` are settings in which the row, as measured, differs from the study's file.
    """

    name: str
    published: Published | None
    measured: Aggregate | None
    runs_done: int
    runs_planned: int
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """A study as a table, and what its numbers were measured on."""

    study: str
    title: str
    corpus: str
    fold_by: tuple[str, ...]
    rows: tuple[TableRow, ...]


def collect(study: str, store: Store) -> Table:
    """The table of a study as it was last run in this store.

    Raises `UserError` where the store knows no such study.
    """
    record = read_record(store, store.study(study))
    if record is None:
        raise never_run(study, store)
    protocols = dict.fromkeys(row.spec["folds"]["by"] for row in record.rows)
    return Table(
        study=record.study,
        title=record.title,
        corpus=record.corpus,
        fold_by=tuple(protocols),
        rows=tuple(_row(row, store) for row in record.rows),
    )


MISSPELT = 0.75
"""How alike a name must be to one that there is, to be taken for that one misspelt."""


def never_run(study: str, store: Store) -> UserError:
    """The error for a study of which nothing was ever run in the store."""
    here, shipped = store.studies(), file_names()
    if study not in shipped and difflib.get_close_matches(study, [*here, *shipped], 1, MISSPELT):
        return unknown_key(str(store), study, [*here, *shipped], "study")
    return UserError(
        f"{store}: expected runs of study {study}, found those of: {', '.join(here) or 'none'}; "
        f"run mlt-ray run {study} --corpus CORPUS first, or name another --store"
    )


def _row(row: RowRecord, store: Store) -> TableRow:
    done = store.reports(run.digest for run in row.runs)
    return TableRow(
        name=row.name,
        published=row.published,
        measured=aggregate(done, len(row.runs)) if done else None,
        runs_done=len(done),
        runs_planned=len(row.runs),
        changes=row.changes,
    )
