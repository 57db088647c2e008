"""Comparisons of rows, beside scipy's t test, a worked example and simulated noise."""

import math

import numpy as np
import pytest
from pandas import DataFrame
from scipy import stats
from statsmodels.stats.multitest import multipletests

from mlt_ray.reports.comparison import (
    Comparison,
    compare,
    corrected,
    corrected_t_test,
    in_common,
    paired,
)


def test_the_test_is_scipy_s_with_a_wider_error() -> None:
    drawn = np.random.default_rng(3)
    first, second = drawn.normal(0.72, 0.03, 15), drawn.normal(0.70, 0.03, 15)
    plain = stats.ttest_rel(first, second)
    ratio = 0.4
    found = corrected_t_test(first - second, num_train=500, num_test=500 * ratio)
    t = plain.statistic * math.sqrt((1 / 15) / (1 / 15 + ratio))
    assert found.t == pytest.approx(t)
    assert found.p == pytest.approx(2 * stats.t.cdf(-abs(t), 14))
    assert found.difference == pytest.approx((first - second).mean())
    # With nothing to correct, it is scipy's.
    same = corrected_t_test(first - second, num_train=1, num_test=0)
    assert (same.t, same.p) == pytest.approx((plain.statistic, plain.pvalue))


def test_a_worked_example() -> None:
    """d = 1, 2, 3 points: mean 2, variance 1, ratio 1/3: error sqrt(1/3 + 1/3) = 0.8165."""
    found = corrected_t_test([0.01, 0.02, 0.03], num_train=300, num_test=100)
    assert found.standard_error == pytest.approx(0.008165, abs=1e-6)
    assert found.t == pytest.approx(2.449, abs=1e-3)
    assert found.p == pytest.approx(0.1340, abs=1e-4)  # 1 − t / sqrt(t² + 2), for 2 degrees
    assert found.smallest == pytest.approx(4.30265 * 0.008165, abs=1e-5)


def test_five_folds_of_three_to_one_find_what_exceeds_two_deviations() -> None:
    d = np.random.default_rng(1).normal(0, 0.02, 5)
    found = corrected_t_test(d, num_train=3, num_test=1)
    assert found.smallest == pytest.approx(2.0277 * d.std(ddof=1), rel=1e-3)


def test_differences_that_are_all_nothing_are_none() -> None:
    found = corrected_t_test([0.0, 0.0], num_train=3, num_test=1)
    assert (found.t, found.p, found.standard_error) == (0, 1, 0)


@pytest.mark.parametrize("differences", [[], [0.1], [0.0], [0.1, 0.1, 0.1]])
def test_what_has_no_deviation_is_not_tested(differences: list[float]) -> None:
    """Small test parts give equal differences by chance: they are no certainty."""
    assert corrected_t_test(differences, num_train=3, num_test=1) is None


def runs(row: str, scores: dict[tuple[int, int], float]) -> DataFrame:
    values = [(row, fold, seed, ua, 300, 100) for (fold, seed), ua in scores.items()]
    return DataFrame(values, columns=["row", "fold", "seed", "test_ua", "num_train", "num_test"])


def test_folds_are_paired_by_their_means_over_seeds() -> None:
    first = runs("a", {(1, 1): 0.5, (1, 2): 0.7, (2, 1): 0.3, (2, 2): 0.3, (3, 1): 0.9})
    # A row that reads no seed, or another one, and lacks a fold.
    second = runs("b", {(1, 7): 0.1, (2, 7): 0.4})
    assert paired(first, second, "test_ua") == pytest.approx([0.5, -0.1])
    assert paired(second, first, "test_ua") == pytest.approx([-0.5, 0.1])
    ours, theirs = in_common(first, second)
    assert set(ours["fold"]) == set(theirs["fold"]) == {1, 2}


def made(p: float | None, difference: float = 0.05) -> Comparison:
    test = None
    if p is not None:
        test = corrected_t_test([difference, difference + 0.02], num_train=3, num_test=1)
    return Comparison(row="a", other="b", score="ua", test=test, p=p, pooled=None, groups="")


def test_holm_s_rule_worked_by_hand() -> None:
    """p sorted: 0.01 × 4, 0.02 × 3, 0.03 × 2, then at least the one before: 0.06."""
    found = corrected([made(0.03), made(0.01), made(None), made(0.04), made(0.02)])
    assert [c.p for c in found] == pytest.approx([0.06, 0.04, None, 0.06, 0.06])
    assert corrected([made(None)]) == (made(None),)


def test_holm_s_rule_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 13):
        some = [0.0, *rng.random(size) ** 5, 1.0]
        _, theirs, *_ = multipletests([*some, *some], method="holm")
        assert [c.p for c in corrected([made(p) for p in (*some, *some)])] == list(theirs)


def test_verdicts() -> None:
    assert made(0.049).verdict == "higher"
    assert made(0.049, -0.05).verdict == "lower"
    assert made(0.05).verdict == "within noise"
    assert made(None).verdict == "too few runs to say"
    both = DataFrame({})
    first = runs("a", {(1, 1): 0.5, (2, 1): 0.6})
    both = compare("a", "b", concat(first, first.assign(row="b")))
    assert (both.verdict, both.p) == ("the same", 1)
    assert compare("a", "b", concat(first, runs("b", {(1, 1): 0.4}))).test is None


def concat(*frames: DataFrame) -> DataFrame:
    from pandas import concat as joined

    return joined(frames, ignore_index=True)


@pytest.mark.parametrize("seed_deviation", [0.0, 0.3, 1.0])
def test_noise_is_called_a_difference_as_often_as_it_should(seed_deviation: float) -> None:
    """Five folds whose differences correlate by the share of test utterances, three seeds each.

    Folds' means keep to 5 in 100. Seeds counted as splits do not where they say the same, and an
    ordinary t test never does.
    """
    drawn = np.random.default_rng(2)
    share = 1 / 4
    means, splits, plain = [], [], []
    for _ in range(1000):
        folds = math.sqrt(share) * drawn.normal() + math.sqrt(1 - share) * drawn.normal(size=5)
        d = folds[:, None] + seed_deviation * drawn.normal(size=(5, 3))
        means.append(corrected_t_test(d.mean(1), num_train=3, num_test=1).p < 0.05)
        splits.append(corrected_t_test(d.ravel(), num_train=3, num_test=1).p < 0.05)
        plain.append(stats.ttest_1samp(d.ravel(), 0).pvalue < 0.05)
    assert np.mean(means) < 0.07
    assert np.mean(plain) > 0.2
    if seed_deviation < 0.5:
        assert np.mean(splits) > 0.1
