"""Scores on another corpus: worked by hand, and beside scikit-learn's."""

from dataclasses import replace
from statistics import fmean, stdev

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from mlt_ray.labels import FOUR
from mlt_ray.reports.cross_corpus.scores import ENSEMBLE, Answers, cross_corpus
from mlt_ray.reports.resampling import Interval
from tests.reports.cross_corpus.elsewhere import ANSWERS, answers, corpus, run_of


def test_the_worked_example_has_the_scores_worked_by_hand() -> None:
    [row] = cross_corpus([answers()]).rows
    assert row.support == (2, 1, 0, 2)
    assert row.absent == ("neutral",)
    assert row.one_answer == {"wa": 2 / 5, "ua": pytest.approx(1 / 3)}
    runs = row.runs
    wa, ua, f1 = (runs.scores[name] for name in ("wa", "ua", "macro_f1"))
    assert wa.mean == pytest.approx(0.5)
    assert ua.mean == pytest.approx(0.5)
    # Macro F1 of fold 2, seed 1: angry 2/3, happy 1, sad 2/3. Of fold 2, seed 2: angry 4/7.
    assert f1.mean == pytest.approx((1 + 7 / 9 + 0 + 4 / 21) / 4)
    assert wa.std_repeats == pytest.approx(stdev([0.8, 0.2]))
    assert wa.std_folds == pytest.approx(0)
    assert ua.std_repeats == pytest.approx(stdev([5 / 6, 1 / 6]))
    assert wa.std_runs == pytest.approx(stdev([1, 3 / 5, 0, 2 / 5]))
    assert runs.confusion == ((5, 0, 3, 0), (1, 2, 1, 0), (0, 0, 0, 0), (2, 0, 3, 3))
    assert runs.recalls == (5 / 8, 2 / 4, None, 3 / 8)
    assert (row.done, row.planned) == (4, 5)


def test_the_ensemble_of_the_worked_example_is_the_mean_of_probabilities() -> None:
    """Angry, angry, sad, neutral, happy: one is wrong, although half of all answers are."""
    made = answers()
    assert list(made.ensemble["predicted"]) == ["angry", "angry", "sad", "neutral", "happy"]
    [row] = cross_corpus([made]).rows
    found = {name: statistic.mean for name, statistic in row.ensemble.scores.items()}
    assert found == {
        "wa": 4 / 5,
        "ua": pytest.approx(5 / 6),
        "macro_f1": pytest.approx((1 + 1 + 2 / 3) / 3),
    }
    assert row.ensemble.scores["wa"].std_repeats is None
    # Confidences (2.3, 1.7, 1.7, 1.3, 1.7) / 4: the wrong one alone in its bin.
    error = (0.425 + 3 * 0.575 + 0.325) / 5
    assert row.ensemble.calibration_error == pytest.approx(error)


def random_answers(seed: int, row: str = "row", num: int = 120) -> Answers:
    """Answers of 15 runs, right more often than not, on a corpus without happy utterances."""
    drawn = np.random.default_rng(seed)
    present = np.array(["angry", "neutral", "sad"])
    true = tuple(present[np.random.default_rng(0).integers(3, size=num)])
    speakers = tuple(f"s{n % 7}" for n in range(num))
    tested = corpus(true, speakers)
    shares = drawn.uniform(size=(15, num, 4))
    shares[:, np.arange(num), tested.labels] += 0.3
    runs = tuple(run_of(fold, s, row) for fold in range(1, 6) for s in (1, 2, 3))
    return Answers(
        name=f"made/{row}",
        runs=runs,
        planned=15,
        own="own",
        corpus=tested,
        probabilities=shares / shares.sum(axis=2, keepdims=True),
    )


def test_scores_are_scikit_learn_s_over_the_classes_that_the_corpus_has() -> None:
    made = random_answers(1)
    true, present = made.corpus.labels, [0, 2, 3]
    [row] = cross_corpus([made]).rows
    answered = made.probabilities.argmax(axis=2)
    foreign = {
        "wa": lambda p: accuracy_score(true, p),
        "ua": lambda p: recall_score(true, p, labels=present, average="macro"),
        "macro_f1": lambda p: f1_score(true, p, labels=present, average="macro"),
    }
    for name, of in foreign.items():
        assert made.scores[name].to_list() == pytest.approx([of(p) for p in answered])
        assert row.runs.scores[name].mean == pytest.approx(fmean(of(p) for p in answered))
        together = made.probabilities.mean(axis=0).argmax(axis=1)
        assert row.ensemble.scores[name].mean == pytest.approx(of(together))
    counts = confusion_matrix(np.tile(true, 15), answered.ravel(), labels=range(4))
    assert np.array_equal(row.runs.confusion, counts)
    recall = recall_score(np.tile(true, 15), answered.ravel(), labels=present, average=None)
    assert [r for r in row.runs.recalls if r is not None] == pytest.approx(list(recall))


def test_a_mean_over_runs_is_the_score_of_their_predictions_together() -> None:
    """So the interval of the one is that of the other."""
    [row] = cross_corpus([random_answers(1)]).rows
    for name in ("wa", "ua"):
        found, ends = row.runs.scores[name], row.runs.intervals[name]
        assert found.pooled == pytest.approx(found.mean)
        assert ends is not None
        assert ends.low < found.mean < ends.high
    assert (row.groups, row.num_groups) == ("speaker", 7)


def test_own_test_scores_are_those_of_the_reports() -> None:
    [row] = cross_corpus([answers()]).rows
    assert row.own["wa"].mean == pytest.approx(fmean([0.6, 0.6, 0.7, 0.7]))
    assert row.own["wa"].std_repeats == pytest.approx(stdev([0.6, 0.7]))
    assert row.own["macro_f1"].mean == pytest.approx(0.96)
    assert row.trained_on == "own"


def test_differences_are_of_the_same_utterances_and_have_the_sign_of_the_first_row() -> None:
    first, other = random_answers(1, "first"), random_answers(2, "other")
    better = replace(other, probabilities=first.probabilities.copy())
    better.probabilities[:, np.arange(120), first.corpus.labels] += 0.2  # right more often
    found = cross_corpus([first, better])
    assert [(d.row, d.other, d.what) for d in found.differences] == [
        ("made/first", "made/other", "runs"),
        ("made/first", "made/other", "ensemble"),
    ]
    for difference in found.differences:
        measured = [getattr(row, difference.what).scores for row in found.rows]
        for name in ("wa", "ua"):
            expected = measured[0][name].mean - measured[1][name].mean
            assert difference.scores[name] == pytest.approx(expected)
            ends = difference.intervals[name]
            assert ends is not None
            assert ends.low <= expected <= ends.high <= 0
            assert ends.low < 0
    same = cross_corpus([first, replace(first, name="made/same")]).differences
    assert all(d.intervals["ua"] == Interval(low=0, high=0) for d in same)


def test_rows_of_other_utterances_or_classes_have_no_difference() -> None:
    made = random_answers(1)
    fewer = random_answers(1, "fewer", num=60)
    named = replace(made.corpus, classes=("angry", "excited", "neutral", "sad"))
    assert cross_corpus([made, fewer]).differences == ()
    assert cross_corpus([made, replace(made, corpus=named)]).differences == ()


def test_a_single_speaker_has_no_interval() -> None:
    alone = answers(tested=corpus(speakers=("s",) * 5))
    [row] = cross_corpus([alone]).rows
    assert row.runs.intervals == {"wa": None, "ua": None}


def test_frames_name_every_run_and_utterance() -> None:
    made = answers()
    assert list(zip(made.scores["fold"], made.scores["seed"], strict=True)) == list(ANSWERS)
    assert len(made.predictions) == 20
    first = made.predictions.iloc[1]
    assert (first["utterance"], first["emotion"], first["predicted"]) == ("u1", "angry", "angry")
    assert [first[f"p_{name}"] for name in FOUR] == pytest.approx([0.7, 0.1, 0.1, 0.1])
    assert set(made.ensemble["run"]) == {ENSEMBLE}


def test_answers_must_fit_runs_utterances_and_classes() -> None:
    made = answers()
    with pytest.raises(ValueError, match=r"made/row: probabilities \(4, 5, 3\)"):
        replace(made, probabilities=made.probabilities[:, :, :3])
