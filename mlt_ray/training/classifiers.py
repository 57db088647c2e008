"""Fitted classifiers with probabilities, their mean, and how both are kept in a file.

A classifier gives a decision value a class, and the softmax of ``values / T`` its probabilities:
temperature scaling (Guo et al., 2017). Whatever T is, the most probable class is the classifier's
own; other calibrations of a support vector machine can prefer another one.

Shapes: N utterances, 4 classes in the order of `CLASSES`, all of which were seen in the fit.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

WEIGHTS_FILE: Final = "classical.skops"
"""What `Classical.to_bytes` is called in a run's folder."""

_FITTED: Final = (
    "mean_",
    "scale_",
    "idf_",
    "coef_",
    "intercept_",
    "support_vectors_",
    "dual_coef_",
)


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A fitted pipeline of scikit-learn, and the temperature of its probabilities.

    `kind` names the inputs that it reads, as in `ClassicalSpec.inputs`.
    """

    kind: str
    pipeline: Any
    temperature: float

    def probabilities(self, inputs: Any) -> np.ndarray:
        """(N, 4) of N inputs of this kind."""
        from scipy.special import softmax

        values = self.pipeline.decision_function(inputs)
        found: np.ndarray = softmax(values / self.temperature, axis=1)
        return found


@dataclass(frozen=True, kw_only=True)
class Classical:
    """All that a run has fitted: its classifiers, and their weights, which sum to 1."""

    classifiers: tuple[Classifier, ...]
    weights: tuple[float, ...]

    def probabilities(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """(N, 4): the weighted mean of the classifiers' probabilities; inputs by kind."""
        found = [c.probabilities(inputs[c.kind]) for c in self.classifiers]
        return np.average(found, axis=0, weights=self.weights)

    @property
    def num_parameters(self) -> int:
        """Fitted numbers that a prediction reads.

        Means and deviations, inverse document frequencies, coefficients, intercepts and support
        vectors; and of a fusion the weights but one, which follows from the others.
        """
        steps = [step for c in self.classifiers for _, step in c.pipeline.steps]
        sizes = [np.size(getattr(s, name)) for s in steps for name in _FITTED if hasattr(s, name)]
        return sum(sizes) + len(self.classifiers) + len(self.weights) - 1

    def to_bytes(self) -> bytes:
        """Content of a file that `from_bytes` reads: data and no code.

        The same fit need not give the same bytes, since the format numbers what it holds anew.
        """
        from skops import io

        classifiers = [
            {"kind": c.kind, "pipeline": c.pipeline, "temperature": c.temperature}
            for c in self.classifiers
        ]
        values = {"classifiers": classifiers, "weights": list(self.weights)}
        content: bytes = io.dumps(values, compression=zipfile.ZIP_DEFLATED)
        return content

    @classmethod
    def from_bytes(cls, content: bytes) -> "Classical":
        """What `to_bytes` wrote; it is refused if it holds more than scikit-learn's own types."""
        from skops import io

        values = io.loads(content)
        return cls(
            classifiers=tuple(Classifier(**c) for c in values["classifiers"]),
            weights=tuple(values["weights"]),
        )
