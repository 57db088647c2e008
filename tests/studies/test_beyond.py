"""What the rows beyond the paper's tables share with those of the tables."""

from dataclasses import replace

from mlt_ray.models.multigranularity.values import MultigranularitySpec
from mlt_ray.models.multilevel.values import MultilevelSpec
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
    rows = [row for row in load_study("beyond").rows if row.model.speech_encoder]
    found = [(row.model.text_encoder, row.model.speech_encoder) for row in rows]
    assert found == [("minilm", "resemblyzer"), (None, "resemblyzer")]
    published = row_of("table3", "Multi-granularity model").model
    both, speech = (row.model for row in rows)
    assert isinstance(published, MultigranularitySpec)
    assert both == replace(published, encoder="minilm", speech_encoder="resemblyzer")
    assert speech == replace(published, encoder=None, speech_encoder="resemblyzer")
