"""Classical systems on a corpus of forty utterances, beside scikit-learn used directly."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.svm import SVC
from skops import io as skops_io
from skops.io.exceptions import UntrustedTypesFoundException

from mlt_ray.corpus.folds import make_folds
from mlt_ray.corpus.words import tokenize
from mlt_ray.errors import RunFailed
from mlt_ray.features.batching import FoldData
from mlt_ray.features.extras import Vectors, chosen_layers, joined
from mlt_ray.labels import FOUR
from mlt_ray.models.classical.values import ClassicalSpec
from mlt_ray.spec import FeatureSpec, FoldSpec, Run, RunSpec
from mlt_ray.storage.report import PARTS, Epoch
from mlt_ray.storage.store import Store
from mlt_ray.studies.files import study_names
from mlt_ray.studies.study import load_study
from mlt_ray.training import classical
from mlt_ray.training.classical import best_temperature, best_weight, fit_classifiers
from mlt_ray.training.classifiers import WEIGHTS_FILE, Classical
from mlt_ray.training.finish import FinishedRun
from mlt_ray.training.fit import fit_runs

AUDIO_DIM, TEXT_DIM, SPEECH_DIM = 7, 11, 13
LAYER_NOISE = (9.0, 0.5, 5.0)
"""How far a vector lies from its class's point, in each layer of the speech encoder."""

AUDIO = ClassicalSpec(audio="egemaps", audio_c=1.5)
WORDS = ClassicalSpec(text="tfidf", text_c=3)
EMBEDDING = ClassicalSpec(text="embedding", text_c=5)
BOTH = ClassicalSpec(audio="egemaps", text="embedding", audio_c=1.5, text_c=5)
SPEECH = ClassicalSpec(audio="speech", speech_encoder="tiny@1", speech_c=0.05)
SPECS = {
    "egemaps": AUDIO,
    "speech": SPEECH,
    "one layer": replace(SPEECH, speech_layer=-3),
    "speech and embedding": replace(SPEECH, text="embedding", fusion="weighted"),
    "tfidf": WORDS,
    "embedding": EMBEDDING,
    "both": BOTH,
    "weighted": replace(BOTH, fusion="weighted"),
    "egemaps and tfidf": ClassicalSpec(audio="egemaps", text="tfidf"),
}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
CLASSICAL_ROWS = list(
    dict.fromkeys(
        row.model
        for study in study_names()
        for row in load_study(study).rows
        if isinstance(row.model, ClassicalSpec)
    )
)

MakeData = Callable[..., FoldData]


def vectors(raw: Any, dim: int, seed: int, noise: float = 0.8) -> list[np.ndarray]:
    """For each utterance, a (1, dim) vector: its class's point with noise."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(len(FOUR), dim))
    found = [points[FOUR.index(u.emotion)] + noise * rng.normal(size=dim) for u in raw.utterances]
    return [v[None].astype(np.float32) for v in found]


def layers(raw: Any) -> list[np.ndarray]:
    """For each utterance, a (3, SPEECH_DIM) array of layers, the middle one with least noise."""
    each = [vectors(raw, SPEECH_DIM, 3 + n, noise) for n, noise in enumerate(LAYER_NOISE)]
    return [np.concatenate(found) for found in zip(*each, strict=True)]


@pytest.fixture
def data(raw: Any, tmp_path: Path) -> MakeData:
    """The fold of a run, with made-up vectors; `change` may alter them first."""

    def make(run: Run, change: Callable[[dict[str, list[np.ndarray]]], None] = dict) -> FoldData:
        arrays = {
            # eGeMAPS mixes hertz and decibels, and embeddings have length 1.
            "egemaps": [v * 10.0 ** np.arange(-3, 4) for v in vectors(raw, AUDIO_DIM, 1)],
            "sentence_embedding": [v / np.linalg.norm(v) for v in vectors(raw, TEXT_DIM, 2)],
            "speech_layers": layers(raw),
        }
        change(arrays)
        fold = make_folds(raw.corpus, FoldSpec())[run.fold - 1]
        all_layers = chosen_layers(arrays.pop("speech_layers"), "weighted")
        extras = {name: Vectors(joined(values)) for name, values in arrays.items()}
        extras["speech_layers"] = Vectors(all_layers)
        cache = raw.write(tmp_path / "store")
        return FoldData(raw.corpus, fold, run.spec.features, cache, extras)

    return make


def run_of(model: ClassicalSpec, fold: int = 2, seed: int = 7, **features: Any) -> Run:
    spec = RunSpec(corpus="five sessions", model=model, features=FeatureSpec(**features))
    return Run(spec=spec, fold=fold, seed=seed)


def finish(run: Run, data: FoldData, **options: Any) -> FinishedRun:
    (result,) = fit_runs([run], [data], **options)
    assert isinstance(result, FinishedRun)
    return result


def documents(data: FoldData, part: str) -> list[tuple[str, ...]]:
    return [tokenize(data.corpus.utterances[i].text) for i in data.parts[part]]


def inputs_of(data: FoldData, part: str) -> dict[str, Any]:
    """The inputs of classifiers by kind."""
    return {
        "egemaps": data.extra("egemaps", part).astype(np.float64),
        "speech": data.extra("speech_layers", part),
        "embedding": data.extra("sentence_embedding", part).astype(np.float64),
        "tfidf": [" ".join(tokens) for tokens in documents(data, part)],
    }


def without_clock(result: FinishedRun) -> dict[str, Any]:
    values = dataclasses.asdict(result.report)
    for where in (values, *values["curve"]):
        for key in ("started_ms", "ended_ms", "computed_s"):
            where.pop(key, None)
    return values


@every_spec
def test_a_run_leaves_what_the_runs_of_networks_leave(
    spec: ClassicalSpec, data: MakeData, tmp_path: Path
) -> None:
    run, told = run_of(spec), []
    fold = data(run)
    result = finish(run, fold, device="cpu", checkpoints=[None], on_epoch=lambda *a: told.append(a))
    report = result.report
    (epoch,) = report.curve
    assert told == [(run, epoch)]
    assert (report.digest, report.fold, report.seed) == (run.digest, 2, 7)
    assert (report.spec, report.best_epoch, epoch.epoch) == (run.spec.as_dict(), 1, 1)
    assert report.part_sizes == {"train": 24, "dev": 8, "test": 8}
    assert {"device", "threads"} <= set(report.environment)
    for part in PARTS:
        predicted, expected = result.predictions[part], fold.labels(part)
        ids = [fold.corpus.utterances[i].id for i in fold.parts[part]]
        assert list(predicted.utterances) == ids
        np.testing.assert_array_equal(predicted.labels, expected)
        np.testing.assert_allclose(predicted.probabilities.sum(axis=1), 1, atol=1e-12)
        hits = predicted.probabilities.argmax(axis=1) == expected
        assert report.scores[part]["wa"] == hits.mean()
        assert np.sum(report.scores[part]["confusion"]) == 8
    assert (epoch.dev_wa, epoch.dev_ua) == tuple(report.scores["dev"][k] for k in ("wa", "ua"))
    dev = result.predictions["dev"]
    picked = dev.probabilities[np.arange(8), dev.labels]
    assert epoch.dev_loss == pytest.approx(-np.log(picked).mean())

    store = Store(tmp_path / "runs")
    store.write_run(report, result.predictions, result.weights, result.inputs, result.weights_file)
    assert store.is_done(run.digest)
    loaded = Classical.from_bytes((store.run_dir(run.digest) / WEIGHTS_FILE).read_bytes())
    for part in PARTS:
        found = loaded.probabilities(inputs_of(fold, part))
        np.testing.assert_array_equal(found, result.predictions[part].probabilities)


def test_the_train_loss_is_that_of_the_training_part(data: MakeData) -> None:
    run = run_of(BOTH)
    fold = data(run)
    result = finish(run, fold)
    found = fit_classifiers(run, fold).probabilities(inputs_of(fold, "train"))
    picked = found[np.arange(24), fold.labels("train")]
    assert result.report.curve[0].train_loss == pytest.approx(-np.log(picked).mean())


def test_the_audio_is_classified_as_scikit_learn_does(data: MakeData) -> None:
    run = run_of(AUDIO)
    fold = data(run)
    result = finish(run, fold)
    found = {part: fold.extra("egemaps", part).astype(float) for part in ("train", *PARTS)}
    mean, deviation = found["train"].mean(axis=0), found["train"].std(axis=0)
    ready = {part: (values - mean) / deviation for part, values in found.items()}
    labels = fold.labels("train")
    counts = np.bincount(labels, minlength=4)
    weights = dict(enumerate(len(labels) / (4 * counts)))
    machine = SVC(C=1.5, class_weight=weights, break_ties=True).fit(ready["train"], labels)
    everyone = np.arange(8)
    calibrated = CalibratedClassifierCV(
        FrozenEstimator(machine), method="temperature", cv=[(everyone, everyone)]
    ).fit(ready["dev"], fold.labels("dev"))
    for part in PARTS:
        probabilities = result.predictions[part].probabilities
        np.testing.assert_array_equal(probabilities.argmax(axis=1), machine.predict(ready[part]))
        expected = calibrated.predict_proba(ready[part])
        np.testing.assert_allclose(probabilities, expected, atol=2e-3)


def test_the_words_are_classified_as_scikit_learn_does(data: MakeData) -> None:
    run = run_of(WORDS)
    fold = data(run)
    result = finish(run, fold)

    def grams(tokens: tuple[str, ...]) -> list[tuple[str, ...]]:
        return [(t,) for t in tokens] + list(pairwise(tokens))

    counting, weighing = CountVectorizer(analyzer=grams), TfidfTransformer()
    ready = weighing.fit_transform(counting.fit_transform(documents(fold, "train")))
    linear = LogisticRegression(C=3, class_weight="balanced", max_iter=1000)
    linear.fit(ready, fold.labels("train"))
    (classifier,) = Classical.from_bytes(result.weights).classifiers
    assert len(classifier.pipeline[0].vocabulary_) == len(counting.vocabulary_)
    for part in PARTS:
        features = weighing.transform(counting.transform(documents(fold, part)))
        logits = linear.decision_function(features)
        np.testing.assert_allclose(
            result.predictions[part].probabilities,
            softmax(logits / classifier.temperature, axis=1),
            atol=1e-3,
        )


def test_the_embedding_is_classified_as_scikit_learn_does(data: MakeData) -> None:
    run = run_of(EMBEDDING)
    fold = data(run)
    result = finish(run, fold)
    linear = LogisticRegression(C=5, class_weight="balanced", max_iter=1000)
    linear.fit(fold.extra("sentence_embedding", "train").astype(float), fold.labels("train"))
    (classifier,) = Classical.from_bytes(result.weights).classifiers
    for part in PARTS:
        # At temperature 1 the probabilities are the regression's own.
        given = fold.extra("sentence_embedding", part).astype(float)
        own = replace(classifier, temperature=1.0).probabilities(given)
        np.testing.assert_allclose(own, linear.predict_proba(given), atol=1e-6)
        np.testing.assert_array_equal(
            result.predictions[part].probabilities.argmax(axis=1), linear.predict(given)
        )


def regression_on(fold: FoldData, layer: int) -> Any:
    """scikit-learn's own regression on a layer of the training part, with weights worked out."""
    given, labels = (
        fold.extra("speech_layers", "train")[:, layer].astype(float),
        fold.labels("train"),
    )
    counts = np.bincount(labels, minlength=4)
    weights = dict(enumerate(len(labels) / (4 * counts)))
    mean, deviation = given.mean(axis=0), given.std(axis=0)
    linear = LogisticRegression(C=0.05, class_weight=weights, max_iter=1000)
    linear.fit((given - mean) / deviation, labels)

    def probabilities(part: str) -> np.ndarray:
        values = fold.extra("speech_layers", part)[:, layer].astype(float)
        found: np.ndarray = linear.predict_proba((values - mean) / deviation)
        return found

    return probabilities


def test_the_layer_that_dev_chooses_is_classified_as_scikit_learn_does(data: MakeData) -> None:
    run = run_of(SPEECH)
    fold = data(run)
    result = finish(run, fold)
    own = [regression_on(fold, layer) for layer in range(3)]
    labels = fold.labels("dev")
    scores = [balanced_accuracy_score(labels, o("dev").argmax(axis=1)) for o in own]
    assert result.report.details == {"layer": 1, "dev_ua_of_layers": pytest.approx(scores)}
    assert scores[1] > max(scores[0], scores[2])
    (classifier,) = Classical.from_bytes(result.weights).classifiers
    assert list(classifier.dev_ua_of_layers) == result.report.details["dev_ua_of_layers"]
    for part in PARTS:
        # At temperature 1 the probabilities are the regression's own.
        given = fold.extra("speech_layers", part)
        found = replace(classifier, temperature=1.0).probabilities(given)
        np.testing.assert_allclose(found, own[1](part), atol=1e-6)
        np.testing.assert_array_equal(
            result.predictions[part].probabilities.argmax(axis=1), own[1](part).argmax(axis=1)
        )


@pytest.mark.parametrize(("asked", "number"), [(0, 0), (-2, 1), (2, 2), ("last", 2)])
def test_a_layer_that_the_study_names_is_read_alone(
    asked: Any, number: int, data: MakeData
) -> None:
    run = run_of(replace(SPEECH, speech_layer=asked))
    fold = data(run)
    result = finish(run, fold)
    assert result.report.details == {"layer": number}
    expected = regression_on(fold, number)("test")
    found = result.predictions["test"].probabilities
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))


def test_of_layers_that_dev_likes_alike_the_lowest_is_read(data: MakeData) -> None:
    def same(arrays: dict[str, list[np.ndarray]]) -> None:
        arrays["speech_layers"] = [np.repeat(v[1:2], 3, axis=0) for v in arrays["speech_layers"]]

    run = run_of(SPEECH)
    details = finish(run, data(run, same)).report.details
    assert details["layer"] == 0
    assert len(set(details["dev_ua_of_layers"])) == 1


def test_a_system_without_layers_has_no_details(data: MakeData) -> None:
    run = run_of(BOTH)
    assert finish(run, data(run)).report.details == {}


@pytest.mark.parametrize("spread", [0.1, 1.0, 7.0])
def test_the_temperature_has_the_least_loss_of_all(spread: float) -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, 101)
    values = rng.normal(size=(101, 4)) * spread
    values[np.arange(101), labels] += spread
    best = best_temperature(values, labels)
    tried = np.geomspace(0.01, 100, 201)
    losses = {t: log_loss(labels, softmax(values / t, axis=1)) for t in tried}
    assert best == pytest.approx(min(losses, key=losses.__getitem__), rel=0.05)


def test_a_dev_part_without_an_error_has_a_temperature_within_bounds() -> None:
    labels = np.array([0, 1, 2, 3])
    # Below 0.03 the loss is 0 to the last bit.
    assert 0.01 <= best_temperature(np.eye(4), labels) < 0.03
    assert best_temperature(-np.eye(4), labels) == pytest.approx(100, rel=0.1)


def test_a_fusion_is_the_mean_of_its_classifiers(data: MakeData) -> None:
    alone = [finish(run_of(s), data(run_of(s))) for s in (AUDIO, EMBEDDING)]
    both = finish(run_of(BOTH), data(run_of(BOTH)))
    for part in PARTS:
        expected = np.mean([r.predictions[part].probabilities for r in alone], axis=0)
        np.testing.assert_allclose(both.predictions[part].probabilities, expected, atol=1e-12)


def test_a_weighted_fusion_is_never_worse_on_dev_than_its_parts(data: MakeData) -> None:
    weighted = SPECS["weighted"]
    for fold in (1, 2, 3):
        runs = [run_of(s, fold=fold) for s in (AUDIO, EMBEDDING, BOTH, weighted)]
        scores = [finish(r, data(r)).report.scores["dev"]["wa"] for r in runs]
        assert scores[-1] == max(scores)


def test_the_weight_is_that_with_the_best_accuracy_and_of_equals_the_most_even() -> None:
    labels = np.array([0, 1])
    right, wrong = np.eye(4)[[0, 1]], np.eye(4)[[1, 0]]
    assert best_weight(right, right, labels) == 0.5
    assert best_weight(right, wrong, labels) == pytest.approx(0.55)
    assert best_weight(wrong, right, labels) == pytest.approx(0.45)
    # The wrong one is so sure that the right one must count for more than 0.7.
    unsure = np.array([[0.4, 0.0, 0.3, 0.3], [0.0, 0.4, 0.3, 0.3]])
    assert best_weight(unsure, wrong, labels) == pytest.approx(0.75)


@every_spec
def test_seeds_do_not_matter_and_the_same_run_gives_the_same_bits(
    spec: ClassicalSpec, data: MakeData
) -> None:
    one, again = (finish(run_of(spec), data(run_of(spec))) for _ in range(2))
    for part in PARTS:
        np.testing.assert_array_equal(
            one.predictions[part].probabilities, again.predictions[part].probabilities
        )
    assert without_clock(one) == without_clock(again)
    assert not spec.reads_seed
    other = finish(run_of(spec, seed=8), data(run_of(spec, seed=8)))
    for part in PARTS:
        np.testing.assert_array_equal(
            one.predictions[part].probabilities, other.predictions[part].probabilities
        )


@every_spec
def test_the_test_part_changes_nothing_but_its_own_predictions(
    spec: ClassicalSpec, data: MakeData, raw: Any
) -> None:
    run = run_of(spec)
    fold = data(run)
    expected = finish(run, fold)
    hidden = fold.parts["test"]

    def spoil(arrays: dict[str, list[np.ndarray]]) -> None:
        for values in arrays.values():
            for i in hidden:
                values[i] = values[i] * -3 + 5

    for i in hidden:
        words = [("spoilt", ["S"]), (f"word{i}", ["W"])]
        text = " ".join(w for w, _ in words)
        raw.words[text] = words
        raw.utterances[i] = replace(raw.utterances[i], text=text)
    found = finish(run, data(run, spoil))
    assert found.report.curve[0].train_loss == expected.report.curve[0].train_loss
    assert found.report.curve[0].dev_loss == expected.report.curve[0].dev_loss
    dev, test = ([r.predictions[part].probabilities for r in (found, expected)] for part in PARTS)
    np.testing.assert_array_equal(*dev)
    assert not np.allclose(*test)


def test_the_test_part_is_read_once_and_last(
    data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[str] = []
    original = FoldData.extra

    def spying(self: FoldData, name: str, part: str) -> np.ndarray:
        parts.append(part)
        return original(self, name, part)

    monkeypatch.setattr(FoldData, "extra", spying)
    finish(run_of(AUDIO), data(run_of(AUDIO)))
    assert parts.count("test") == 1
    assert parts[-1] == "test"


def retold(raw: Any, texts: Iterator[str]) -> None:
    """Gives every utterance another text."""
    for n, text in enumerate(texts):
        raw.utterances[n] = replace(raw.utterances[n], text=text)
        raw.words[text] = [(token, ["X"]) for token in tokenize(text)]


def test_words_are_those_of_the_row_s_language() -> None:
    source = classical.Readable(
        names=["a"], texts=["Größe 7"], features=FeatureSpec(), extra=lambda name: np.zeros(1)
    )
    german = replace(source, features=FeatureSpec(language="de"))
    read = classical.CLASSIFIER_KINDS["tfidf"].read
    assert read(source) == ["groe seven"]
    assert read(german) == ["größe 7"]


@pytest.mark.parametrize("text", ["", " \t", "字", "..."])
def test_a_corpus_with_nothing_to_read_is_classified_all_the_same(
    data: MakeData, raw: Any, text: str
) -> None:
    retold(raw, iter([text] * 40))
    result = finish(run_of(WORDS), data(run_of(WORDS)))
    found = result.predictions["test"].probabilities
    np.testing.assert_allclose(found, 0.25, atol=0.05)


def test_words_that_training_never_saw_are_classified_all_the_same(
    data: MakeData, raw: Any
) -> None:
    run = run_of(WORDS)
    seen = set(data(run).parts["train"])
    retold(raw, iter([f"seen {n}" if n in seen else "strange" for n in range(40)]))
    result = finish(run, data(run))
    assert np.isfinite(result.predictions["test"].probabilities).all()


def test_tags_and_punctuation_are_words_and_long_texts_are_cut(data: MakeData, raw: Any) -> None:
    retold(raw, iter([f"I [LAUGHTER] don't - 字! number {n} again" for n in range(40)]))
    run = run_of(WORDS, max_words=4)
    (classifier,) = Classical.from_bytes(finish(run, data(run)).weights).classifiers
    singles = {"i", "[laughter]", "don't", "-"}
    pairs = {"i [laughter]", "[laughter] don't", "don't -"}
    assert set(classifier.pipeline[0].vocabulary_) == singles | pairs


def test_a_part_may_lack_a_class(data: MakeData, raw: Any) -> None:
    run = run_of(BOTH)
    fold = data(run)
    for i in (*fold.parts["dev"], *fold.parts["test"]):
        if raw.utterances[i].emotion == "sad":
            raw.utterances[i] = replace(raw.utterances[i], emotion="happy")
    result = finish(run, data(run))
    assert result.report.scores["test"]["confusion"][3] == (0, 0, 0, 0)
    assert np.isfinite(result.report.curve[0].dev_loss)


def test_a_run_with_a_value_that_is_not_finite_fails_alone(data: MakeData, raw: Any) -> None:
    run = run_of(AUDIO)
    broken = data(run).parts["train"][3]

    def spoil(arrays: dict[str, list[np.ndarray]]) -> None:
        arrays["egemaps"][broken][0, 2] = np.nan

    told: list[Epoch] = []
    failure, result = fit_runs(
        [run, run],
        [data(run, spoil), data(run)],
        on_epoch=lambda run, epoch: told.append(epoch),
    )
    assert isinstance(failure, RunFailed)
    name = raw.utterances[broken].id
    assert str(failure) == f"egemaps of utterance {name} is not finite"
    assert isinstance(result, FinishedRun)
    assert len(told) == 1


def test_parameters_are_the_fitted_numbers_that_a_prediction_reads(data: MakeData) -> None:
    counts = {}
    for name in ("egemaps", "speech", "tfidf", "embedding", "both", "weighted"):
        run = run_of(SPECS[name])
        counts[name] = finish(run, data(run)).report.num_parameters
    fitted = Classical.from_bytes(finish(run_of(AUDIO), data(run_of(AUDIO))).weights)
    support = len(fitted.classifiers[0].pipeline[1].support_)
    # Means and deviations; vectors with a coefficient against each other class; six pairs.
    expected = 2 * AUDIO_DIM + support * (AUDIO_DIM + 3) + 6
    assert counts["egemaps"] == expected + 1
    assert counts["embedding"] == 4 * (TEXT_DIM + 1) + 1
    assert counts["speech"] == 2 * SPEECH_DIM + 4 * (SPEECH_DIM + 1) + 1
    words = data(run_of(WORDS))
    grams = {g for t in documents(words, "train") for g in (*t, *pairwise(t))}
    assert counts["tfidf"] == len(grams) * (1 + 4) + 4 + 1
    assert counts["both"] == counts["egemaps"] + counts["embedding"] + 1
    assert counts["weighted"] == counts["both"]


def test_a_file_with_code_in_it_is_refused() -> None:
    content = skops_io.dumps({"classifiers": [], "weights": [], "more": print_it})
    with pytest.raises(UntrustedTypesFoundException):
        Classical.from_bytes(content)


def print_it() -> None:
    """Stands for code that a file of weights must not hold."""


@pytest.mark.parametrize("model", CLASSICAL_ROWS, ids=lambda m: " and ".join(m.inputs))
def test_every_classical_row_that_is_shipped_learns(model: ClassicalSpec, data: MakeData) -> None:
    run = run_of(model)
    result = finish(run, data(run))
    # Chance is 0.25; vectors and words tell the class.
    assert result.report.scores["test"]["wa"] >= 0.5


def test_every_input_of_the_configuration_has_a_classifier() -> None:
    asked = {name for spec in SPECS.values() for name in spec.inputs}
    assert asked == set(classical.CLASSIFIER_KINDS)
