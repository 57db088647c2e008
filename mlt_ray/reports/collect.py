"""Collects a study's measured and published scores from the store."""

import contextlib
import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mlt_ray.corpus.fold_notes import describe, easier_text
from mlt_ray.corpus.utterance import Corpus
from mlt_ray.errors import UserError
from mlt_ray.labels import FOUR
from mlt_ray.libraries import versions_of
from mlt_ray.parsing import unknown_key
from mlt_ray.reports.layers import LayerNumbers, layer_numbers
from mlt_ray.reports.statistics import Aggregate, aggregate, counted_runs, reads_seed
from mlt_ray.spec import FoldSpec
from mlt_ray.storage.record import PublishedScores, RowRecord, StudyRecord, read_record
from mlt_ray.storage.store import Store
from mlt_ray.studies.files import file_names, is_space, load_yaml, study_name

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A row of a table. `measured` is None while no run is finished.

    `folds` and `classes` say how it was measured. `changes` are settings in which the row, as
    measured, differs from the study's file. `reads_seed`: whether there are runs of several seeds.
    `layers`: those of a speech encoder that its runs read.
    """

    name: str
    published: PublishedScores | None
    measured: Aggregate | None
    runs_done: int
    runs_planned: int
    folds: str
    classes: tuple[str, ...]
    changes: tuple[str, ...] = ()
    reads_seed: bool = True
    layers: LayerNumbers = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A study's table. `corpus` is the name of the measured corpus.

    `notes` say what else a reader must know.
    """

    study: str
    title: str
    corpus: str
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...] = ()


def find_record(study: str, store: Store) -> StudyRecord:
    """The record of a study, given by name or by path, as it was last run in this store.

    Raises `UserError` if the study was never run in it.
    """
    name = study_name(study)
    record = read_record(store, store.study(name)) if name in store.studies() else None
    if record is None:
        raise never_run(study, store)
    return record


def table_of(record: StudyRecord, runs: "DataFrame", store: Store) -> Table:
    """The table of a study's record and its finished runs (`frames.runs_frame`)."""
    rows = tuple(_row(row, runs[runs["row"] == row.name]) for row in record.rows)
    pairs = zip(record.rows, rows, strict=True)
    measured = [noted for noted, row in pairs if row.measured is not None]
    notes = (*_easier(measured or record.rows, store), different_versions(measured))
    return Table(
        study=record.study,
        title=record.title,
        corpus=record.corpus,
        rows=rows,
        notes=tuple(filter(None, notes)),
    )


def _easier(rows: Sequence[RowRecord], store: Store) -> tuple[str, ...]:
    """Lines on what makes the scores of rows easier than they seem (`fold_notes.easier_text`)."""
    ways: dict[tuple[Corpus, FoldSpec], None] = {}
    corpora: dict[str, Corpus | None] = {}
    for row in rows:
        fingerprint = row.spec["corpus"]
        if fingerprint not in corpora:
            values = store.read_json(store.corpus(fingerprint))
            corpora[fingerprint] = Corpus.from_dict(values) if values else None
        corpus, classes = corpora[fingerprint], _classes(row)
        if corpus is not None and {u.emotion for u in corpus.utterances} <= {*classes}:
            ways[replace(corpus, classes=classes), _folds(row)] = None
    return easier_text(tuple(ways))


def _folds(row: RowRecord) -> FoldSpec:
    return FoldSpec(**row.spec["folds"])


def _classes(row: RowRecord) -> tuple[str, ...]:
    return tuple(row.spec.get("classes", FOUR))


def different_versions(rows: Sequence[RowRecord]) -> str:
    """A line that names the libraries of which rows were computed with different versions.

    Empty if there are none: a row has one version of each, but rows may be of different calls.
    """
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        for name, version in versions_of(row.spec).items():
            found.setdefault(name, {})[version] = None
    mixed = [f"{name} {' and '.join(v)}" for name, v in sorted(found.items()) if len(v) > 1]
    return f"rows were computed with different versions: {', '.join(mixed)}" if mixed else ""


MISSPELT = 0.75
"""Similarity (0–1, of `difflib`) from which an unknown name counts as a misspelt known one."""


def never_run(study: str, store: Store) -> UserError:
    """The error for a study, given by name or by path, that was never run in the store."""
    name, stored, shipped = study_name(study), store.studies(), file_names()
    known = [*stored, *shipped]
    is_misspelt = difflib.get_close_matches(name, known, 1, MISSPELT)
    if name == study and name not in shipped and is_misspelt:
        return unknown_key(str(store), study, known, "study")
    given = f"{study}.yaml" if name == study and name not in shipped else study
    verb = "run"
    with contextlib.suppress(UserError):  # no such file
        verb = "search" if is_space(load_yaml(given)[1]) else "run"
    return UserError(
        f"{store}: expected runs of study {name}, found those of: {', '.join(stored) or 'none'}; "
        f"run mlt-ray {verb} {given} --corpus CORPUS first, or name another --store"
    )


def _row(row: RowRecord, done: "DataFrame") -> TableRow:
    planned = len(counted_runs(row, set(done["digest"])))
    return TableRow(
        name=row.name,
        published=row.published,
        measured=aggregate(done, planned) if len(done) else None,
        runs_done=len(done),
        runs_planned=planned,
        folds=describe(_folds(row), row.spec.get("features", {}).get("standardise", "train")),
        classes=_classes(row),
        changes=row.changes,
        reads_seed=reads_seed(row),
        layers=layer_numbers(done["details"].to_list()),
    )
