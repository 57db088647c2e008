"""Intervals by resampling groups, beside draws of whole groups one by one."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pandas import DataFrame
from sklearn.metrics import accuracy_score, balanced_accuracy_score

from mlt_ray.reports.resampling import Counts, groups_of, interval, pooled_ua, pooled_wa

CLASSES = np.array(["angry", "happy", "neutral", "sad"])
NUM_GROUPS = 30


def predictions(seed: int, skill: float, num: int = 600) -> DataFrame:
    """Made-up test predictions of utterances in `NUM_GROUPS` dialogs, some harder than others."""
    drawn = np.random.default_rng(0)
    dialogs = drawn.integers(NUM_GROUPS, size=num)
    emotions = CLASSES[drawn.choice(4, p=[0.1, 0.2, 0.3, 0.4], size=num)]
    ease = drawn.uniform(-0.3, 0.3, NUM_GROUPS)[dialogs]
    own = np.random.default_rng(seed)
    right = own.uniform(size=num) < skill + ease
    predicted = np.where(right, emotions, CLASSES[own.integers(4, size=num)])
    names = [f"d{d}_{n}" for n, d in enumerate(dialogs)]
    return DataFrame({"utterance": names, "emotion": emotions, "predicted": predicted})


def group(utterance: str) -> str:
    return utterance.split("_")[0]


def counts(found: DataFrame) -> Counts:
    return Counts.of(found, {name: group(name) for name in found["utterance"]})


def test_pooled_scores_are_scikit_learn_s() -> None:
    found = predictions(1, 0.6)
    c = counts(found)
    wa = accuracy_score(found["emotion"], found["predicted"])
    assert pooled_wa(c.support.sum(0), c.hits.sum(0)) == pytest.approx(wa)
    ua = balanced_accuracy_score(found["emotion"], found["predicted"])
    assert pooled_ua(c.support.sum(0), c.hits.sum(0)) == pytest.approx(ua)


def test_a_class_that_a_draw_lacks_is_no_part_of_its_ua() -> None:
    support, hits = np.array([[4.0, 0.0, 2.0]]), np.array([[2.0, 0.0, 2.0]])
    assert pooled_ua(support, hits) == pytest.approx([0.75])


@pytest.mark.parametrize(
    ("score", "foreign"), [("wa", accuracy_score), ("ua", balanced_accuracy_score)]
)
def test_an_interval_is_that_of_whole_groups_drawn_one_by_one(score: str, foreign: Any) -> None:
    first, second = predictions(1, 0.6), predictions(2, 0.5)
    by_group = [dict(list(f.groupby(f["utterance"].map(group)))) for f in (first, second)]
    names, drawn, found = sorted(by_group[0]), np.random.default_rng(5), []
    for _ in range(200):
        chosen = drawn.choice(names, len(names))
        scores = []
        for groups in by_group:
            rows = [groups[name] for name in chosen]
            truth = np.concatenate([r["emotion"] for r in rows])
            scores.append(foreign(truth, np.concatenate([r["predicted"] for r in rows])))
        found.append((scores[0], scores[0] - scores[1]))
    low, high = np.quantile(found, [0.025, 0.975], axis=0)
    own = interval(score, counts(first))
    assert (own.low, own.high) == pytest.approx((low[0], high[0]), abs=0.02)
    difference = interval(score, counts(first), counts(second))
    assert (difference.low, difference.high) == pytest.approx((low[1], high[1]), abs=0.02)
    # Groups differ, so single utterances would give a narrower interval.
    alone = Counts.of(first, {name: name for name in first["utterance"]})
    narrow = interval(score, alone)
    assert narrow.high - narrow.low < own.high - own.low


def test_rows_of_other_utterances_are_not_compared() -> None:
    first = counts(predictions(1, 0.6))
    other = counts(predictions(1, 0.6, num=5))
    with pytest.raises(ValueError, match="other test utterances"):
        interval("wa", first, other)


def test_groups_are_dialogs_where_all_have_one_else_speakers() -> None:
    def said(*dialogs: str | None) -> list[Any]:
        return [SimpleNamespace(id=f"u{n}", dialog=d, speaker="s") for n, d in enumerate(dialogs)]

    assert groups_of(said("a", "b")) == ("dialog", {"u0": "a", "u1": "b"})
    assert groups_of(said("a", None)) == ("speaker", {"u0": "s", "u1": "s"})
