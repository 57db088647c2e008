"""A study's measured rows beside its published ones, read from the store."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlt_ray.errors import UserError
from mlt_ray.parsing import unknown_key
from mlt_ray.reports.statistics import Aggregate, aggregate
from mlt_ray.storage.store import Store
from mlt_ray.studies.files import file_names

Scores = Mapping[str, tuple[float, float | None]]


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """`published` maps wa and ua to (mean, deviation or None); `measured` is None without runs.

    `overrides` are settings in which the row, as measured, differs from the study's file.
    """

    name: str
    published: Scores | None
    measured: Aggregate | None
    runs_done: int
    runs_planned: int
    overrides: tuple[str, ...] = ()


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
    plan = store.read_json(store.study(study))
    if plan is None:
        raise never_run(study, store)
    protocols = dict.fromkeys(row["spec"]["folds"]["by"] for row in plan["rows"])
    return Table(
        study=plan["study"],
        title=plan["title"],
        corpus=plan["corpus"]["name"],
        fold_by=tuple(protocols),
        rows=tuple(_row(row, store) for row in plan["rows"]),
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


def _row(row: Mapping[str, Any], store: Store) -> TableRow:
    planned = row["runs"]
    done = store.reports(cell["digest"] for cell in planned)
    published = row["published"]
    return TableRow(
        name=row["name"],
        published={k: tuple(v) for k, v in published.items()} if published else None,
        measured=aggregate(done, len(planned)) if done else None,
        runs_done=len(done),
        runs_planned=len(planned),
        overrides=tuple(row["overrides"]),
    )
