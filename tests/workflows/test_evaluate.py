"""Trained rows on another corpus, from the command to its files; beside `mlt_ray.load`."""

import csv
import functools
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from pandas import read_csv
from sklearn.metrics import f1_score, recall_score
from typer.testing import CliRunner, Result

import mlt_ray
from mlt_ray.cli.app import app
from mlt_ray.corpus.readers.read import read_corpus
from mlt_ray.errors import UserError
from mlt_ray.features.extract import FeatureCache
from mlt_ray.inference.load import load
from mlt_ray.labels import FOUR
from mlt_ray.storage.store import Store
from mlt_ray.workflows.evaluate import Evaluated
from tests.kept_folder import kept_folder
from tests.trained_store import corpus_with_words, study_of, train_rows, trained_store

EMOTIONS = ("anger", "joy", "excited", "neutral", "bored")
"""What the other corpus calls what it has. Nobody is sad; bored is none of the row's classes."""

CLASS_OF = {"anger": "angry", "joy": "happy", "excited": "happy", "neutral": "neutral"}
TEXTS = ("so furious", "a rainy bus", "zzyzx!")
NUM_SPEAKERS, NUM_UTTERANCES = 3, 30
ROUNDED = 1.1e-5
"""Six digits are kept, and batches of other recordings differ by rounding."""


def write_corpus(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "text", "emotion", "speaker"])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def other_corpus(folder: Path, **changes: Any) -> Path:
    """Noise of other lengths than that of training; `changes` are of every line of its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for n in range(NUM_UTTERANCES):
        noise = np.random.default_rng(100 + n).normal(size=1300 + 197 * n) * 0.1
        soundfile.write(folder / f"{n:02}.wav", noise, 16_000)
        row = {
            "path": f"{n:02}.wav",
            "text": TEXTS[n % len(TEXTS)],
            "emotion": EMOTIONS[n % len(EMOTIONS)],
            "speaker": f"speaker{n % NUM_SPEAKERS}",
        }
        rows.append({**row, **changes})
    return write_corpus(folder, rows)


@functools.cache
def other() -> Path:
    return other_corpus(kept_folder("other-corpus") / "other")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A copy of the store of trained rows, to which a test may do what it likes."""
    return Path(shutil.copytree(trained_store()[0].root, tmp_path / "store"))


def evaluated(
    store: Path, rows: Sequence[str], corpus: Path | None = None, **more: Any
) -> Evaluated:
    names = [f"study/{row}" for row in rows]
    found: Evaluated = mlt_ray.evaluate(names, corpus or other(), store, progress=False, **more)
    return found


def asked(store: Path, *arguments: str, corpus: Path | None = None) -> Result:
    command = ["evaluate", *arguments, "--corpus", str(corpus or other()), "--store", str(store)]
    return CliRunner().invoke(app, command)


ROWS = ("multilevel", "audio only", "yoon", "tfidf", "late fusion")


def test_every_run_says_what_the_trained_model_says_of_the_recordings(store: Path) -> None:
    """Features from the store's cache; `load` computes them without one."""
    found = evaluated(store, ROWS)
    read = read_corpus(other())
    counted = [u for u in read.utterances if u.emotion in CLASS_OF]
    true = [CLASS_OF[u.emotion] for u in counted]
    for answers, row in zip(found.answers, ROWS, strict=True):
        predictor = load(f"study/{row}", store)
        expected = predictor.probabilities(counted)
        assert [run.report.digest for run in answers.runs] == [
            run.digest for run in predictor.model.runs
        ]
        np.testing.assert_allclose(answers.probabilities, expected, atol=ROUNDED)
        assert [u.emotion for u in answers.corpus.utterances] == true
    for digest, frame in found.predictions.groupby("run"):
        if digest != "ensemble":
            [scores] = found.runs[found.runs["digest"] == digest].to_dict("records")
            assert scores["wa"] == pytest.approx((frame["emotion"] == frame["predicted"]).mean())
    multilevel = found.predictions[found.predictions["row"] == "multilevel"]
    together = multilevel[multilevel["run"] == "ensemble"]
    [row, *_] = found.tables.rows
    pair = together["emotion"], together["predicted"]
    present = ["angry", "happy", "neutral"]
    for name, foreign in (("ua", recall_score), ("macro_f1", f1_score)):
        expected = foreign(*pair, labels=present, average="macro")
        assert row.ensemble.scores[name].mean == pytest.approx(expected)


def test_the_command_tells_what_counts_and_writes_its_files(store: Path) -> None:
    done = asked(store, "study/audio only", "study/tfidf")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].startswith("corpus: 24 utterances of other, fingerprint ")
    assert lines[0].endswith(
        "; labels four: angry 6 (anger 6), happy 12 (excited 6, joy 6), neutral 6, sad 0; "
        "left out: bored 6"
    )
    assert "runs: 4 asked for, 0 in the store, 4 to compute" in lines
    assert "Always answering the most frequent class of other: WA 0.500, UA 0.333." in lines
    [written] = [line for line in lines if line.startswith("written: ")]
    folder = Path(written.rpartition(" in ")[2])
    assert folder.parent == store / "reports"
    assert folder.name.startswith("evaluate-study-on-other-")
    values = json.loads((folder / "tables.json").read_text())
    assert [row["name"] for row in values["rows"]] == ["study/audio only", "study/tfidf"]
    assert [row["absent"] for row in values["rows"]] == [["sad"], ["sad"]]
    assert len(read_csv(folder / "predictions.csv")) == 2 * (2 + 1) * 24


def test_what_was_computed_is_not_computed_again(store: Path) -> None:
    rows = ["study/audio only", "study/late fusion"]
    first = asked(store, *rows)
    for folder in (store / "runs").iterdir():
        for weights in folder.glob("weights.*"):
            weights.unlink()  # so that no run can say anything any more
    again = asked(store, *rows)
    assert "runs: 4 asked for, 4 in the store, 0 to compute" in again.output
    start = "Trained on noise, tested on other"
    assert again.output.partition(start)[2] == first.output.partition(start)[2]
    # Without excited, other utterances count: they would have to be computed.
    other_labels = asked(store, *rows, "--labels", "[angry, happy, neutral]")
    assert "0 in the store, 4 to compute" in other_labels.output
    assert isinstance(other_labels.exception, UserError)


def test_features_are_cached_for_other_rows_and_later_runs(store: Path) -> None:
    evaluated(store, ["audio only"])
    spec = load("study/multilevel", store).model.spec.features
    assert spec == load("study/audio only", store).model.spec.features
    cache = FeatureCache.open(Store(store), spec).frames
    assert all(u.audio_sha256 in cache for u in read_corpus(other()).utterances[:4])
    done = asked(store, "study/multilevel")
    assert "features: cached" in done.output


def test_a_run_that_finishes_later_is_the_only_one_computed(store: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    late = load("study/tfidf", store).model.runs[1].digest
    shutil.move(store / "runs" / late, kept)
    assert "runs: 1 asked for, 0 in the store, 1 to compute" in asked(store, "study/tfidf").output
    shutil.move(kept, store / "runs" / late)
    done = asked(store, "study/tfidf")
    assert "runs: 2 asked for, 1 in the store, 1 to compute" in done.output
    assert "other, mean of 2/5 runs" in done.output


def test_own_recordings_are_refused_or_left_out(store: Path, tmp_path: Path) -> None:
    corpus = trained_store()[1]
    folder = other_corpus(tmp_path / "both")
    rows = list(csv.DictReader((folder / "manifest.csv").open()))
    for u in corpus.utterances[:3]:
        shutil.copy(u.audio, folder / f"own {u.audio.name}")
        line = {"path": f"own {u.audio.name}", "text": "new", "emotion": "sad", "speaker": "x"}
        rows.append(line)
    write_corpus(folder, rows)
    with pytest.raises(UserError, match="no run of row study/tfidf was trained on, got 3 of 27"):
        evaluated(store, ["tfidf"], folder)
    found = evaluated(store, ["tfidf"], folder, leave_out_heard=True)
    assert found.tables.rows[0].support == (6, 12, 6, 0)
    assert any("3 recordings are left out" in note for note in found.tables.notes)


def test_labels_of_one_s_own_count_other_names(store: Path) -> None:
    labels = {"sad": ["bored"], "happy": ["joy", "excited"], "leave_out": "rest"}
    found = evaluated(store, ["tfidf"], labels=labels)
    [row] = found.tables.rows
    assert dict(zip(FOUR, row.support, strict=True)) == {
        "angry": 0,
        "happy": 12,
        "neutral": 0,
        "sad": 6,
    }
    done = asked(store, "study/tfidf", "--labels", json.dumps(labels))
    assert "2 in the store, 0 to compute" in done.output


def test_texts_that_the_corpus_has_too_are_told(store: Path, tmp_path: Path) -> None:
    folder = other_corpus(tmp_path / "same", text="I am furious; so, furious!")
    [note] = evaluated(store, ["tfidf"], folder).tables.notes
    assert note == "study/tfidf: 24 of 24 utterances have a text that noise has, too."
    assert evaluated(store, ["audio only"], folder).tables.notes == ()


@pytest.mark.parametrize(
    ("rows", "changes", "told"),
    [
        (["multilevel"], {"text": ""}, "corpus other: expected texts where a row reads them, as "),
        (["multilevel"], {"text": "совсем не то"}, "24 of 24 texts .* or give --unread-texts"),
        (["audio only"], {"emotion": "bored"}, "expected utterances of angry, happy, neutral, sad"),
        (["audio onyl"], {}, "study: unknown row audio onyl; did you mean audio only?"),
    ],
)
def test_a_corpus_that_a_row_cannot_read_is_told(
    store: Path, tmp_path: Path, rows: list[str], changes: dict[str, str], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        evaluated(store, rows, other_corpus(tmp_path / "other", **changes))
    assert not (store / "evaluations").exists()


def test_rows_are_named_with_their_study(store: Path) -> None:
    for name, told in (
        ("tfidf", "tfidf: expected STUDY/ROW, got no slash"),
        ("stuyd/tfidf", "unknown study stuyd; did you mean study?"),
    ):
        done = asked(store, name)
        assert isinstance(done.exception, UserError)
        assert told in str(done.exception)


@pytest.mark.parametrize("name", ["file", "file/deeper"])
def test_a_file_where_a_folder_is_to_be_written_is_told_first(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    absent = tmp_path / "absent"
    done = asked(absent, "study/audio only", "--out", str(tmp_path / name), corpus=absent)
    assert isinstance(done.exception, UserError)
    assert str(done.exception) == (
        f"--out: expected a folder, got the file {tmp_path / 'file'}; name another"
    )
    assert (tmp_path / "file").read_text() == "mine"


def test_a_row_without_finished_runs_is_told(store: Path) -> None:
    for run in load("study/tfidf", store).model.runs:
        shutil.rmtree(store / "runs" / run.digest)
    with pytest.raises(UserError, match=r"study/tfidf: expected finished runs in .*, found none"):
        evaluated(store, ["tfidf"])


def test_a_row_by_speaker_reads_the_speakers_of_the_other_corpus(tmp_path: Path) -> None:
    corpus, store = corpus_with_words(tmp_path), Store(tmp_path / "store")
    model = {"system": "multilevel", "inputs": "audio", "width": 12, "num_heads": 2}
    study = study_of({"by speaker": model}, (1,), features={"standardise": "speaker"})
    train_rows(store, corpus, study, [(1, 1)])
    found = evaluated(store.root, ["by speaker"])
    counted = [u for u in read_corpus(other()).utterances if u.emotion in CLASS_OF]
    expected = load("study/by speaker", store).probabilities(counted)
    np.testing.assert_allclose(found.answers[0].probabilities, expected, atol=ROUNDED)
    [note] = found.tables.notes
    assert note.startswith("study/by speaker: on other as on noise, each speaker's features")
    [few] = [other_corpus(tmp_path / "few")]
    rows = list(csv.DictReader((few / "manifest.csv").open()))
    write_corpus(few, [{**row, "speaker": f"s{n}"} for n, row in enumerate(rows)])
    told = "row study/by speaker on corpus few: .* at least 5 recordings of every speaker"
    with pytest.raises(UserError, match=told):
        evaluated(store.root, ["by speaker"], few)


def test_versions_of_libraries_keep_what_they_compute_apart(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlt_ray import libraries

    assert "2 to compute" in asked(store, "study/audio only").output
    version = libraries.version
    monkeypatch.setattr(
        libraries, "version", lambda name: "9.9" if name == "soundfile" else version(name)
    )
    done = asked(store, "study/audio only")
    assert "2 to compute" in done.output
    assert "soundfile 9.9" in done.output
    assert "features: 24 log-mel frames" in done.output


def test_frames_keep_their_columns(store: Path) -> None:
    found = evaluated(store, ["tfidf"])
    names = ["study", "row", "fold", "seed", "digest", "wa", "ua", "macro_f1", "confusion"]
    assert list(found.runs.columns) == [*names, "classes", "num_utterances"]
    assert list(found.predictions.columns) == [
        *("study", "row", "run", "fold", "seed", "utterance", "emotion", "predicted"),
        *(f"p_{name}" for name in FOUR),
    ]
    assert repr(found).startswith("# Trained on noise, tested on other")
    assert replace(found).digest == found.digest
