"""The configuration of classical systems: what it reads, and what it refuses."""

from typing import Any

import pytest

from mlt_ray.batch import InputSizes
from mlt_ray.errors import UserError
from mlt_ray.models.classical.values import ClassicalSpec
from mlt_ray.models.registry import build_model, is_network, parse_model
from mlt_ray.spec import ExtraInput


@pytest.mark.parametrize(
    ("spec", "inputs", "extras", "encoder"),
    [
        (ClassicalSpec(audio="egemaps"), ("egemaps",), (ExtraInput("egemaps"),), None),
        (ClassicalSpec(text="tfidf", encoder="any"), ("tfidf",), (), None),
        (
            ClassicalSpec(text="embedding", encoder="any"),
            ("embedding",),
            (ExtraInput("sentence_embedding", "any"),),
            "any",
        ),
        (
            ClassicalSpec(audio="egemaps", text="embedding"),
            ("egemaps", "embedding"),
            (ExtraInput("egemaps"), ExtraInput("sentence_embedding", "minilm")),
            "minilm",
        ),
        (
            ClassicalSpec(audio="speech", text="tfidf", speech_encoder="ear", speech_layer=3),
            ("speech", "tfidf"),
            (ExtraInput("speech_layers", "ear", "weighted"),),
            None,
        ),
    ],
)
def test_a_row_needs_what_its_classifiers_read_and_nothing_else(
    spec: ClassicalSpec,
    inputs: tuple[str, ...],
    extras: tuple[ExtraInput, ...],
    encoder: str | None,
) -> None:
    assert (spec.inputs, spec.extras, spec.text_encoder) == (inputs, extras, encoder)


def test_a_study_can_leave_a_modality_out() -> None:
    values = {"system": "classical", "audio": None, "text": "tfidf", "text_c": 2}
    assert parse_model(values, "model") == ClassicalSpec(text="tfidf", text_c=2.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "model.audio: expected audio, text or both, got neither; set text: tfidf"),
        ({"audio": "mfcc"}, "model.audio: expected one of egemaps, speech, got 'mfcc'"),
        ({"audio": "speech"}, "model.speech_encoder: expected one with audio: speech, and none wi"),
        (
            {"audio": "egemaps", "speech_encoder": "ear"},
            "model.speech_encoder: expected one with audio: speech, and none without, got ear",
        ),
        (
            {"audio": "speech", "speech_encoder": "ear", "speech_layer": "weighted"},
            "model.speech_layer: expected best or last or int, got 'weighted'",
        ),
        (
            {"audio": "speech", "speech_encoder": "ear", "speech_c": 0},
            "model.speech_c: expected a number above 0 and at most 1000000, got 0",
        ),
        ({"text": "words"}, "model.text: expected one of tfidf, embedding, got 'words'"),
        (
            {"text": "tfidf", "text_c": 0},
            "model.text_c: expected a number above 0 and at most 1000000, got 0",
        ),
        (
            {"audio": "egemaps", "audio_c": -1},
            "model.audio_c: expected a number above 0 and at most 1000000, got -1",
        ),
        ({"text": "tfidf", "ngrams": 0}, "model.ngrams: expected a number from 1 to 20, got 0"),
        ({"text": "embedding", "encoder": ""}, "model.encoder: expected minilm, a folder or a"),
        ({"text": "tfidf", "ngram": 2}, "model: unknown key ngram; did you mean ngrams?"),
        ({"audio": "egemaps", "fusion": "max"}, "model.fusion: expected one of mean, weighted"),
    ],
)
def test_what_cannot_be_fitted_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_model({"system": "classical", **values}, "model")
    assert str(raised.value).startswith(message)


def test_a_classical_system_is_no_network(sizes: InputSizes) -> None:
    spec = ClassicalSpec(text="tfidf")
    assert not is_network(spec)
    with pytest.raises(ValueError, match="system classical is no network"):
        build_model(spec, sizes)
