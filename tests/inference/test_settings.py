"""Rows that read encoders, and rows of odd settings, predict what their runs said of test."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlt_ray.corpus.utterance import Corpus
from mlt_ray.inference.load import load
from mlt_ray.planning.contents import Pretrained
from mlt_ray.storage.store import Store
from tests.kept_folder import kept_folder
from tests.tiny_encoder import write_encoder
from tests.tiny_speech_encoder import write_speech_encoder
from tests.trained_store import SMALL, TEXTS, corpus_with_words, scores_of, study_of, train_rows

pytestmark = pytest.mark.slow

SIX_DIGITS = 0.51e-6
"""Half of the last digit of predictions.csv."""

GERMAN = ("Lass das, du Zwerg!", "Schön, dass du kommst.", "Das Stück Papier.", "", "[LACHEN] so")

HEARD = {"system": "speech", "speech_encoder": "heard"}
READ = {"system": "bert", "encoder": "read"}
STATES = {"kind": "encoder", "encoder": "heard"}
TRAINING = {"max_epochs": 2, "learning_rate": 3e-3}
TUNED = {**TRAINING, "encoder_learning_rate": 1e-3, "warmup_steps": 3}
AUDIO, BOTH, WORDS = SMALL["audio only"], SMALL["multilevel"], SMALL["tfidf"]
SPEAKER = {"standardise": "speaker"}

ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "weighted pooled layers": (HEARD, {}),
    "weighted pooled layers, by speaker": (HEARD, {"features": SPEAKER}),
    "one pooled layer": ({**HEARD, "speech_layer": -2, "hidden_width": 7}, {}),
    "states": ({**HEARD, "head": "states", "hidden_width": 7}, {}),
    "last states": ({**HEARD, "head": "states", "hidden_width": 7, "speech_layer": "last"}, {}),
    "last block tuned": ({**HEARD, "fine_tune": "last_n", "last_n": 1}, {"training": TUNED}),
    "adapters": ({**HEARD, "fine_tune": "lora", "lora_rank": 2}, {"training": TUNED}),
    "weighted frames": (BOTH, {"features": {"frames": STATES, "frames_per_step": 2}}),
    "weighted frames, by speaker": (AUDIO, {"features": {"frames": STATES, **SPEAKER}}),
    "one layer as frames": (AUDIO, {"features": {"frames": {**STATES, "layer": 1}}}),
    "aligned frames": (SMALL["li"], {"features": {"frames": {**STATES, "layer": "last"}}}),
    "classifiers of layers": (
        {"system": "classical", "audio": "speech", "speech_encoder": "heard"},
        {},
    ),
    "classifiers of both, by speaker": (
        {
            "system": "classical",
            "audio": "speech",
            "speech_encoder": "heard",
            "text": "embedding",
        },
        {"features": SPEAKER},
    ),
    "frozen text encoder": ({**READ, "fine_tune": False, "pool": "mean"}, {}),
    "text encoder tuned": ({**READ, "fine_tune": "last_n", "last_n": 1}, {"training": TUNED}),
    "text encoder with adapters": (
        {**READ, "fine_tune": "lora", "lora_rank": 2},
        {"training": TUNED},
    ),
    "multigranularity": (
        {
            "system": "multigranularity",
            "encoder": "read",
            "multilevel": {"width": 12, "num_heads": 2},
        },
        {"training": TUNED},
    ),
    "multigranularity of two frozen encoders": (
        {
            "system": "multigranularity",
            "encoder": "read",
            "fine_tune": False,
            "speech_encoder": "heard",
            "multilevel": {"width": 12, "num_heads": 2},
        },
        {},
    ),
    "cut": (BOTH, {"features": {"max_words": 2, "max_steps": 2, "frames_per_step": 3}}),
    "cut and aligned": (SMALL["li"], {"features": {"max_words": 2, "max_steps": 5}}),
    "weighed classes": (BOTH, {"training": {**TRAINING, "class_weights": "balanced"}}),
}


@functools.cache
def pretrained() -> Pretrained:
    """Tiny encoders in place of all that a row names."""
    folder = kept_folder("tiny-encoders")
    read, heard = write_encoder(folder / "read"), write_speech_encoder(folder / "heard")
    return Pretrained.load(None, encoder=str(read), speech_encoder=str(heard))


def check(corpus: Corpus, model: dict[str, Any], base: dict[str, Any], folder: Path) -> None:
    """Train one run and compare its predictions with those of the trained model.

    Those of all recordings in one call, and of each alone where it does not depend on the others.
    """
    store = Store(folder / "store")
    train_rows(store, corpus, study_of({"row": model}, (1,), **base), [(2, 1)], pretrained())
    predictor = load("study/row", store)
    [run] = predictor.model.runs
    scores = scores_of(store, run.digest)
    [together] = predictor.probabilities(corpus.utterances)
    found = dict(zip([u.id for u in corpus.utterances], together, strict=True))
    expected = np.array(list(scores.values()))
    np.testing.assert_allclose([found[u] for u in scores], expected, atol=SIX_DIGITS)
    assert np.ptp(expected, axis=0).max() > 1e-4  # else any recording would do for any other
    if predictor.model.spec.features.standardise != "speaker":
        for one in corpus.utterances[::6]:
            [[alone]] = predictor.probabilities([one])
            np.testing.assert_allclose(alone, found[one.id], atol=1e-5)


@pytest.mark.parametrize("row", ROWS)
def test_it_gives_the_probabilities_that_the_run_gave_its_test_part(
    row: str, tmp_path: Path
) -> None:
    model, base = ROWS[row]
    check(corpus_with_words(tmp_path), model, base, tmp_path)


@pytest.mark.parametrize("model", [BOTH, SMALL["yoon"], WORDS], ids=lambda m: m["system"])
def test_texts_of_another_language_are_read_by_its_rules(
    model: dict[str, Any], tmp_path: Path
) -> None:
    corpus = corpus_with_words(tmp_path, GERMAN)
    check(corpus, model, {"features": {"language": "de"}}, tmp_path)


@pytest.mark.parametrize(
    "model",
    [BOTH, SMALL["xu"], WORDS, SMALL["late fusion"], HEARD],
    ids=["multilevel", "xu", "tfidf", "late fusion", "speech"],
)
def test_two_classes_of_odd_names_keep_their_order(model: dict[str, Any], tmp_path: Path) -> None:
    labels = ['a,b "x"', "=1+1"]
    names = {"sad": labels[0], "angry": labels[1], "happy": "left out", "neutral": "left out"}
    corpus = corpus_with_words(tmp_path, TEXTS)
    spoken = tuple(replace(u, emotion=names[u.emotion]) for u in corpus.utterances)
    kept = tuple(u for u in spoken if u.emotion in labels)
    check(replace(corpus, utterances=kept), model, {"labels": labels}, tmp_path)
    predictor = load("study/row", Store(tmp_path / "store"))
    assert predictor.classes == tuple(labels)


@pytest.mark.parametrize(
    "model",
    [BOTH, HEARD, {**READ, "fine_tune": "last_n", "last_n": 1}],
    ids=lambda m: m["system"],
)
def test_a_run_in_bfloat16_is_asked_in_bfloat16(model: dict[str, Any], tmp_path: Path) -> None:
    """Its test part in one call, as the run had it: other batches round otherwise."""
    corpus, store = corpus_with_words(tmp_path), Store(tmp_path / "store")
    study = study_of({"row": model}, (1,), training={**TRAINING, "precision": "bfloat16"})
    train_rows(store, corpus, study, [(2, 1)], pretrained())
    predictor = load("study/row", store)
    [run] = predictor.model.runs
    scores, by_id = scores_of(store, run.digest), {u.id: u for u in corpus.utterances}
    [found] = predictor.probabilities([by_id[name] for name in scores])
    np.testing.assert_allclose(found, list(scores.values()), atol=SIX_DIGITS)
