"""Places: what is known of this machine, and of a cluster, before Ray is there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlt_ray.errors import UserError
from mlt_ray.planning import workspace
from mlt_ray.planning.contents import Pretrained
from mlt_ray.planning.resources import Resources
from mlt_ray.planning.workspace import Places, Workspace
from mlt_ray.spec import TrainingSpec
from mlt_ray.storage.store import Store
from mlt_ray.studies.study import Study, load_study, parse_study
from tests.planning.encoder_rows import pretrained_of

TF32 = [TrainingSpec(), TrainingSpec(precision="tf32")]


@pytest.fixture(autouse=True)
def no_ray_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def places(**more: Any) -> Places:
    return Places(corpus=Path("unused"), store=Store("unused"), **more)


def with_gpus(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(workspace, "gpus_here", lambda: number)


def test_this_machine_computes_unless_a_cluster_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert places().is_local
    assert not places(address="auto").is_local
    monkeypatch.setenv("RAY_ADDRESS", "somewhere:6379")
    assert not places().is_local


@pytest.mark.parametrize(("num_gpus", "found"), [(0, 0.0), (3, 1.0)])
def test_gpus_that_are_left_open_are_those_of_this_machine(
    num_gpus: int, found: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch, num_gpus)
    assert places().resources_here().gpus_per_run == found
    assert places(resources=Resources(gpus_per_run=0.5)).resources_here().gpus_per_run == 0.5
    assert places(address="auto").resources_here().gpus_per_run is None


def test_tf32_needs_a_gpu_where_this_machine_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    with_gpus(monkeypatch, 0)
    with pytest.raises(UserError, match="tf32"):
        places().check_precision(TF32)
    places().check_precision(TF32[:1])
    places(address="auto").check_precision(TF32)
    with_gpus(monkeypatch, 1)
    places().check_precision(TF32)


def test_what_a_run_asks_for_is_checked_where_this_machine_computes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_gpus(monkeypatch, 1)
    places(resources=Resources(gpus_per_run=1)).check_machine()
    asked = Resources(gpus_per_run=2)
    with pytest.raises(UserError, match="expected 1 CPU, 2 GPU for a run"):
        places(resources=asked).check_machine()
    places(resources=asked, address="auto").check_machine()


@pytest.mark.parametrize(
    ("study", "without"),
    [
        ("table1", set()),
        ("demo", {"audio only"}),
        ("table3", {"Bert"}),
        (
            "beyond",
            {
                "eGeMAPS + SVM",
                "embedding + log. regression",
                "late fusion of both",
                "speech encoder",
                "speech encoder + log. regression",
                "speech encoder, fine-tuned",
            },
        ),
    ],
)
def test_rows_of_audio_or_of_a_text_encoder_alone_read_no_words(
    study: str, without: set[str]
) -> None:
    rows = load_study(study).rows
    assert {row.name for row in rows if not row.model.reads_words} == without


def chinese(tmp_path: Path, raw: Any, num_chinese: int, **more: Any) -> Workspace:
    texts = ["我很生气。"] * num_chinese + ["Hm."] * (len(raw.corpus) - num_chinese)
    utterances = [replace(u, text=t) for u, t in zip(raw.corpus.utterances, texts, strict=True)]
    return Workspace(
        places=places(**more),
        corpus=replace(raw.corpus, utterances=tuple(utterances)),
        pretrained=pretrained_of(),
    )


def rows_of(*inputs: str) -> Study:
    rows = [{"name": name, "model": {"system": "multilevel", "inputs": name}} for name in inputs]
    return parse_study("mine", {"rows": rows})


def test_a_row_that_reads_words_refuses_a_corpus_in_other_letters(tmp_path: Path, raw: Any) -> None:
    workspace = chinese(tmp_path, raw, len(raw.corpus))
    with pytest.raises(UserError) as error:
        workspace.name_contents(rows_of("both", "audio", "text"))
    said = str(error.value)
    assert "100.0%" in said
    assert "'我很生气。'" in said
    assert "at most 5% where a row reads words, as both, text would; " in said
    assert said.endswith("or give --unread-texts")
    # Rows of audio, rows that are not asked for, a few texts, and who asks for it are not refused.
    assert workspace.name_contents(rows_of("audio"))
    assert workspace.name_contents(rows_of("both", "audio"), {"audio"})
    assert chinese(tmp_path, raw, 1).name_contents(rows_of("both"))
    asked = chinese(tmp_path, raw, len(raw.corpus), unread_texts=True)
    assert asked.name_contents(rows_of("both"))


@pytest.mark.parametrize(
    ("values", "is_refused"),
    [
        ({"model": {"system": "multilevel"}}, True),
        ({"model": {"system": "multilevel"}, "features": {"language": "de"}}, True),
        ({"model": {"system": "bert"}}, True),
        ({"model": {"system": "classical", "audio": "egemaps", "text": "embedding"}}, True),
        ({"model": {"system": "multilevel", "inputs": "audio"}}, False),
        ({"model": {"system": "classical", "audio": "egemaps"}}, False),
    ],
)
def test_a_row_that_reads_texts_refuses_a_corpus_without_any(
    values: dict[str, Any], is_refused: bool, tmp_path: Path, raw: Any
) -> None:
    silent = tuple(replace(u, text=" ") for u in raw.corpus.utterances)
    workspace = chinese(tmp_path, raw, 0)
    workspace = replace(workspace, corpus=replace(workspace.corpus, utterances=silent))
    study = parse_study("mine", {"rows": [{"name": "mine", **values}]})
    if not is_refused:
        assert workspace.name_contents(study)
        return
    with pytest.raises(UserError, match="expected texts where a row reads them, as mine would, fo"):
        workspace.name_contents(study)
    assert workspace.name_contents(study, asked=())


def in_language(language: str, name: str = "row", **model: str) -> dict[str, Any]:
    """Values of a row."""
    values = {"model": {"system": "multilevel", **model}, "features": {"language": language}}
    return {"name": f"{name} {language}", **values}


def test_a_row_in_its_own_language_reads_every_text(tmp_path: Path, raw: Any) -> None:
    workspace = chinese(tmp_path, raw, len(raw.corpus))
    study = parse_study("mine", {"rows": [in_language("zh")]})
    (row,) = workspace.name_contents(study).rows
    assert row.features.language == "zh"


def test_words_without_a_vector_are_noted_once_a_language(tmp_path: Path, raw: Any) -> None:
    workspace = replace(chinese(tmp_path, raw, len(raw.corpus)), pretrained=Pretrained.load(None))
    rows = [in_language(language, name) for language in ("en", "zh") for name in ("one", "two")]
    audio = in_language("pl", inputs="audio")
    notes = workspace.text_notes(parse_study("mine", {"rows": [*rows, audio]}).rows)
    assert len(notes) == 2
    assert "in letters that training does not read" in notes[0]
    assert notes[1] == (
        "100% of the running words have no vector in glove.6B; give word vectors of the language "
        "zh (--glove FILE)"
    )
    english = chinese(tmp_path, raw, 0)
    english = replace(english, pretrained=workspace.pretrained)
    assert english.text_notes(parse_study("mine", {"rows": rows}).rows) == ()
