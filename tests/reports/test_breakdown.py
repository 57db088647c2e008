"""Breakdowns of test predictions, beside scikit-learn."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pandas import DataFrame
from sklearn import metrics
from sklearn.calibration import calibration_curve

from mlt_ray.reports.breakdown import (
    NUM_BINS,
    always_wrong,
    calibration_of,
    kind_of_speech,
    parts_of,
    recalls,
)

CLASSES = ["angry", "happy", "sad"]


def predictions(num: int = 900) -> DataFrame:
    drawn = np.random.default_rng(4)
    shares = drawn.dirichlet([0.4] * 3, num)
    truth = np.where(drawn.uniform(size=num) < 0.6, shares.argmax(1), drawn.integers(3, size=num))
    values = {
        "utterance": [f"u{n % 300}" for n in range(num)],
        "emotion": np.array(CLASSES)[truth],
        "predicted": np.array(CLASSES)[shares.argmax(1)],
    }
    return DataFrame({**values, **{f"p_{name}": shares[:, k] for k, name in enumerate(CLASSES)}})


def utterances() -> dict[str, Any]:
    return {
        f"u{n}": SimpleNamespace(
            speaker=f"s{n % 4}",
            dialog="Ses01F_impro03" if n % 3 else "Ses01F_script01_2",
        )
        for n in range(300)
    }


def test_recalls_are_scikit_learn_s() -> None:
    found = predictions()
    confusion = metrics.confusion_matrix(found["emotion"], found["predicted"], labels=CLASSES)
    foreign = metrics.recall_score(
        found["emotion"], found["predicted"], labels=CLASSES, average=None
    )
    assert recalls(confusion) == pytest.approx(tuple(foreign))
    assert recalls(np.array([[0, 0], [1, 3]])) == (None, 0.75)


@pytest.mark.parametrize(
    ("kind", "names"),
    [("speaker", ["s0", "s1", "s2", "s3"]), ("kind of speech", ["improvised", "scripted"])],
)
def test_parts_have_scikit_learn_s_scores(kind: str, names: list[str]) -> None:
    found, told = predictions(), utterances()
    parts = parts_of(found, told, kind)
    assert [part.name for part in parts] == names
    for part in parts:
        own = {u for u, info in told.items() if part.name in (info.speaker, kind_of_speech(info))}
        rows = found[found["utterance"].isin(own)]
        assert part.num == len(own)
        assert part.wa == pytest.approx(metrics.accuracy_score(rows["emotion"], rows["predicted"]))
        ua = metrics.balanced_accuracy_score(rows["emotion"], rows["predicted"])
        assert part.ua == pytest.approx(ua)


@pytest.mark.parametrize("dialog", [None, "", "d17", "a script", "dia_improved"])
def test_only_iemocap_says_what_is_improvised(dialog: str | None) -> None:
    assert kind_of_speech(SimpleNamespace(dialog=dialog)) is None  # type: ignore[arg-type]


def test_the_curve_of_calibration_is_scikit_learn_s() -> None:
    rows = predictions()
    found = calibration_of(rows)
    confidence = rows[[f"p_{name}" for name in CLASSES]].max(axis=1)
    right = rows["emotion"] == rows["predicted"]
    accuracy, mean = calibration_curve(right, confidence, n_bins=NUM_BINS)
    assert found.accuracy == pytest.approx(tuple(accuracy))
    assert found.confidence == pytest.approx(tuple(mean))
    assert sum(found.num) == len(rows)
    gaps = sum(n * abs(a - c) for n, a, c in zip(found.num, accuracy, mean, strict=True))
    assert found.error == pytest.approx(gaps / len(rows))


def test_a_calibration_worked_by_hand() -> None:
    """Three of four at 0.9 and none of two at 0.5 are right: (4 × 0.15 + 2 × 0.5) / 6."""
    rows = DataFrame(
        {
            "emotion": ["a", "a", "a", "b", "b", "b"],
            "predicted": ["a", "a", "a", "a", "a", "a"],
            "p_a": [0.9, 0.9, 0.9, 0.9, 0.5, 0.5],
            "p_b": [0.1, 0.1, 0.1, 0.1, 0.5, 0.5],
        }
    )
    found = calibration_of(rows)
    assert found.error == pytest.approx((4 * 0.15 + 2 * 0.5) / 6)
    assert found.num == (2, 4)
    certain = rows.assign(p_a=1.0, p_b=0.0)
    assert calibration_of(certain).confidence == (1.0,)


def test_what_every_run_gets_wrong() -> None:
    rows = [
        ("x", "sad", "sad"), ("x", "sad", "happy"),
        ("y", "sad", "happy"), ("y", "sad", "happy"), ("y", "sad", "angry"),
        ("z", "happy", "angry"),
    ]  # fmt: skip
    found = always_wrong(DataFrame(rows, columns=["utterance", "emotion", "predicted"]))
    assert found.to_dict("records") == [
        {"utterance": "y", "emotion": "sad", "runs": 3, "predicted": "happy", "share": 2 / 3},
        {"utterance": "z", "emotion": "happy", "runs": 1, "predicted": "angry", "share": 1.0},
    ]
    none = always_wrong(DataFrame(rows[:1], columns=["utterance", "emotion", "predicted"]))
    assert list(none.columns) == list(found.columns)
    assert none.empty
