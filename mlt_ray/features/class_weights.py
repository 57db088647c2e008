"""How many times an utterance's loss counts, by its class."""

import numpy as np
import torch
from torch import Tensor


def balanced_weights(labels: np.ndarray, num_classes: int) -> Tensor:
    """(K,) float32 weights of the K classes, from the (N,) labels of a training part.

    N / (K n) for a class with n utterances, as scikit-learn's ``balanced``: all classes count the
    same, and the mean weight of the training part is 1. The labels must have every class, as
    `mlt_ray.corpus.folds.make_folds` sees to.
    """
    counts = np.bincount(labels, minlength=num_classes)
    return torch.as_tensor(len(labels) / (num_classes * counts), dtype=torch.float32)
