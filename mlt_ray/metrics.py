"""WA, UA, F1 and confusion matrix of a set of predictions.

WA = correct / all; UA = mean over classes of recall. Some papers swap the two names.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of a set of predictions, shares in 0–1.

    `confusion[i][j]` counts utterances of class i that were predicted as class j. UA and macro F1
    are means over the classes that have an utterance.
    """

    wa: float
    ua: float
    macro_f1: float
    confusion: tuple[tuple[int, ...], ...]


def score(labels: ArrayLike, predictions: ArrayLike, num_classes: int) -> Scores:
    """Scores of (N,) predicted class indices against (N,) labels; `ValueError` for N = 0."""
    if np.size(labels) == 0:
        raise ValueError("no predictions to score")
    confusion = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(confusion, (np.asarray(labels), np.asarray(predictions)), 1)
    hits, support = confusion.diagonal(), confusion.sum(axis=1)
    present = support > 0
    recall = hits[present] / support[present]
    f1 = 2 * hits[present] / (support + confusion.sum(axis=0))[present]
    return Scores(
        wa=float(hits.sum() / support.sum()),
        ua=float(recall.mean()),
        macro_f1=float(f1.mean()),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
    )
