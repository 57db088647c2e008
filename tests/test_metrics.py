"""Scores equal scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics

from mlt_ray.metrics import score

FOUR = range(4)


def draw(num: int, present: list[int], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels from the classes `present`, and predictions that are right about half of the time."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(present, num)
    guesses = rng.integers(0, 4, num)
    return labels, np.where(rng.random(num) < 0.4, labels, guesses)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("present", [[0, 1, 2, 3], [0, 2, 3], [1], [3, 1]])
@pytest.mark.parametrize("num", [1, 7, 101])
# scikit-learn warns of predicted classes without an utterance; we leave them out on purpose.
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
def test_scores_equal_those_of_scikit_learn(num: int, present: list[int], seed: int) -> None:
    labels, predictions = draw(num, present, seed)
    scores = score(labels, predictions, 4)
    assert scores.wa == pytest.approx(metrics.accuracy_score(labels, predictions))
    assert scores.ua == pytest.approx(metrics.balanced_accuracy_score(labels, predictions))
    seen = np.unique(labels)
    f1 = metrics.f1_score(labels, predictions, labels=seen, average="macro", zero_division=0)
    assert scores.macro_f1 == pytest.approx(f1)
    confusion = metrics.confusion_matrix(labels, predictions, labels=FOUR)
    assert np.array(scores.confusion).tolist() == confusion.tolist()


def test_unweighted_accuracy_gives_every_class_the_same_weight() -> None:
    scores = score([0, 0, 0, 1], [0, 0, 0, 2], 4)
    assert (scores.wa, scores.ua) == (0.75, 0.5)


def test_a_row_of_the_confusion_matrix_is_a_true_class() -> None:
    assert score([1], [2], 3).confusion == ((0, 0, 0), (0, 0, 1), (0, 0, 0))


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="no predictions"):
        score([], [], 4)
