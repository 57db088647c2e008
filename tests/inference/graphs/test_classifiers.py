"""Classifiers as torch modules give scikit-learn's decision values and probabilities."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import nn

from mlt_ray.inference.graphs.classifiers import STEPS
from mlt_ray.training.classifiers import decision_values

MODELS = {
    "support vector machine": SVC(kernel="rbf", class_weight="balanced", break_ties=True),
    "logistic regression": LogisticRegression(class_weight="balanced"),
}


@pytest.mark.parametrize("num_classes", [2, 3, 4, 7])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_decision_values_are_scikit_learn_s(model: Any, num_classes: int) -> None:
    generator = np.random.default_rng(num_classes)
    labels = generator.integers(0, num_classes, 113)
    vectors = generator.normal(size=(113, 5))
    vectors[:, 0] += labels
    pipeline = make_pipeline(StandardScaler(), model).fit(vectors, labels)
    others = 2 * generator.normal(size=(101, 5))
    steps = nn.Sequential(*(STEPS[type(step).__name__](step) for _, step in pipeline.steps))
    found = steps(torch.from_numpy(others)).numpy()
    np.testing.assert_allclose(found, decision_values(pipeline, others), atol=1e-12)
