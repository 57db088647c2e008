"""The rows of a study against the reference: of the comparable rows, the best by UA on dev."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.labels import FOUR
from mlt_ray.reports.comparison import Comparison, compare, corrected, in_common
from mlt_ray.reports.resampling import Counts, groups_of
from mlt_ray.storage.record import RowRecord, StudyRecord
from mlt_ray.storage.spreadsheet import csv_text
from mlt_ray.storage.store import Store

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """The test predictions of each row of a study, and the group that each utterance is in.

    `groups` says what a group is.
    """

    groups: str
    group_of: Mapping[str, str]
    predictions: "Mapping[str, DataFrame]"

    @cached_property
    def counts(self) -> Mapping[str, Counts]:
        """Counts of all runs of each row."""
        return {name: self._counts(frame) for name, frame in self.predictions.items()}

    def counts_in_common(self, row: str, other: str) -> tuple[Counts, Counts] | None:
        """Counts in the folds that two rows both have; None if there are none."""
        found = in_common(self.predictions[row], self.predictions[other])
        if any(frame.empty for frame in found):
            return None
        return self._counts(found[0]), self._counts(found[1])

    def _counts(self, predictions: "DataFrame") -> Counts:
        return Counts.of(predictions, self.group_of)

    @property
    def num_groups(self) -> int:
        """The most groups that a row has; 0 without rows."""
        return max((len(c.groups) for c in self.counts.values()), default=0)


def predicted_of(
    record: StudyRecord, corpora: Sequence[Corpus], predictions: "DataFrame"
) -> Predicted:
    """The test predictions of each row of a study that has finished runs.

    `corpora` are the study's (`corpora_of`), `predictions` those of `Results`.
    """
    groups, group_of = groups_of([u for corpus in corpora for u in corpus.utterances])
    is_tested = (predictions["study"] == record.study) & (predictions["part"] == "test")
    by_row = predictions[is_tested].groupby("row", sort=False)
    return Predicted(groups=groups, group_of=group_of, predictions={str(n): p for n, p in by_row})


def best_by_dev(runs: "DataFrame", rows: Mapping[str, RowRecord]) -> str | None:
    """The row of a study's runs whose mean UA on dev is highest; None without runs.

    It is one of the largest group of rows that can be compared with each other. Rows that lack
    folds which others of the group have finished do not count: theirs may be the easy ones.
    """
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name in dict.fromkeys(map(str, runs["row"])):
        groups.setdefault(folds_and_classes(rows[name]), []).append(name)
    if not groups:
        return None
    largest = max(groups.values(), key=len)
    of_rows = runs[runs["row"].isin(largest)].groupby("row", sort=False)
    folds = of_rows["fold"].nunique()
    return str(of_rows["dev_ua"].mean()[folds == folds.max()].idxmax())


def compared(
    runs: "DataFrame", rows: Mapping[str, RowRecord], reference: str | None, predicted: Predicted
) -> dict[str, Comparison]:
    """Rows of a study's runs against the reference, their p corrected together, by name.

    Only those that are tested on the same utterances, fold by fold.
    """
    if reference is None:
        return {}
    same = folds_and_classes(rows[reference])
    names = (str(name) for name in dict.fromkeys(runs["row"]))
    others = [n for n in names if n != reference and folds_and_classes(rows[n]) == same]
    found = [against(row, reference, runs, predicted) for row in others]
    return dict(zip(others, corrected(found), strict=True))


def against(
    row: str, other: str, runs: "DataFrame", predicted: Predicted, score: str = "ua"
) -> Comparison:
    """One row of a study's runs against another, over the folds that both have."""
    counts = predicted.counts_in_common(row, other)
    return compare(row, other, runs, score=score, counts=counts, groups=predicted.groups)


def folds_and_classes(row: RowRecord) -> tuple[Any, ...]:
    """What two rows must have in common to be compared: utterances, classes and folds."""
    folds = row.spec["folds"]
    return row.spec["corpus"], tuple(row.spec.get("classes", FOUR)), folds.get("members")


def corpora_of(record: StudyRecord, store: Store) -> tuple[Corpus, ...]:
    """What a study's rows count, as far as the store still has it.

    Each corpus is there once: rows of other labels count other utterances of the one corpus.
    """
    fingerprints = dict.fromkeys(str(row.spec["corpus"]) for row in record.rows)
    values = (store.read_json(store.corpus(fingerprint)) for fingerprint in fingerprints)
    return tuple(Corpus.from_dict(found) for found in values if found)


def comparisons_csv(comparisons: Iterable[tuple[str, Comparison]]) -> str:
    """CSV, a line for each comparison of a study (its name stands beside it); shares in 0–1."""
    head = ["study", "row", "other", "score", "folds", "difference", "standard_error", "t", "p"]
    head += ["p_holm", "smallest", "pooled_low", "pooled_high", "groups", "verdict"]
    rows: list[list[str | float | None]] = []
    for study, found in comparisons:
        test, pooled = found.test, found.pooled
        tested: list[float | None] = [None] * 5
        if test is not None:
            tested = [test.num_pairs, test.difference, test.standard_error, test.t, test.p]
        smallest = None if test is None else test.smallest
        ends = [None, None] if pooled is None else [pooled.low, pooled.high]
        line = [study, found.row, found.other, found.score, *tested, found.p, smallest, *ends]
        rows.append([*line, found.groups, found.verdict])
    return csv_text(head, rows)


def verdict_line(reference: str, comparisons: Mapping[str, Comparison]) -> str:
    """Which rows are higher than the reference, lower, or within noise, in one line."""
    by_verdict: dict[str, list[str]] = {}
    for name, comparison in comparisons.items():
        by_verdict.setdefault(comparison.verdict, []).append(name)
    parts = [f"{verdict}: {', '.join(names)}" for verdict, names in by_verdict.items()]
    return (
        f"UA against {reference}, the best on dev (corrected resampled t test, Holm): "
        + "; ".join(parts)
    )
