"""One comparison of two rows of a study, in words."""

from dataclasses import replace

from mlt_ray.errors import UserError
from mlt_ray.parsing import unknown_key
from mlt_ray.reports.collect import find_record
from mlt_ray.reports.comparison import SCORE_NAMES, Comparison
from mlt_ray.reports.reference import against, corpora_of, folds_and_classes, predicted_of
from mlt_ray.reports.resampling import FEW_GROUPS
from mlt_ray.reports.results import results_of
from mlt_ray.storage.record import RowRecord, StudyRecord
from mlt_ray.storage.store import Store


def compare_rows(study: str, row: str, other: str, store: Store, score: str) -> list[str]:
    """Lines that say whether two rows of a study differ.

    A row of another study in the store is named with it, as ``STUDY/ROW``. Raises `UserError` for a
    study or a row that the store does not have, rows without finished runs, and rows that are
    tested on other utterances.
    """
    record = find_record(study, store)
    rows = tuple(_row_of(name, record, store) for name in (row, other))
    if rows[0].runs == rows[1].runs:
        raise UserError(f"{study}: expected two rows, got the runs of {row} twice; name another")
    if folds_and_classes(rows[0]) != folds_and_classes(rows[1]):
        raise UserError(
            f"{study}: expected rows of the same corpus, labels and folds, got others for {row} "
            f"than for {other}; compare rows of one protocol"
        )
    both = replace(record, rows=rows)
    results = results_of([both], store)
    for name in (row, other):
        if not (results.runs["row"] == name).any():
            raise UserError(f"{study}: expected finished runs of {name}, found none; run it first")
    predicted = predicted_of(both, corpora_of(both, store), results.predictions)
    return comparison_lines(against(row, other, results.runs, predicted, score))


def _row_of(name: str, record: StudyRecord, store: Store) -> RowRecord:
    """The study's row of that name, or the other study's that the name begins with."""
    rows = {row.name: row for row in record.rows}
    study, slash, rest = name.partition("/")
    if name not in rows and slash and study in store.studies():
        theirs = {row.name: row for row in find_record(study, store).rows}
        if rest not in theirs:
            raise unknown_key(study, rest, list(theirs), "row")
        return replace(theirs[rest], name=name)
    if name not in rows:
        raise unknown_key(record.study, name, list(rows), "row")
    return rows[name]


def comparison_lines(found: Comparison) -> list[str]:
    """A comparison in words, in percentage points."""
    lines = [f"{SCORE_NAMES[found.score]} of {found.row}, minus that of {found.other}"]
    if found.test is not None:
        test = found.test
        lines += [
            f"over {test.num_pairs} folds: {_points(test.difference)} points, standard "
            f"error {100 * test.standard_error:.1f}, t {test.t:.2f}, p {test.p:.3f} "
            "(corrected resampled t test)",
            f"a difference of less than {100 * test.smallest:.1f} points could not be told from "
            "noise with these runs",
        ]
    if found.pooled is not None:
        few = "; too narrow with so few" if found.num_groups < FEW_GROUPS else ""
        lines.append(
            f"test predictions together: 95 % of draws of {found.num_groups} {found.groups}s lie "
            f"between {_points(found.pooled.low)} and {_points(found.pooled.high)} points{few}"
        )
    return [*lines, f"verdict, for this comparison alone: {found.verdict}"]


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}"
