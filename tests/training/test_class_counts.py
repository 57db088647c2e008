"""Two to N classes train, alone and in packs, by networks and by scikit-learn."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlt_ray.corpus.folds import make_folds
from mlt_ray.corpus.labelling import select
from mlt_ray.features.batching import FoldData
from mlt_ray.labels import Labels
from mlt_ray.models.classical.values import ClassicalSpec
from mlt_ray.models.xu.values import XuSpec
from mlt_ray.spec import FoldSpec, ModelSpec
from mlt_ray.storage.report import predictions_csv
from mlt_ray.studies.labels import parse_labels
from mlt_ray.training.classifiers import Classical
from mlt_ray.training.finish import FinishedRun
from mlt_ray.training.fit import fit_runs
from tests.training.runs import CPU, MODEL, MakeData, assert_close, finish, run_of

TWO = parse_labels({"loud": ["angry", "happy"], "quiet": ["neutral", "sad"]}, "labels")
THREE = parse_labels(["sad", "happy", "angry"], "labels")
WORDS = ClassicalSpec(text="tfidf")


@pytest.fixture
def labelled(raw: Any, tmp_path: Path) -> Any:
    def make(labels: Labels) -> MakeData:
        corpus, cache = select(raw.corpus, labels), raw.write(tmp_path)
        folds = make_folds(corpus, FoldSpec())
        return lambda run: FoldData(corpus, folds[run.fold - 1], run.spec.features, cache)

    return make


@pytest.mark.parametrize("labels", [TWO, THREE], ids=["two", "three"])
@pytest.mark.parametrize("model", [MODEL, XuSpec(dense_width=5, width=4, num_heads=2), WORDS])
def test_predictions_are_of_the_corpuss_classes(
    model: ModelSpec, labels: Labels, labelled: Any
) -> None:
    data = labelled(labels)
    run = run_of(model=model)
    [result] = fit_runs([run], [data(run)], device=CPU)
    assert isinstance(result, FinishedRun)
    classes = tuple(name for name, _ in labels.classes)
    for part, found in result.predictions.items():
        assert found.classes == classes
        assert found.probabilities.shape == (len(found.utterances), len(classes))
        np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-6)
        assert np.shape(result.report.scores[part]["confusion"]) == (len(classes),) * 2
    header = predictions_csv(result.predictions).splitlines()[0]
    assert header == f"part,utterance,emotion,predicted,{','.join(classes)}"


@pytest.mark.parametrize("labels", [TWO, THREE], ids=["two", "three"])
def test_a_pack_gives_what_its_runs_give_alone(labels: Labels, labelled: Any) -> None:
    data = labelled(labels)
    runs = [run_of(fold=fold) for fold in (1, 2)]
    for packed, run in zip(finish(runs, data), runs, strict=True):
        [alone] = finish([run], data)
        assert_close(packed, alone)


def test_probabilities_of_two_classes_are_scikit_learns(labelled: Any) -> None:
    data = labelled(TWO)
    run = run_of(model=WORDS)
    fold = data(run)
    [result] = fit_runs([run], [fold], device=CPU)
    assert isinstance(result, FinishedRun)
    [classifier] = Classical.from_bytes(result.weights).classifiers
    texts = [u.text.lower() for u in fold.corpus.utterances]
    own = classifier.pipeline.predict_proba(texts)
    # Temperature 1 leaves the logistic function of scikit-learn's decision value.
    np.testing.assert_allclose(
        replace(classifier, temperature=1.0).probabilities(texts), own, atol=1e-12
    )
    assert result.report.scores["test"]["wa"] > 0.9
