"""What an encoder does not have is told before anything is computed."""

from pathlib import Path
from typing import Any

import pytest

from mlt_ray.errors import UserError
from mlt_ray.planning.contents import name_contents
from mlt_ray.planning.plan import make_plan
from mlt_ray.studies.study import parse_study
from tests.planning.encoder_rows import pretrained_of
from tests.tiny_speech_encoder import write_speech_encoder


@pytest.fixture
def heard(tmp_path: Path) -> Path:
    """A speech encoder of two blocks."""
    return write_speech_encoder(tmp_path / "heard")


def told(raw: Any, heard: Path, **row: Any) -> str:
    study = parse_study("mine", {"rows": [{"name": "mine", **row}]})
    assert name_contents(study, raw.corpus, pretrained_of(None, heard), asked=())
    with pytest.raises(UserError) as raised:
        name_contents(study, raw.corpus, pretrained_of(None, heard))
    return str(raised.value)


@pytest.mark.parametrize("layer", [3, -4])
@pytest.mark.parametrize(
    "model",
    [
        {"system": "speech"},
        {"system": "multigranularity", "encoder": None},
        {"system": "classical", "audio": "speech"},
    ],
    ids=lambda model: model["system"],
)
def test_a_layer_that_the_encoder_lacks(
    raw: Any, heard: Path, model: dict[str, Any], layer: int
) -> None:
    model = {**model, "speech_encoder": "any", "speech_layer": layer}
    assert told(raw, heard, model=model) == (
        "row mine: model.speech_layer: expected a number from -3 to 2 for an encoder of 3 layers, "
        f"layer 0 included, got {layer}"
    )


def test_a_layer_of_frames_that_the_encoder_lacks(raw: Any, heard: Path) -> None:
    frames = {"kind": "encoder", "encoder": "any", "layer": 5}
    said = told(raw, heard, features={"frames": frames}, model={"system": "multilevel"})
    assert said.startswith("row mine: features.frames.layer: expected a number from -3 to 2 for an")


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (
            {"system": "speech", "fine_tune": "last_n", "last_n": 3},
            "last_n: expected at most the 2 blocks of heard, got 3; lower it",
        ),
        (
            {"system": "bert", "fine_tune": "last_n", "last_n": 7},
            "last_n: expected at most the 6 blocks of minilm, got 7; lower it",
        ),
        (
            {"system": "multigranularity", "fine_tune": "last_n", "last_n": 7},
            "last_n: expected at most the 6 blocks of minilm, got 7; lower it",
        ),
        (
            {"system": "speech", "fine_tune": "last_n", "last_n": 1, "speech_layer": 1},
            "speech_layer: expected a layer behind 1, the last that is frozen, got 1; raise last_n "
            "or set another layer",
        ),
        (
            {"system": "speech", "fine_tune": "lora", "speech_layer": -3},
            "speech_layer: expected a layer behind 0, the last that is frozen, got -3; raise "
            "last_n or set another layer",
        ),
    ],
)
def test_blocks_to_be_trained_that_are_not_there(
    raw: Any, heard: Path, model: dict[str, Any], line: str
) -> None:
    assert told(raw, heard, model=model) == f"row mine: model.{line}"


def test_adapters_for_an_encoder_without_a_place_for_them(raw: Any) -> None:
    model = {"system": "speech", "speech_encoder": "resemblyzer", "fine_tune": "lora"}
    study = parse_study("mine", {"rows": [{"name": "mine", "model": model}]})
    line = r"row mine: model\.fine_tune: expected last_n or all for resemblyzer, got lora"
    with pytest.raises(UserError, match=line):
        name_contents(study, raw.corpus, pretrained_of(None))


@pytest.mark.parametrize(
    "row",
    [
        {"model": {"system": "speech"}},
        {"model": {"system": "speech", "head": "states", "hidden_width": 7}},
        {
            "features": {"frames": {"kind": "encoder", "encoder": "any"}},
            "model": {"system": "multilevel"},
        },
    ],
)
def test_padding_for_an_encoder_that_is_no_whisper(
    raw: Any, heard: Path, tmp_path: Path, row: dict[str, Any]
) -> None:
    padded = {**row, "features": {**row.get("features", {}), "pad_to_30s": True}}
    assert told(raw, heard, **padded) == (
        "row mine: features.pad_to_30s: expected false where no Whisper hears, got true for heard; "
        "remove it"
    )
    study = parse_study("mine", {"rows": [{"name": "mine", **padded}]})
    whisper = write_speech_encoder(tmp_path / "whisper", "whisper")
    assert name_contents(study, raw.corpus, pretrained_of(None, whisper))


def test_a_speaker_with_few_recordings_is_told(raw: Any, heard: Path) -> None:
    raw.utterances[3:] = raw.utterances[4:]  # of a speaker's eight
    features = {"standardise": "speaker"}
    model = {"system": "multilevel"}
    study = parse_study("mine", {"rows": [{"name": "mine", "features": features, "model": model}]})
    assert name_contents(study, raw.corpus, pretrained_of(None, heard))
    raw.utterances[:4] = []
    said = told(raw, heard, features=features, model=model)
    assert said == (
        "row mine: features.standardise: speaker expects at least 5 recordings of every speaker, "
        "got 3 of speaker of s1; set it to train, or name the other rows with --rows"
    )


def test_an_option_replaces_speech_encoders_of_models_and_of_frames(raw: Any, heard: Path) -> None:
    frames = {"kind": "encoder", "encoder": "resemblyzer", "layer": 1}
    rows = [
        {"name": "frames", "features": {"frames": frames}, "model": {"system": "multilevel"}},
        {
            "name": "both",
            "features": {"frames": {**frames, "encoder": "heard"}},
            "model": {
                "system": "multigranularity",
                "encoder": None,
                "speech_encoder": "resemblyzer",
            },
        },
        {"name": "tuned", "model": {"system": "speech", "fine_tune": "all"}},
        {"name": "none", "model": {"system": "multilevel"}},
    ]
    pretrained = pretrained_of(None, heard)
    named = name_contents(parse_study("mine", {"rows": rows}), raw.corpus, pretrained)
    identity = pretrained.speech_encoders.identify("any")
    for row in named.rows[:3]:
        assert row.features.frames.encoder == identity
        assert row.model.speech_encoder in (None, identity)
        assert row.changes == ("--speech-encoder heard",)
        spec = row.features.frames if row.name != "tuned" else row.model.frames
        assert row.features.frames == spec
    assert named.rows[3].changes == ()
    assert named.rows[3].features.frames.encoder is None
    planned = make_plan(named, raw.corpus).rows
    assert len({row.runs[0].digest for row in planned}) == 4


def test_an_option_does_not_make_the_same_of_two_rows(raw: Any, heard: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"name": name, "model": {"system": "speech", "speech_encoder": name}}
        for name in ("one", "two")
    ]
    rows.append({"name": "padded", "model": {"system": "speech", "speech_encoder": "three"}})
    rows[2]["training"] = {"batch_size": 3}
    study = parse_study("mine", {"rows": rows})
    pretrained = pretrained_of(None, heard)
    with pytest.raises(UserError) as raised:
        name_contents(study, raw.corpus, pretrained)
    assert str(raised.value) == (
        "--speech-encoder heard: rows one and two would be the same; name one of them with --rows"
    )
    assert name_contents(study, raw.corpus, pretrained, asked={"two", "padded"}).rows[1].changes


def test_rows_that_the_file_has_twice_stay(raw: Any, heard: Path) -> None:
    rows = [
        {"name": name, "model": {"system": "speech", "speech_encoder": "any"}}
        for name in ("one", "again")
    ]
    study = parse_study("mine", {"rows": rows})
    assert len(name_contents(study, raw.corpus, pretrained_of(None, heard)).rows) == 2


def test_rows_that_differ_in_what_their_runs_do_not_read_are_no_fault_of_an_option(
    raw: Any, heard: Path
) -> None:
    model = {"system": "classical", "audio": "speech", "speech_encoder": "any"}
    rows = [
        {"name": f"{size}", "model": model, "training": {"batch_size": size}} for size in (2, 3)
    ]
    study = parse_study("mine", {"rows": rows})
    first, second = name_contents(study, raw.corpus, pretrained_of(None, heard)).rows
    assert first.training == second.training
