"""Weights of classes of unlike size, as scikit-learn has them."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from mlt_ray.features.class_weights import balanced_weights


@pytest.mark.parametrize("counts", [[7, 3, 1, 29], [2, 11], [5, 5, 5]], ids=str)
def test_balanced_weights_are_those_of_scikit_learn(counts: list[int]) -> None:
    labels = np.random.default_rng(3).permutation(np.repeat(np.arange(len(counts)), counts))
    found = balanced_weights(labels, len(counts))
    assert found.dtype == torch.float32
    expected = compute_class_weight("balanced", classes=np.arange(len(counts)), y=labels)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    # All classes count the same, and the training part as much as without weights.
    np.testing.assert_allclose(found.numpy() * counts, sum(counts) / len(counts), rtol=1e-6)
