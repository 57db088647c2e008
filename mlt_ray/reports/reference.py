"""The rows of a study against the reference: the row whose mean UA on dev is highest."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.labels import FOUR
from mlt_ray.reports.comparison import Comparison, compare, corrected
from mlt_ray.reports.resampling import Counts, groups_of
from mlt_ray.reports.results import Results
from mlt_ray.storage.record import RowRecord, StudyRecord
from mlt_ray.storage.spreadsheet import csv_text
from mlt_ray.storage.store import Store

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, kw_only=True)
class Tested:
    """The test predictions of a study's rows, counted by group. `groups` says what a group is."""

    groups: str
    counts: Mapping[str, Counts]

    @property
    def num_groups(self) -> int:
        """The most groups that a row has; 0 without rows."""
        return max((len(c.groups) for c in self.counts.values()), default=0)


def tested_of(record: StudyRecord, results: Results) -> Tested:
    """The counts of each row of a study that has finished runs."""
    utterances = [u for corpus in corpora_of(record, results.store) for u in corpus.utterances]
    groups, group_of = groups_of(utterances)
    predictions = results.predictions
    is_tested = (predictions["study"] == record.study) & (predictions["part"] == "test")
    by_row = predictions[is_tested].groupby("row", sort=False)
    return Tested(groups=groups, counts={str(n): Counts.of(p, group_of) for n, p in by_row})


def best_by_dev(runs: "DataFrame") -> str | None:
    """The row of a study's runs whose mean UA on dev is highest; None without runs."""
    if runs.empty:
        return None
    return str(runs.groupby("row", sort=False)["dev_ua"].mean().idxmax())


def compared(
    runs: "DataFrame", rows: Mapping[str, RowRecord], reference: str | None, tested: Tested
) -> dict[str, Comparison]:
    """Rows of a study's runs against the reference, their p corrected together, by name.

    Only those that are tested on the same utterances, fold by fold.
    """
    if reference is None:
        return {}
    same = tested_on(rows[reference])
    names = (str(name) for name in dict.fromkeys(runs["row"]))
    others = [n for n in names if n != reference and tested_on(rows[n]) == same]
    found = [
        compare(row, reference, runs, counts=tested.counts, groups=tested.groups) for row in others
    ]
    return dict(zip(others, corrected(found), strict=True))


def tested_on(row: RowRecord) -> tuple[Any, ...]:
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
    head = ["study", "row", "other", "score", "pairs", "difference", "standard_error", "t", "p"]
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
