"""What the rows beyond the paper's tables share with those of the tables."""

from dataclasses import replace

import pytest

from mlt_ray.models.multigranularity.values import MultigranularitySpec
from mlt_ray.models.multilevel.values import MultilevelSpec
from mlt_ray.models.speech.values import SpeechSpec
from mlt_ray.spec import FramesSpec
from mlt_ray.studies.study import Row, load_study


def row_of(study: str, name: str) -> Row:
    (found,) = (row for row in load_study(study).rows if row.name == name)
    return found


def test_the_joint_loss_differs_from_table_1_by_its_weight_alone() -> None:
    joint, alone = row_of("beyond", "joint TTS and SER loss"), row_of("table1", "highway network")
    assert isinstance(joint.model, MultilevelSpec)
    assert joint.model.tts_weight > 0
    assert replace(joint.model, tts_weight=0.0) == alone.model
    assert (joint.folds, joint.features, joint.training) == (
        alone.folds,
        alone.features,
        alone.training,
    )


def test_the_speech_encoder_stands_beside_bert_or_in_its_place() -> None:
    published = row_of("table3", "Multi-granularity model").model
    assert isinstance(published, MultigranularitySpec)
    both = replace(published, encoder="minilm", speech_encoder="resemblyzer")
    assert row_of("beyond", "Bert, fine and speech").model == both
    assert row_of("beyond", "fine and speech").model == replace(both, encoder=None)


def test_an_encoder_s_states_replace_log_mel_frames_and_nothing_else() -> None:
    """So a row beside it, or the paper's own, says what they add."""
    frames = FramesSpec(kind="encoder", encoder="resemblyzer", layer="weighted")
    fine = row_of("beyond", "multilevel on encoder frames")
    alone = row_of("table1", "highway network")
    assert fine.features == replace(alone.features, frames=frames, frames_per_step=2)
    assert (fine.model, fine.training, fine.folds) == (alone.model, alone.training, alone.folds)
    with_bert = row_of("beyond", "Bert, fine (encoder frames) and speech")
    beside = row_of("beyond", "Bert, fine and speech")
    assert with_bert.features == fine.features
    assert isinstance(beside.model, MultigranularitySpec)
    assert with_bert.model == replace(beside.model, speech_layer="weighted")
    assert with_bert.training == beside.training


def test_the_encoder_alone_is_frozen_or_its_last_blocks_are_trained() -> None:
    frozen, tuned = (
        row_of("beyond", "speech encoder"),
        row_of("beyond", "speech encoder, fine-tuned"),
    )
    assert frozen.model == SpeechSpec(speech_encoder="resemblyzer", speech_layer="weighted")
    assert tuned.model == replace(frozen.model, fine_tune="last_n", last_n=2)
    assert tuned.training.learning_rate == frozen.training.learning_rate
    assert tuned.training.encoder_learning_rate == pytest.approx(frozen.training.learning_rate / 10)


@pytest.mark.parametrize("study", ["beyond", "open"])
def test_every_encoder_of_speech_comes_along_or_is_replaced(study: str) -> None:
    """Nothing is asked of a network, and --speech-encoder takes the place of all."""
    rows = load_study(study).rows
    named = {e for row in rows for e in (row.model.speech_encoder, row.features.frames.encoder)}
    assert named == {None, "resemblyzer"}
    assert {row.published for row in rows} == {None}
