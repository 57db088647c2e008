"""Fitted classifiers of scikit-learn as torch modules with the same numbers, to be traced.

Shapes: M runs, B utterances, D values, K classes.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from mlt_ray.errors import UserError
from mlt_ray.features.fitted import FittedExtra
from mlt_ray.inference.ensemble import Inputs
from mlt_ray.inference.trained import TrainedModel, TrainedRun
from mlt_ray.training.classifiers import Classical, Classifier

READ: Final[Mapping[str, str]] = {
    "egemaps": "egemaps",
    "speech": "speech_layers",
    "embedding": "sentence_embedding",
}
"""The extra input that each kind of classifier reads; ``tfidf`` reads words and is not here."""


def classified(model: TrainedModel, inputs: Inputs) -> np.ndarray:
    """(M, B, K) probabilities of M runs, by scikit-learn."""
    found = []
    for run in model.runs:
        assert isinstance(run.weights, Classical)
        given = {}
        for c in run.weights.classifiers:
            name = READ[c.kind]
            values = run.fitted.extras[name].standardised(inputs.extras[name].numpy())
            given[c.kind] = values if c.layer is not None else values.astype(np.float64)
        found.append(run.weights.probabilities(given))
    return np.stack(found)


class Classifiers(nn.Module):
    """A run's classifiers: (B, K) probabilities, their weighted mean, in float64."""

    def __init__(self, run: TrainedRun) -> None:
        """`UserError` for a classifier that reads texts."""
        super().__init__()
        fitted = run.weights
        if not isinstance(fitted, Classical):
            raise TypeError(f"run {run.digest}: expected classifiers, got a network")
        for classifier in fitted.classifiers:
            if classifier.kind not in READ:
                raise UserError(
                    f"run {run.digest}: expected classifiers of vectors, got {classifier.kind}, "
                    "which reads texts and is no graph of ONNX; predict with mlt-ray predict"
                )
        extras = run.fitted.extras
        self.parts = nn.ModuleList(Scaled(c, extras[READ[c.kind]]) for c in fitted.classifiers)
        self.weights = tuple(fitted.weights)

    def forward(self, inputs: Inputs) -> Tensor:
        found = [part(inputs) * w for part, w in zip(self.parts, self.weights, strict=True)]
        return torch.stack(found).sum(dim=0)


class Scaled(nn.Module):
    """One classifier: softmax of its decision values divided by its temperature, (B, K)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, classifier: Classifier, extra: FittedExtra) -> None:
        super().__init__()
        self.name = READ[classifier.kind]
        self.layer = classifier.layer
        self.temperature = classifier.temperature
        self.moments = extra.moments is not None
        if extra.moments is not None:
            for name, values in zip(("mean", "deviation"), extra.moments, strict=True):
                self.register_buffer(name, torch.from_numpy(values))
        self.steps = nn.Sequential(
            *(STEPS[type(step).__name__](step) for _, step in classifier.pipeline.steps)
        )

    def forward(self, inputs: Inputs) -> Tensor:
        values = inputs.extras[self.name]
        if self.moments:
            values = (values - self.mean) / self.deviation
        if self.layer is not None:
            values = values[:, self.layer]
        found: Tensor = self.steps(values.double()) / self.temperature
        return found.softmax(dim=-1)


class Standard(nn.Module):
    """`StandardScaler`: (B, D) → (B, D)."""

    mean: Tensor
    scale: Tensor

    def __init__(self, fitted: Any) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(fitted.mean_))
        self.register_buffer("scale", torch.from_numpy(fitted.scale_))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.scale


class Logistic(nn.Module):
    """`LogisticRegression`: (B, D) → (B, K) decision values."""

    weight: Tensor
    bias: Tensor

    def __init__(self, fitted: Any) -> None:
        super().__init__()
        weight, bias = fitted.coef_, fitted.intercept_
        if len(weight) == 1:
            weight, bias = (np.concatenate([-x / 2, x / 2]) for x in (weight, bias))
        self.register_buffer("weight", torch.from_numpy(weight.astype(np.float64)))
        self.register_buffer("bias", torch.from_numpy(bias.astype(np.float64)))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T + self.bias


class Machine(nn.Module):
    """`SVC` with an RBF kernel: (B, D) → (B, K) decision values.

    Each pair of classes has a machine of its own. The value of a class is the number of pairs that
    it wins, and a share of a third at most by how clearly (scikit-learn's ``ovr``).
    """

    vectors: Tensor
    weight: Tensor
    bias: Tensor
    first: Tensor
    second: Tensor

    def __init__(self, fitted: Any) -> None:
        """The pairs are read from libsvm's table of coefficients (its FAQ, "sv_coef")."""
        super().__init__()
        num_classes = len(fitted.classes_)
        ends = np.cumsum(fitted.n_support_)
        of_class = [slice(end - n, end) for end, n in zip(ends, fitted.n_support_, strict=True)]
        pairs = [(i, j) for i in range(num_classes) for j in range(i + 1, num_classes)]
        weight = np.zeros((len(pairs), ends[-1]))
        for row, (i, j) in zip(weight, pairs, strict=True):
            row[of_class[i]] = fitted.dual_coef_[j - 1, of_class[i]]
            row[of_class[j]] = fitted.dual_coef_[i, of_class[j]]
        first, second = (np.eye(num_classes)[[pair[n] for pair in pairs]] for n in (0, 1))
        self.gamma = float(fitted._gamma)
        self.is_pair = num_classes == 2
        buffers = {
            "vectors": fitted.support_vectors_,
            "weight": weight,
            "bias": fitted.intercept_,
            "first": first,
            "second": second,
        }
        for name, values in buffers.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(values, np.float64)))

    def forward(self, x: Tensor) -> Tensor:
        squares = (x[:, None] - self.vectors).square().sum(dim=2)
        values = (-self.gamma * squares).exp() @ self.weight.T + self.bias
        if self.is_pair:
            return torch.cat([-values, values], dim=1) / 2  # the sign of two classes is turned
        lost = (values < 0).double()
        votes = (1 - lost) @ self.first + lost @ self.second
        surplus = values @ self.first - values @ self.second
        return votes + surplus / (3 * (surplus.abs() + 1))


STEPS: Final[Mapping[str, Callable[[Any], nn.Module]]] = {
    "StandardScaler": Standard,
    "LogisticRegression": Logistic,
    "SVC": Machine,
}
"""The module of each class of scikit-learn that a pipeline has."""
