"""Fitted classifiers, their probabilities, and the file that keeps them.

A classifier gives a decision value for each class. Its probabilities are the softmax of
``values / T`` with a temperature T (temperature scaling, Guo et al., 2017). Any T leaves the most
probable class as the classifier chose it; other calibrations of a support vector machine can
change it.

Shapes: N utterances, K classes in the order of the corpus, all of which the training part had.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

WEIGHTS_FILE: Final = "classical.skops"
"""Name of the file in a run's folder with the content `Classical.to_bytes`."""

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

    `kind` names the inputs that it reads, as in `ClassicalSpec.inputs`. Where these have layers, it
    reads one `layer`; `dev_ua_of_layers` is what each gave, if dev has chosen it.
    """

    kind: str
    pipeline: Any
    temperature: float
    layer: int | None = None
    dev_ua_of_layers: tuple[float, ...] = ()

    def probabilities(self, inputs: Any) -> np.ndarray:
        """(N, K) of N inputs of this kind."""
        from scipy.special import softmax

        values = decision_values(self.pipeline, of_layer(inputs, self.layer))
        found: np.ndarray = softmax(values / self.temperature, axis=1)
        return found


def of_layer(inputs: Any, layer: int | None) -> Any:
    """(N, D) float64 of one layer of (N, S, D) inputs; the inputs themselves if it is None."""
    return inputs if layer is None else inputs[:, layer].astype(np.float64)


def decision_values(pipeline: Any, inputs: Any) -> np.ndarray:
    """(N, K) decision values of a fitted pipeline.

    scikit-learn gives one value v for two classes. They are -v/2 and v/2 here, whose softmax is the
    logistic function of v.
    """
    values: np.ndarray = pipeline.decision_function(inputs)
    return values if values.ndim == 2 else np.stack([-values / 2, values / 2], axis=1)


@dataclass(frozen=True, kw_only=True)
class Classical:
    """The fitted classifiers of a run, and their weights, which sum to 1."""

    classifiers: tuple[Classifier, ...]
    weights: tuple[float, ...]

    def probabilities(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """(N, K): the weighted mean of the classifiers' probabilities; inputs by kind."""
        found = [c.probabilities(inputs[c.kind]) for c in self.classifiers]
        return np.average(found, axis=0, weights=self.weights)

    @property
    def num_parameters(self) -> int:
        """The number of fitted values that a prediction reads.

        These are means and deviations, inverse document frequencies, coefficients, intercepts,
        support vectors and temperatures, and the weights of a fusion except one, which follows from
        the others.
        """
        steps = [step for c in self.classifiers for _, step in c.pipeline.steps]
        sizes = [np.size(getattr(s, name)) for s in steps for name in _FITTED if hasattr(s, name)]
        return sum(sizes) + len(self.classifiers) + len(self.weights) - 1

    def details(self) -> dict[str, Any]:
        """The layer that a classifier reads, and dev UA of all layers if dev has chosen it."""
        found: dict[str, Any] = {}
        for c in self.classifiers:
            if c.layer is not None:
                found["layer"] = c.layer
            if c.dev_ua_of_layers:
                found["dev_ua_of_layers"] = list(c.dev_ua_of_layers)
        return found

    def to_bytes(self) -> bytes:
        """The content of a file that `from_bytes` reads; it holds data and no code.

        Two writes of the same fit can differ in their bytes: the format numbers its objects anew.
        """
        from skops import io

        classifiers = [
            {
                "kind": c.kind,
                "pipeline": c.pipeline,
                "temperature": c.temperature,
                "layer": c.layer,
                "dev_ua_of_layers": list(c.dev_ua_of_layers),
            }
            for c in self.classifiers
        ]
        values = {"classifiers": classifiers, "weights": list(self.weights)}
        content: bytes = io.dumps(values, compression=zipfile.ZIP_DEFLATED)
        return content

    @classmethod
    def from_bytes(cls, content: bytes) -> "Classical":
        """Read the content that `to_bytes` gave; types other than scikit-learn's are refused."""
        from skops import io

        values = io.loads(content)
        return cls(
            classifiers=tuple(_classifier(**c) for c in values["classifiers"]),
            weights=tuple(values["weights"]),
        )


def _classifier(dev_ua_of_layers: Sequence[float] = (), **values: Any) -> Classifier:
    return Classifier(**values, dev_ua_of_layers=tuple(dev_ua_of_layers))
