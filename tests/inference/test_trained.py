"""What a stored specification is read as, and what a store must hold of a trained model."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlt_ray.errors import UserError
from mlt_ray.inference.trained import open_trained, read_spec
from mlt_ray.models.classical.values import ClassicalSpec
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.spec import FeatureSpec, FoldSpec, Run, RunSpec, TrainingSpec, decisive
from mlt_ray.storage.store import Store
from mlt_ray.training.weights import WEIGHTS_FILE
from tests.trained_store import trained_store

SPEC = RunSpec(
    corpus="c0ffee",
    model=MultilevelSpec(width=12, num_heads=3),
    folds=FoldSpec(by="speaker", members="abc"),
    features=FeatureSpec(max_words=17, frames_per_step=3),
    training=TrainingSpec(learning_rate=2e-3, max_epochs=7),
)


def stored(spec: RunSpec) -> dict[str, Any]:
    """The specification as a report holds it."""
    values: dict[str, Any] = json.loads(json.dumps(spec.as_dict()))
    return values


def changed(values: Mapping[str, Any], key: str, value: object) -> dict[str, Any]:
    """The values with the one at a dotted key set."""
    first, _, rest = key.partition(".")
    return {**values, first: changed(values[first], rest, value) if rest else value}


@pytest.fixture
def copy(tmp_path: Path) -> Store:
    """A copy of `trained_store`, which a test may damage."""
    return Store(shutil.copytree(trained_store()[0].root, tmp_path / "store"))


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        replace(SPEC, model=ClassicalSpec(text="tfidf")),
        replace(SPEC, classes=("calm", 'a,b "x"'), recipe=5),
        replace(SPEC, features=FeatureSpec(language="de", standardise="speaker")),
    ],
    ids=["network", "classifiers", "two classes", "German"],
)
def test_a_stored_specification_is_read_as_what_it_was(spec: RunSpec) -> None:
    assert read_spec(stored(spec), "run x") == spec


def test_keys_that_an_earlier_version_did_not_have_get_the_values_that_it_computed_with() -> None:
    values = decisive(stored(SPEC))
    assert "classes" not in values
    assert "standardise" not in values["features"]
    assert "warmup_steps" not in values["training"]
    found = read_spec(values, "run x")
    assert found == SPEC
    assert Run(spec=found, fold=2, seed=1).digest == Run(spec=SPEC, fold=2, seed=1).digest


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        (
            "features.max_wods",
            3,
            r"run x, features: unknown key max_wods; did you mean max_words\?",
        ),
        ("training.sharpness", 3, "run x, training: unknown key sharpness; known: learning_rate"),
        ("folds.numbr", 3, r"run x, folds: unknown key numbr; did you mean number\?"),
        ("model.widht", 3, r"run x, model: unknown key widht; did you mean width\?"),
        ("model.system", "multilevl", r"run x, model.*multilevl; did you mean multilevel\?"),
        ("model.width", "12", r"run x, model\.width: expected int, got '12'"),
        ("features.frames.kind", "mel", r"run x, features\.frames\.kind: expected .*mel"),
        ("model.source", "mine.py@12ab", r"run x: expected the file mine\.py@12ab, .* got none"),
    ],
)
def test_what_this_version_does_not_know_is_told(key: str, value: object, says: str) -> None:
    with pytest.raises(UserError, match=f"^{says}"):
        read_spec(changed(stored(SPEC), key, value), "run x")


@pytest.mark.parametrize("key", ["training.learning_rate", "model.width", "recipe"])
def test_a_run_whose_values_give_another_digest_is_refused(copy: Store, key: str) -> None:
    [first, _] = open_trained("study/multilevel", copy).runs
    path = copy.run_dir(first.digest) / "report.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(changed(values, f"spec.{key}", 24)))
    with pytest.raises(UserError, match=f"run {first.digest}: expected a run that this version"):
        open_trained("study/multilevel", copy)


def test_a_run_without_weights_is_told(copy: Store) -> None:
    [first, _] = open_trained("study/xu", copy).runs
    (copy.run_dir(first.digest) / WEIGHTS_FILE).unlink()
    with pytest.raises(UserError, match=rf"{first.digest}: expected .*; .*compute the run again"):
        open_trained("study/xu", copy)


def test_a_row_of_which_no_run_is_finished_is_told(copy: Store) -> None:
    for run in open_trained("study/xu", copy).runs:
        shutil.rmtree(copy.run_dir(run.digest))
    with pytest.raises(UserError, match=r"study/xu: expected finished runs in .*; run it first"):
        open_trained("study/xu", copy)


def test_finished_runs_of_a_row_are_a_model_while_the_others_are_missing(copy: Store) -> None:
    [first, second] = open_trained("study/xu", copy).runs
    shutil.rmtree(copy.run_dir(first.digest))
    left = open_trained("study/xu", copy)
    assert [run.digest for run in left.runs] == [second.digest]
    assert (left.planned, left.name) == (5, "study/xu")


@pytest.mark.parametrize(
    ("row", "is_network", "text", "audio"),
    [
        ("multilevel", True, True, True),
        ("audio only", True, False, True),
        ("text only", True, True, False),
        ("tfidf", False, True, False),
        ("late fusion", False, True, True),
    ],
)
def test_a_model_says_what_it_reads(row: str, is_network: bool, text: bool, audio: bool) -> None:
    model = open_trained(f"study/{row}", trained_store()[0])
    assert (model.is_network, model.reads_text, model.reads_audio) == (is_network, text, audio)


def test_vectors_are_those_of_the_training_corpus_s_words() -> None:
    model = open_trained("study/multilevel", trained_store()[0])
    expected = model.tools.vectors.lookup(["furious", "noon"])
    found = model.vectors_of(["noon", "furious"])
    np.testing.assert_array_equal(found, [expected["noon"], expected["furious"]])
    assert "qwrtz" not in model.vectors
    assert model.vectors_of([]).shape == (0, model.vector_dim) == (0, 50)
    assert replace(model, vectors={}).vectors_of([]).shape == (0, 1)


def test_classifiers_have_no_network_s_weights() -> None:
    [first, _] = open_trained("study/tfidf", trained_store()[0]).runs
    with pytest.raises(TypeError, match=f"run {first.digest}: expected a network, got classifiers"):
        first.network_weights()
