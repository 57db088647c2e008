"""Whether two rows differ: the corrected resampled t test, Holm's correction, a verdict in words.

Runs of different folds share training utterances, so their differences are not independent, and an
ordinary t test finds differences that are not there. Nadeau and Bengio (2003) widen the standard
error by the share of test to training utterances:

    t = mean(d) / sqrt((1 / J + n_test / n_train) · var(d)),  J − 1 degrees of freedom

for the differences d of J splits. Seeds of one fold are no further splits: the same utterances are
trained on and tested. So d are the differences of the folds' means over their seeds. Counted as
splits, 15 runs of five folds would call noise a difference up to 15 times in a hundred, three times
as often as they should (`tests/reports/test_comparison.py`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from mlt_ray.reports.resampling import Counts, Interval, interval

if TYPE_CHECKING:
    from pandas import DataFrame

SIGNIFICANCE: Final = 0.05
"""A difference whose corrected p is below this counts as one."""

SCORE_NAMES: Final[Mapping[str, str]] = {"wa": "WA", "ua": "UA"}


@dataclass(frozen=True, kw_only=True)
class TTest:
    """The corrected resampled t test of J paired differences, in the unit of the differences.

    `smallest` is the smallest mean difference that this test alone would call one at these
    deviations: the critical t times `standard_error`.
    """

    num_pairs: int
    difference: float
    standard_error: float
    t: float
    p: float
    smallest: float


def corrected_t_test(
    differences: Sequence[float], num_train: float, num_test: float
) -> TTest | None:
    """The test of paired differences; `num_train` and `num_test` count utterances of a run.

    None for fewer than two, and for differences that are all the same but not 0: they have no
    deviation to measure the mean by. For differences that are all 0 the p is 1.
    """
    from scipy import stats

    d: NDArray[np.float64] = np.asarray(differences, float)
    # Rounding leaves a variance of about 1e-33 where all are the same.
    is_constant = len(d) > 0 and np.ptp(d) < 1e-12
    is_zero = is_constant and abs(d[0]) < 1e-12
    if len(d) < 2 or (is_constant and not is_zero):
        return None
    dof, mean = len(d) - 1, float(d.mean())
    error = 0.0 if is_zero else math.sqrt((1 / len(d) + num_test / num_train) * d.var(ddof=1))
    t = 0.0 if is_zero else mean / error
    return TTest(
        num_pairs=len(d),
        difference=mean,
        standard_error=error,
        t=t,
        p=float(2 * stats.t.sf(abs(t), dof)),
        smallest=float(stats.t.ppf(1 - SIGNIFICANCE / 2, dof)) * error,
    )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One row's score minus another's, in shares (0–1), over the folds that both have.

    `test` is None where there is too little to test (`corrected_t_test`). `p` is Holm's, over all
    comparisons that are made together. `pooled` is the interval of the difference of the pooled
    scores by resampling the `num_groups` groups; `groups` says what they are.
    """

    row: str
    other: str
    score: str
    test: TTest | None
    p: float | None
    pooled: Interval | None
    groups: str
    num_groups: int = 0

    @property
    def verdict(self) -> str:
        """The result in words."""
        if self.test is None or self.p is None:
            return "too few runs to say"
        if self.test.difference == 0 and self.test.standard_error == 0:
            return "the same"
        if self.p >= SIGNIFICANCE:
            return "within noise"
        return "higher" if self.test.difference > 0 else "lower"


def compare(
    row: str,
    other: str,
    runs: "DataFrame",
    *,
    score: str = "ua",
    counts: tuple[Counts, Counts] | None = None,
    groups: str = "",
) -> Comparison:
    """Compare two rows of `Results.runs`, of one study; their p is not corrected by Holm's rule.

    Folds are paired: of each row the mean over the fold's finished seeds. `counts` are those of
    both rows' test predictions in the folds that both have (`in_common`).
    """
    first, second = (runs[runs["row"] == name] for name in (row, other))
    pairs = paired(first, second, f"test_{score}")
    test = corrected_t_test(pairs, first["num_train"].mean(), first["num_test"].mean())
    pooled = interval(score, *counts) if counts is not None else None
    return Comparison(
        row=row,
        other=other,
        score=score,
        test=test,
        p=None if test is None else test.p,
        pooled=pooled,
        groups=groups,
        num_groups=0 if counts is None else len(counts[0].groups),
    )


def paired(first: "DataFrame", second: "DataFrame", column: str) -> list[float]:
    """The first row's mean score minus the second's in each fold that both have."""
    means = [rows.groupby("fold")[column].mean() for rows in (first, second)]
    return [float(d) for d in (means[0] - means[1]).dropna()]


def in_common(first: "DataFrame", second: "DataFrame") -> "tuple[DataFrame, DataFrame]":
    """The parts of two frames that belong to folds that both have, by their column ``fold``."""
    return first[first["fold"].isin(second["fold"])], second[second["fold"].isin(first["fold"])]


def corrected(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons with their p raised by Holm's step-down rule for all of them together."""
    found = list(comparisons)
    ranked = sorted((c.p, n) for n, c in enumerate(comparisons) if c.p is not None)
    lowest = 0.0
    for rank, (p, n) in enumerate(ranked):
        # The i-th smallest of m counts m - i + 1 times, and none less than a smaller one.
        lowest = max(lowest, min(1.0, p * (len(ranked) - rank)))
        found[n] = replace(comparisons[n], p=lowest)
    return tuple(found)
