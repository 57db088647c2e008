"""The model card: each number is that of the report's functions, and names stay names."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from mlt_ray.corpus.synthetic.demo import demo_lines, is_demo
from mlt_ray.corpus.utterance import Corpus, Utterance
from mlt_ray.errors import UserError
from mlt_ray.inference.trained import TrainedModel, open_trained
from mlt_ray.models.registry import SYSTEMS
from mlt_ray.reports.breakdown import calibration_of, recalls
from mlt_ray.reports.card import (
    METHODS,
    Export,
    card_of,
    held_out,
    method_text,
    plain_text,
    row_content,
    voices_text,
)
from mlt_ray.reports.collect import find_record
from mlt_ray.reports.resampling import Counts, groups_of, interval
from mlt_ray.reports.results import results_of
from mlt_ray.reports.statistics import aggregate
from mlt_ray.storage.store import Store
from tests.trained_rows import OWN_FILE

EXPORT = Export(to="folder", folder="my model", licence=None, requirements=("torch==2.11.0",))


def opened(trained: Path, row: str = "both") -> TrainedModel:
    return open_trained(f"noise/{row}", Store(trained / "store"))


def card(trained: Path, row: str = "both", export: Export = EXPORT) -> str:
    model, content = opened(trained, row), row_content("noise", row, Store(trained / "store"))
    return card_of(model, content, held_out(model, content.corpora[0]), export)


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def lines_of(text: str, start: str) -> list[list[str]]:
    """The cells of the lines of tables whose first cell begins so."""
    rows = (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|"))
    return [[cell.strip() for cell in row] for row in rows if row[0].strip().startswith(start)]


def test_scores_are_those_of_the_report(trained: Path) -> None:
    store = Store(trained / "store")
    results = results_of([find_record("noise", store)], store)
    runs = results.runs[results.runs["row"] == "both"]
    predictions = results.predictions
    tested = predictions[(predictions["row"] == "both") & (predictions["part"] == "test")]
    measured = aggregate(runs, 3)
    corpus = Corpus.from_dict(store.read_json(store.corpus(results.records[0].fingerprint)) or {})
    counts = Counts.of(tested, groups_of(corpus.utterances)[1])
    text = card(trained)
    for name, statistic in (("wa", measured.wa), ("ua", measured.ua)):
        drawn = interval(name, counts)
        assert drawn is not None
        assert lines_of(text, name.upper()) == [
            [
                name.upper(),
                percent(runs[f"dev_{name}"].mean()),
                percent(statistic.mean),
                percent(statistic.pooled),
                f"{percent(drawn.low)} – {percent(drawn.high)}",
            ]
        ]
    [f1] = lines_of(text, "macro F1")
    assert f1[1:3] == [percent(runs[f"{part}_macro_f1"].mean()) for part in ("dev", "test")]
    confusion = sum(map(as_array, runs["test_confusion"]))
    for name, recall in zip(runs["classes"].iloc[0], recalls(confusion), strict=True):
        assert recall is not None
        assert [name, percent(recall), "6"] in lines_of(text, name)
    assert f"is {percent(calibration_of(tested).error)} %" in text
    front = yaml.safe_load(text.split("---")[1])
    [result] = front["model-index"][0]["results"]
    values = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert values["accuracy"] == pytest.approx(measured.wa.mean, abs=1e-4)
    assert values["recall"] == pytest.approx(measured.ua.mean, abs=1e-4)
    assert values["f1"] == pytest.approx(runs["test_macro_f1"].mean(), abs=1e-4)


def as_array(confusion: object) -> object:
    import numpy as np

    return np.asarray(confusion)


def test_it_says_what_was_heard_and_what_was_held_out(trained: Path) -> None:
    text = card(trained)
    assert "| corpus | noise (fingerprint `" in text
    assert "| utterances | 24, " in text
    assert "| speakers | 3 |" in text
    assert "| different texts | 4 |" in text
    assert "only 4 different texts" in text
    assert "| angry | 6 utterances |" in text
    for fold in (1, 2, 3):
        [line] = lines_of(text, str(fold))
        test, dev, num = line[1:]
        assert re.fullmatch(r"speaker\d", test)
        assert re.fullmatch(r"speaker\d", dev)
        assert test != dev
        assert num == "8"
    assert "an ensemble of 3 runs (3 folds × 1 seed)" in text
    assert "**has no such score of its own**" in text
    assert "each utterance of it was heard by some of its runs in training" in text
    assert "heard 3 speakers" in text
    assert "Never use it for decisions about people" in text
    assert "Intervals of so few as 3 speakers are too narrow." in text


def test_the_parts_are_those_of_the_folds(trained: Path) -> None:
    model, content = opened(trained), row_content("noise", "both", Store(trained / "store"))
    parts = held_out(model, content.corpora[0])
    assert sorted(p["test"].speakers for p in parts.values()) == [
        ("speaker0",),
        ("speaker1",),
        ("speaker2",),
    ]
    one = held_out(replace(model, runs=model.runs[:1]), content.corpora[0])
    assert one == {model.runs[0].fold: parts[model.runs[0].fold]}


def test_one_run_alone_has_a_score_and_is_said_to_be_one_of_three(
    trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "store", tmp_path / "store")
    store = Store(tmp_path / "store")
    kept, *others = opened(trained).runs
    for run in others:
        store.run_file(run.digest, "report.json").unlink()
    model, content = open_trained("noise/both", store), row_content("noise", "both", store)
    text = card_of(model, content, held_out(model, content.corpora[0]), EXPORT)
    assert f"is one run of the row both: fold {kept.fold}, seed 1." in text
    assert "no such score of its own" not in text
    assert "1 of the row's 3 runs were done" in text
    assert "# noise/both\n" in text
    # Of three speakers of eight recordings, one is tested and one is dev.
    assert "It has heard 1 speaker. " in text
    [line] = lines_of(text, "WA")
    assert not "".join(line[4:])  # no interval of one speaker
    assert "Intervals of so few" not in text


def test_it_has_heard_the_speakers_of_its_runs_training_parts(trained: Path) -> None:
    model = opened(trained)
    corpus = row_content("noise", "both", Store(trained / "store")).corpora[0]
    said = [voices_text(replace(model, runs=model.runs[:n]), corpus) for n in (1, 2, 3)]
    assert said == ["1 speaker", "2 speakers", "3 speakers"]
    assert voices_text(model, None) == ""


def test_a_system_of_any_name_has_a_method(trained: Path) -> None:
    assert set(METHODS) <= set(SYSTEMS)
    spec = opened(trained).spec.model
    assert "He, M. Wu" in method_text(spec)
    new = replace(spec, system="brand_new")
    assert method_text(new) == "The system brand_new of mlt_ray."
    own = open_trained("noise/own", Store(trained / "store"), model_file=OWN_FILE).spec.model
    assert method_text(own) == f"mean_frames, a model of the user's own, {own.source}."


def test_the_licence_is_the_user_s_or_unknown(trained: Path) -> None:
    assert yaml.safe_load(card(trained).split("---")[1])["license"] == "unknown"
    text = card(trained, export=replace(EXPORT, licence="cc-by-nc-4.0"))
    assert yaml.safe_load(text.split("---")[1])["license"] == "cc-by-nc-4.0"
    assert "gave it the licence cc-by-nc-4.0" in text


@pytest.mark.parametrize(
    ("package", "said"), [("opensmile", "not for commercial products"), ("espeakng-loader", "GPL")]
)
def test_parts_with_licences_of_their_own_are_named_where_they_are_needed(
    trained: Path, package: str, said: str
) -> None:
    assert said not in card(trained)
    assert said in card(trained, export=replace(EXPORT, requirements=(f"{package}==1.0",)))


@pytest.mark.parametrize(("row", "reads"), [("audio", {"audio"}), ("w/o audio", {"text"})])
def test_a_model_of_one_input_is_said_to_be_one(trained: Path, row: str, reads: set[str]) -> None:
    text = card(trained, row)
    front = yaml.safe_load(text.split("---")[1])
    assert {"audio", "text"} & set(front["tags"]) == reads
    assert ("--text" in text) == ("text" in reads)
    assert front["pipeline_tag"].startswith(*reads)


@pytest.mark.parametrize(
    ("to", "command"),
    [
        ("folder", "mlt-ray predict clip.wav --model 'my model'"),
        ("mlflow", "mlflow models serve -m 'my model' --env-manager local"),
        ("onnx", "model.onnx"),
    ],
)
def test_each_export_says_how_it_is_used(trained: Path, to: str, command: str) -> None:
    assert command in card(trained, export=replace(EXPORT, to=to))


def test_names_from_data_are_shown_letter_by_letter() -> None:
    assert plain_text("<b>a|b</b>\n# c_d `e`") == r"\<b\>a\|b\</b\> \# c\_d \`e\`"


def test_a_row_that_is_not_there_or_not_finished_is_named(trained: Path) -> None:
    store = Store(trained / "store")
    with pytest.raises(UserError, match="unknown row bot; did you mean both"):
        row_content("noise", "bot", store)
    with pytest.raises(UserError, match="expected runs of study other"):
        row_content("other", "both", store)


def test_the_demo_s_texts_are_known_and_others_are_not(trained: Path) -> None:
    texts = [line.text for line in demo_lines(seed=3, utterances=200)]
    assert is_demo(corpus_of(texts))
    assert not is_demo(corpus_of([*texts, "Kids are talking."]))
    assert not is_demo(corpus_of([""]))
    assert "synthetic" not in card(trained)


def corpus_of(texts: list[str]) -> Corpus:
    return Corpus(
        name="c",
        utterances=tuple(
            Utterance(
                id=str(n),
                audio=Path("a.wav"),
                text=text,
                emotion="sad",
                speaker="s",
                duration_s=1.0,
                audio_sha256="0",
            )
            for n, text in enumerate(texts)
        ),
    )


def test_of_one_run_the_scores_are_its_own(trained: Path) -> None:
    store = Store(trained / "store")
    run = opened(trained).runs[0]
    content = row_content("noise", "both", store, run.digest)
    report = store.report(run.digest)
    assert report is not None
    assert list(content.rows[0].runs["digest"]) == [run.digest]
    model = open_trained(run.digest, store)
    text = card_of(model, content, held_out(model, content.corpora[0]), EXPORT)
    assert f"is one run of the row both: fold {run.fold}, seed {run.seed}." in text
    title = f"noise/both, run {run.digest} (fold {run.fold}, seed {run.seed})"
    assert f"# {title}\n" in text
    [named] = yaml.safe_load(text.split("---")[1])["model-index"]
    assert named["name"] == title
    assert "It has heard 1 speaker. " in text
    assert "Intervals of so few" not in text
    assert "runs were done" not in text
    [line] = lines_of(text, "UA")
    assert line[1:3] == [percent(report.scores[part]["ua"]) for part in ("dev", "test")]
