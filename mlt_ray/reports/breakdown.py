"""A row's test predictions by class, by speaker and by kind of speech, and how sure they are.

Shapes: N predictions, K classes.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from mlt_ray.corpus.utterance import Utterance
from mlt_ray.metrics import score

if TYPE_CHECKING:
    from pandas import DataFrame

NUM_BINS: Final = 15
"""Bins of equal width between 0 and 1 for the calibration error (Guo et al., 2017)."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The scores of some of a row's test predictions; `num` counts utterances, each once."""

    name: str
    num: int
    wa: float
    ua: float


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How often predictions are right that claim to be right with some probability.

    `error` (ECE) is the mean over predictions of |confidence − accuracy| of their bin, 0–1.
    `confidence`, `accuracy` and `num` are those of each bin that has a prediction.
    """

    error: float
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    num: tuple[int, ...]


KINDS: Final[Mapping[str, Callable[[Utterance], str | None]]] = {
    "speaker": lambda utterance: utterance.speaker,
    "kind of speech": lambda utterance: kind_of_speech(utterance),
}
"""What predictions are divided by, and the part that an utterance belongs to (None: to none)."""


def kind_of_speech(utterance: Utterance) -> str | None:
    """``improvised`` or ``scripted`` by the name of an IEMOCAP dialog; None for other corpora."""
    found = re.search(r"_(impro|script)\d", utterance.dialog or "")
    return {"impro": "improvised", "script": "scripted"}[found[1]] if found else None


def parts_of(
    predictions: "DataFrame", utterances: Mapping[str, Utterance], kind: str
) -> tuple[Part, ...]:
    """Scores of a row's test predictions in each part of one of `KINDS`; `utterances` by id."""
    part_of = {name: KINDS[kind](utterance) for name, utterance in utterances.items()}
    found = predictions.assign(of=predictions["utterance"].map(part_of)).dropna(subset="of")
    return tuple(_part(str(name), rows) for name, rows in found.groupby("of"))


def _part(name: str, predictions: "DataFrame") -> Part:
    from pandas import factorize

    values = np.concatenate([predictions["emotion"], predictions["predicted"]])
    codes, classes = factorize(values)
    labels, predicted = np.split(codes, 2)
    found = score(labels, predicted, len(classes))
    return Part(name=name, num=predictions["utterance"].nunique(), wa=found.wa, ua=found.ua)


def recalls(confusion: np.ndarray) -> tuple[float | None, ...]:
    """Recall of each class by a (K, K) confusion matrix; None for a class without utterances."""
    support = confusion.sum(axis=1)
    return tuple(
        float(hits / count) if count else None
        for hits, count in zip(confusion.diagonal(), support, strict=True)
    )


def calibration_of(predictions: "DataFrame") -> Calibration:
    """Calibration of a row's test predictions by the probability of the predicted class."""
    shares = predictions[[c for c in predictions.columns if c.startswith("p_")]]
    confidence = shares.max(axis=1).to_numpy()
    right = (predictions["emotion"] == predictions["predicted"]).to_numpy(float)
    bins = np.minimum((confidence * NUM_BINS).astype(int), NUM_BINS - 1)
    num = np.bincount(bins, minlength=NUM_BINS)
    used = num > 0
    means = [np.bincount(bins, v, NUM_BINS)[used] / num[used] for v in (confidence, right)]
    gaps = np.abs(means[0] - means[1])
    return Calibration(
        error=float((gaps * num[used]).sum() / num.sum()),
        confidence=tuple(map(float, means[0])),
        accuracy=tuple(map(float, means[1])),
        num=tuple(int(n) for n in num[used]),
    )


def always_wrong(predictions: "DataFrame") -> "DataFrame":
    """Utterances that no run has got right: ``utterance, emotion, runs``, and what was heard.

    Rows of other labels may call it otherwise; right under one of them is right.

    `predictions` are test predictions of any rows. ``predicted`` is the most frequent answer, and
    ``share`` how many of the runs gave it. Those that most runs have tested come first.
    """
    right = predictions["emotion"] == predictions["predicted"]
    tested = predictions.assign(right=right).groupby("utterance")
    wrong = predictions[~tested["right"].transform("any")]
    if wrong.empty:
        return wrong[["utterance", "emotion"]].assign(runs=[], predicted=[], share=[])
    found = wrong.groupby(["utterance", "emotion"])["predicted"].agg(
        runs="size", predicted=lambda p: p.mode()[0], share=lambda p: (p == p.mode()[0]).mean()
    )
    return found.reset_index().sort_values(["runs", "share"], ascending=False, kind="stable")
