"""What the verb predict prints, and where: results on one stream, everything else on the other."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from mlt_ray.cli.app import app
from mlt_ray.corpus.audio import read_audio
from mlt_ray.errors import UserError
from mlt_ray.inference.clips import clip_of
from mlt_ray.inference.load import load
from mlt_ray.storage.store import Store
from mlt_ray.workflows import predict as workflow
from tests.encoders.test_recognition import write_recogniser
from tests.trained_store import SMALL, corpus_with_words, study_of, train_rows

AUDIO, BOTH = "audio only", "both"
"""Rows of the store; one reads no text."""

NAME, NUM_RUNS = "study", 2
CLASSES = ("angry", "happy", "neutral", "sad")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    made = Store(folder / "store")
    rows = {AUDIO: SMALL["audio only"], BOTH: SMALL["multilevel"]}
    train_rows(made, corpus_with_words(folder), study_of(rows, (1, 2)), [(1, 1), (1, 2)])
    return made.root


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four recordings of noise, one of them of 31 seconds."""
    folder = tmp_path_factory.mktemp("recordings")
    for n, (name, length) in enumerate(
        (("1.wav", 9_001), ("2.flac", 17_003), ("10.ogg", 12_007), ("long.wav", 31 * 16_000))
    ):
        samples = np.random.default_rng(n).normal(size=length) * 0.1
        soundfile.write(folder / name, samples, 16_000)
    return folder


def predicted(
    store: Path, *arguments: object, row: str | None = BOTH, content: bytes | None = None
) -> Result:
    model = ("--model", f"{NAME}/{row}") if row else ()
    given = map(str, ("predict", *arguments, "--store", store, "--device", "cpu", *model))
    return CliRunner().invoke(app, list(given), input=content)


def lines(done: Result) -> list[dict[str, Any]]:
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def mean_of_runs(store: Path, path: Path, text: str, row: str = BOTH) -> dict[str, float]:
    predictor = load(f"{NAME}/{row}", store, device="cpu")
    found = predictor.probabilities([clip_of(path, text)])
    assert found.shape == (NUM_RUNS, 1, len(CLASSES))
    return dict(zip(CLASSES, found.mean(axis=0)[0], strict=True))


def test_json_is_the_mean_of_the_runs_a_line_a_recording(store: Path, recordings: Path) -> None:
    path = recordings / "1.wav"
    done = predicted(store, path, "--text", "so what", "--format", "json")
    [found] = lines(done)
    probabilities = found.pop("probabilities")
    assert probabilities == pytest.approx(mean_of_runs(store, path, "so what"), abs=1e-6)
    label = max(probabilities, key=probabilities.__getitem__)
    assert found == {
        "audio": str(path), "text": "so what", "text_source": "given", "label": label,
    }  # fmt: skip
    assert f"{NAME}/{BOTH}: the mean of {NUM_RUNS} runs" in done.stderr


def test_texts_come_from_a_file_of_keys(store: Path, recordings: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.csv"
    texts.write_text("key,text\n1,so\n2.flac,\n")
    files = (recordings / "1.wav", recordings / "2.flac")
    found = lines(predicted(store, *files, "--texts", texts, "--format", "json"))
    assert [(one["text"], one["text_source"]) for one in found] == [("so", "given"), ("", "given")]


def test_csv_has_a_line_a_recording_and_a_window(store: Path, recordings: Path) -> None:
    done = predicted(store, recordings, "--format", "csv", row=AUDIO)
    assert done.exit_code == 0
    head, *rows = csv.reader(io.StringIO(done.stdout))
    shares = [f"p_{name}" for name in CLASSES]
    assert head == ["audio", "start_s", "end_s", "label", *shares, "text", "text_source"]
    names = [Path(row[0]).name for row in rows]
    assert names == ["1.wav", "2.flac", "10.ogg", *["long.wav"] * 7]
    assert [row[1:3] for row in rows[3:6]] == [["", ""], ["0.0", "10.0"], ["5.0", "15.0"]]
    np.testing.assert_allclose([sum(map(float, row[4:8])) for row in rows], 1, atol=1e-6)


def test_the_table_has_a_row_a_recording(store: Path, recordings: Path) -> None:
    done = predicted(store, recordings / "1.wav", "--text", "[b]so[/b]")
    assert done.exit_code == 0
    assert all(f" {name} " in done.stdout for name in ("file", "label", *CLASSES, "text"))
    assert "[b]so[/b]" in done.stdout


def test_standard_input_gives_what_the_file_gives(store: Path, recordings: Path) -> None:
    path = recordings / "2.flac"
    told = ("--text", "so", "--format", "json")
    [piped] = lines(predicted(store, "-", *told, content=path.read_bytes()))
    [read] = lines(predicted(store, path, *told))
    assert piped.pop("audio") == "-"
    assert read.pop("audio") == str(path)
    assert piped == read


def test_a_long_recording_has_a_timeline_whose_mean_it_is(store: Path, recordings: Path) -> None:
    path = recordings / "long.wav"
    [found] = lines(predicted(store, path, "--text", "", "--hop", "10", "--format", "json"))
    spans = [(w["start_s"], w["end_s"]) for w in found["windows"]]
    assert spans == [(0, 10), (10, 20), (20, 30), (21, 31)]
    samples = read_audio(path)
    predictor = load(f"{NAME}/{BOTH}", store, device="cpu")
    parts = [clip_of(samples[int(a) * 16_000 : int(b) * 16_000], "") for a, b in spans]
    shares = predictor.probabilities(parts).mean(axis=0)
    seconds = np.array([10, 10, 5.5, 5.5])  # the last two share nine
    for n, name in enumerate(CLASSES):
        assert found["probabilities"][name] == pytest.approx(seconds @ shares[:, n] / 31, abs=1e-5)
        assert found["windows"][2]["probabilities"][name] == pytest.approx(shares[2, n], abs=1e-5)


def test_a_window_cuts_what_is_longer(store: Path, recordings: Path) -> None:
    told = ("--window", "1", "--format", "json")
    short, long = lines(
        predicted(store, recordings / "1.wav", recordings / "2.flac", *told, row=AUDIO)
    )
    assert "windows" not in short
    assert [(w["start_s"], w["end_s"]) for w in long["windows"]] == [(0, 1), (0.063, 1.063)]


def test_recordings_without_a_text_are_transcribed(
    store: Path, recordings: Path, tmp_path: Path
) -> None:
    recogniser = write_recogniser(tmp_path / "tiny")
    manifest = tmp_path / "list.csv"
    manifest.write_text(f"path,text\n{recordings / '2.flac'},so\n")
    told = ("--asr", recogniser, "--format", "json")
    heard, given = lines(predicted(store, recordings / "1.wav", manifest, *told))
    assert (given["text"], given["text_source"]) == ("so", "given")
    assert heard["text_source"] == "asr: tiny"
    path = recordings / "1.wav"
    expected = mean_of_runs(store, path, heard["text"])
    assert heard["probabilities"] == pytest.approx(expected, abs=1e-5)


def test_what_cannot_be_used_is_named_and_the_others_are_predicted(
    store: Path, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow, "BLOCK", 2)
    (tmp_path / "zero.wav").write_bytes(b"")
    (tmp_path / "words.wav").write_text("no sound")
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    good = (recordings / "1.wav", recordings / "2.flac")
    bad = [tmp_path / name for name in ("zero.wav", "words.wav", "silent.wav", "missing.wav")]
    done = predicted(store, *bad[:3], *good, bad[3], "--format", "json", row=AUDIO)
    assert done.exit_code == 2
    assert [json.loads(line)["audio"] for line in done.stdout.splitlines()] == [*map(str, good)]
    for path in bad:
        assert f"{path}: expected " in done.stderr
    assert done.stderr.endswith("4 of 6 recordings could not be used\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("nowhere.wav",), "nowhere.wav: expected audio, found no such file; correct the path"),
        (("1.wav",), 'reads text, and none is given; give one by --text TEXT ("" if nothing'),
        (("1.wav", "2.flac"), "2 of 2 recordings: study/both reads text, and none is given"),
        (("long.wav", "--text", "so"), "expected at most 30 s with one text, got 31 s"),
        (("1.wav", "2.flac", "--text", "so"), "--text: expected one recording, got 2"),
        (("1.wav", "--text", "so", "--asr", "x"), "--text: expected no --texts or --asr"),
        (("1.wav", "--hop", "11"), "--hop: expected at most the window of 10 s"),
        (("1.wav", "--text", "", "--model", "study/bath"), "did you mean both?"),
    ],
)
def test_a_mistake_is_one_line(
    store: Path, recordings: Path, arguments: tuple[str, ...], line: str
) -> None:
    given = [recordings / a if a.endswith((".wav", ".flac")) else a for a in arguments]
    row = None if "--model" in arguments else BOTH
    done = predicted(store, *given, row=row)
    assert isinstance(done.exception, UserError)
    assert line in str(done.exception)
    assert "\n" not in str(done.exception)
    assert done.stdout == ""


def test_without_a_model_the_best_row_of_the_only_study_answers(
    store: Path, recordings: Path, tmp_path: Path
) -> None:
    from mlt_ray import results

    runs = results(store, NAME).runs
    best = runs.groupby("row", sort=False)["dev_ua"].mean().idxmax()
    done = predicted(store, recordings / "1.wav", "--text", "so", row=None)
    assert done.exit_code == 0
    assert f"{NAME}/{best}: the mean of {NUM_RUNS} runs" in done.stderr
    none = predicted(tmp_path / "none", recordings / "1.wav", row=None)
    assert "none: expected a study that was run, found none" in str(none.exception)


def test_with_several_studies_the_rows_are_named(
    store: Path, recordings: Path, tmp_path: Path
) -> None:
    studies = tmp_path / "studies"
    studies.mkdir()
    record = (store / "studies" / f"{NAME}.json").read_text()
    for name in ("one", "two"):
        (studies / f"{name}.json").write_text(
            record.replace(f'"study": "{NAME}"', f'"study": "{name}"')
        )
    done = predicted(tmp_path, recordings / "1.wav", row=None)
    assert f"--model: expected one of one/{AUDIO}, one/{BOTH}, two/" in str(done.exception)


def test_a_model_that_reads_no_text_says_that_one_changes_nothing(
    store: Path, recordings: Path
) -> None:
    done = predicted(store, recordings / "1.wav", "--text", "so", row=AUDIO)
    assert f"{NAME}/{AUDIO} reads no text: --text changes nothing" in done.stderr
