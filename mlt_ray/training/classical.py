"""Fits classical systems: on train by scikit-learn, calibrated on dev, test read once.

Dev chooses the temperature of each classifier's probabilities, the best layer of a speech encoder
and the weights of a weighted fusion, as it chooses the epoch of a network. So the dev loss is
slightly too good; dev WA and UA are not, except with such a layer, which UA chooses, or with such
weights, which WA chooses, whatever ``training.select_by`` is.

Nothing is drawn at random: the same fold gives the same numbers with every seed.

Shapes: N utterances, K classes in the order of the corpus, all of which every training part has.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch

from mlt_ray.corpus.words import tokenize
from mlt_ray.encoders.embedding import layer_index
from mlt_ray.errors import RunFailed
from mlt_ray.features.batching import FoldData
from mlt_ray.metrics import score
from mlt_ray.models.classical.values import ClassicalSpec
from mlt_ray.spec import FeatureSpec, Run
from mlt_ray.storage.report import Epoch, Predictions
from mlt_ray.training.classifiers import (
    WEIGHTS_FILE,
    Classical,
    Classifier,
    decision_values,
    of_layer,
)
from mlt_ray.training.finish import FinishedRun, environment, finished_run, milliseconds

TEMPERATURES: Final = (0.01, 100.0)
"""Bounds of a temperature: without them, a dev part without an error would give 0."""

NUM_WEIGHTS: Final = 21
"""Number of weights that a weighted fusion tries: 0, 0.05, …, 1."""

MAX_ITERATIONS: Final = 1000


def _support_vector_machine(spec: ClassicalSpec) -> list[Any]:
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    machine = SVC(C=spec.audio_c, kernel="rbf", class_weight="balanced", break_ties=True)
    return [StandardScaler(), machine]


def _logistic_regression(spec: ClassicalSpec) -> list[Any]:
    from sklearn.linear_model import LogisticRegression

    return [LogisticRegression(C=spec.text_c, class_weight="balanced", max_iter=MAX_ITERATIONS)]


def _word_regression(spec: ClassicalSpec) -> list[Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    # A document is words, punctuation and tags with spaces between.
    words = r"\S+"
    weighing = TfidfVectorizer(token_pattern=words, lowercase=False, ngram_range=(1, spec.ngrams))
    return [weighing, *_logistic_regression(spec)]


def _speech_regression(spec: ClassicalSpec) -> list[Any]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    fit = LogisticRegression(C=spec.speech_c, class_weight="balanced", max_iter=MAX_ITERATIONS)
    return [StandardScaler(), fit]


@dataclass(frozen=True, kw_only=True)
class Readable:
    """What classifiers read of N utterances.

    `extra` gives the (N, …) array of an extra input, as the run standardises it. `texts` are cut
    into words as `features` say. `names` are for messages.
    """

    names: Sequence[str]
    texts: Sequence[str]
    features: FeatureSpec
    extra: Callable[[str], np.ndarray]


def _vectors(name: str) -> Callable[[Readable], np.ndarray]:
    return lambda source: source.extra(name).astype(np.float64)


def _layers(source: Readable) -> np.ndarray:
    return source.extra("speech_layers")


def _documents(source: Readable) -> list[str]:
    features = source.features
    tokens = (tokenize(text, features.language)[: features.max_words] for text in source.texts)
    return [" ".join(words) for words in tokens]


class ClassifierKind(NamedTuple):
    """A kind of classifier: the steps of its pipeline, and how it reads its inputs.

    `has_layers`: the inputs are (N, S, D), those of S layers, of which a classifier reads one.
    """

    steps: Callable[[ClassicalSpec], list[Any]]
    read: Callable[[Readable], Any]
    has_layers: bool = False


CLASSIFIER_KINDS: Final[Mapping[str, ClassifierKind]] = {
    "egemaps": ClassifierKind(_support_vector_machine, _vectors("egemaps")),
    "speech": ClassifierKind(_speech_regression, _layers, has_layers=True),
    "tfidf": ClassifierKind(_word_regression, _documents),
    "embedding": ClassifierKind(_logistic_regression, _vectors("sentence_embedding")),
}


def train(
    runs: Sequence[Run],
    data: Sequence[FoldData],
    *,
    on_epoch: Callable[[Run, Epoch], None] = lambda run, epoch: None,
    **_: Any,
) -> list[FinishedRun | RunFailed]:
    """Fit runs one after the other; `data[i]` is the fold of `runs[i]`.

    A run has one epoch. The other options of `mlt_ray.training.loop.train` (device, checkpoints,
    …) are accepted and ignored: a fit takes seconds on the CPU. A run that cannot be fitted gives a
    `RunFailed` in its place, and the others go on.
    """
    results: list[FinishedRun | RunFailed] = []
    for run, fold in zip(runs, data, strict=True):
        try:
            results.append(_train_one(run, fold, on_epoch))
        except RunFailed as failure:
            results.append(failure)
    return results


def _train_one(run: Run, data: FoldData, on_epoch: Callable[[Run, Epoch], None]) -> FinishedRun:
    from sklearn.metrics import log_loss

    started_ms, started = milliseconds(), time.perf_counter()
    fitted = fit_classifiers(run, data)
    train_part, dev = (predict(fitted, run, data, part) for part in ("train", "dev"))
    losses = [
        float(log_loss(p.labels, p.probabilities, labels=range(len(p.classes))))
        for p in (train_part, dev)
    ]
    dev_scores = dev.scores()
    epoch = Epoch(
        epoch=1,
        train_loss=losses[0],
        dev_loss=losses[1],
        dev_wa=dev_scores.wa,
        dev_ua=dev_scores.ua,
        dev_macro_f1=dev_scores.macro_f1,
        ended_ms=milliseconds(),
    )
    computed_s = time.perf_counter() - started
    on_epoch(run, epoch)
    return finished_run(
        run,
        predictions={"dev": dev, "test": predict(fitted, run, data, "test")},
        curve=(epoch,),
        best_epoch=1,
        part_sizes={part: len(ids) for part, ids in data.parts.items()},
        num_parameters=fitted.num_parameters,
        started_ms=started_ms,
        computed_s=computed_s,
        environment=environment(torch.device("cpu")),
        weights=fitted.to_bytes(),
        inputs=data.all_fitted.as_dict(),
        weights_file=WEIGHTS_FILE,
        details=fitted.details(),
    )


def fit_classifiers(run: Run, data: FoldData) -> Classical:
    """Fit a run's classifiers on train, then their temperatures and fusion weights on dev.

    `RunFailed` if an input is not finite.
    """
    spec = run.spec.model
    if not isinstance(spec, ClassicalSpec):
        raise TypeError(f"expected a ClassicalSpec, got {type(spec).__name__}")
    classifiers = [_fit(kind, run, data, spec) for kind in spec.inputs]
    alike = (1 / len(classifiers),) * len(classifiers)
    fitted = Classical(classifiers=tuple(classifiers), weights=alike)
    if spec.fusion == "mean" or len(classifiers) == 1:
        return fitted
    found = [c.probabilities(_read(c.kind, run, data, "dev")) for c in classifiers]
    first = best_weight(found[0], found[1], data.labels("dev"))
    return dataclasses.replace(fitted, weights=(first, 1 - first))


def _fit(kind: str, run: Run, data: FoldData, spec: ClassicalSpec) -> Classifier:
    """The classifier of one kind, fitted on train; dev chooses its temperature and layer."""
    train, dev = (_read(kind, run, data, part) for part in ("train", "dev"))
    labels, dev_labels = data.labels("train"), data.labels("dev")
    layers: Sequence[int | None] = [None]
    if CLASSIFIER_KINDS[kind].has_layers:
        num_layers = train.shape[1]
        layers = range(num_layers)
        if spec.speech_layer != "best":
            layers = [layer_index(spec.speech_layer, num_layers)]
    fits = []
    for layer in layers:
        pipeline = make_pipeline_of(kind, spec).fit(of_layer(train, layer), labels)
        values = decision_values(pipeline, of_layer(dev, layer))
        ua = score(dev_labels, values.argmax(axis=1), values.shape[1]).ua
        fits.append((layer, pipeline, values, ua))
    layer, pipeline, values, _ = max(fits, key=lambda fit: fit[-1])  # of equals the first
    return Classifier(
        kind=kind,
        pipeline=pipeline,
        temperature=best_temperature(values, dev_labels),
        layer=layer,
        dev_ua_of_layers=tuple(fit[-1] for fit in fits) if len(fits) > 1 else (),
    )


def make_pipeline_of(kind: str, spec: ClassicalSpec) -> Any:
    """The pipeline of one kind, not fitted."""
    from sklearn.pipeline import make_pipeline

    return make_pipeline(*CLASSIFIER_KINDS[kind].steps(spec))


def predict(fitted: Classical, run: Run, data: FoldData, part: str) -> Predictions:
    """Predictions for a part, in the part's order."""
    inputs = {c.kind: _read(c.kind, run, data, part) for c in fitted.classifiers}
    return Predictions(
        utterances=tuple(data.corpus.utterances[i].id for i in data.parts[part]),
        classes=data.corpus.classes,
        labels=data.labels(part),
        probabilities=fitted.probabilities(inputs),
    )


def _read(kind: str, run: Run, data: FoldData, part: str) -> Any:
    utterances = [data.corpus.utterances[i] for i in data.parts[part]]
    return read_inputs(
        kind,
        Readable(
            names=[u.id for u in utterances],
            texts=[u.text for u in utterances],
            features=run.spec.features,
            extra=lambda name: data.extra(name, part),
        ),
    )


def read_inputs(kind: str, source: Readable) -> Any:
    """What a classifier of a kind reads; `RunFailed` if an input is not finite."""
    inputs = CLASSIFIER_KINDS[kind].read(source)
    if isinstance(inputs, np.ndarray) and not np.isfinite(inputs).all():
        finite = np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1)
        name = source.names[int(np.flatnonzero(~finite)[0])]
        raise RunFailed(f"{kind} of utterance {name} is not finite")
    return inputs


def best_temperature(values: np.ndarray, labels: np.ndarray) -> float:
    """The temperature within `TEMPERATURES` with the least log loss of (N, K) decision values."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def loss(log_temperature: float) -> float:
        logs = log_softmax(values / np.exp(log_temperature), axis=1)
        return -float(np.take_along_axis(logs, labels[:, None], axis=1).mean())

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(found.x))


def best_weight(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> float:
    """The weight of `first`, in the weighted mean of two (N, K) probabilities, with the best WA.

    Of equally good weights, the one nearest to 0.5.
    """

    def rank(weight: float) -> tuple[float, float]:
        mean = weight * first + (1 - weight) * second
        return float((mean.argmax(axis=1) == labels).mean()), -abs(weight - 0.5)

    return float(max(np.linspace(0, 1, NUM_WEIGHTS), key=rank))
